"""Where the figures of a run go beside its folder's own files: TensorBoard, Weights & Biases, MLflow."""
