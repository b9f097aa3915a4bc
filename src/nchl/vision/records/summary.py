"""The results of a finished SoftHebb run, the content of `summary.json`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nchl.vision.data.images import ImageData
from nchl.vision.networks.classifier import Classifier
from nchl.vision.records.folder import Position
from nchl.vision.settings import SoftHebbSettings


def confusion_of(data: ImageData, predicted: Tensor) -> Tensor:
    """Test images by true class (row) and predicted class (column)."""
    classes = len(data.classes)
    return torch.bincount(data.test.labels * classes + predicted, minlength=classes**2).view(classes, classes)


def summarise(
    settings: SoftHebbSettings, data: ImageData, classifier: Classifier, position: Position, train_images: int, confusion: Tensor
) -> dict[str, Any]:
    """The accuracy, with settings, sizes and times."""
    correct = int(confusion.diagonal().sum())
    return {
        "test_accuracy": correct / len(data.test),
        "test_images": len(data.test),
        "test_correct": correct,
        "method": settings.method,
        "network": settings.network,
        "seed": settings.seed,
        "layers": settings.layers,
        "train_images": train_images,
        "classes": data.classes,
        "features": classifier.features,
        "weights": sum(parameter.numel() for parameter in classifier.parameters()),
        "seconds": {name: round(value, 3) for name, value in position.seconds.items()},
        "notes": data.notes,
        "confusion": confusion.tolist(),
    }
