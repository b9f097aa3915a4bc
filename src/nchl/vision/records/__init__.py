"""The outputs of an experiment: run folder, summary, pictures, progress."""
