"""The results of a SoftHebb run: the rows of `metrics.csv`, the text beside a progress bar, and the content of `summary.json`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nchl.vision.data.images import ImageData
from nchl.vision.networks.classifier import Classifier
from nchl.vision.records.folder import Position
from nchl.vision.settings import SoftHebbSettings, layers_method
from nchl.vision.training.phases import Phase


def metrics_row(phase: Phase, position: Position, images: int, distance: float, validation: float | None) -> dict[str, Any]:
    """A row of `metrics.csv`.

    Args:
        phase: the current phase.
        position: the position, within or at the end of an epoch.
        images: number of training images.
        distance: mean distance of the layers' norms from 1.
        validation: accuracy on the validation images.
    """
    row: dict[str, Any] = {
        "row": position.rows,
        "phase": phase.name,
        "epoch": position.epoch + 1,
        "images": position.epoch * images + position.images,
        "lr": phase.lr(position.epoch),
        "norm_distance": distance,
        "validation_accuracy": validation,
        "seconds": round(sum(position.seconds.values()), 3),
    }
    if phase.labelled:
        row |= {"loss": position.loss / position.images, "train_accuracy": position.correct / position.images}
    return row


def progress_text(phase: Phase, position: Position) -> str:
    """The epoch, and with labels the loss and the accuracy of the epoch so far."""
    if not phase.labelled:
        return f"epoch {position.epoch + 1}/{phase.epochs}"
    loss, accuracy = position.loss / position.images, position.correct / position.images
    return f"epoch {position.epoch + 1}/{phase.epochs} · loss {loss:.3f} · training accuracy {accuracy:.1%}"


def confusion_of(data: ImageData, predicted: Tensor) -> Tensor:
    """Test images by true class (row) and predicted class (column)."""
    classes = len(data.classes)
    return torch.bincount(data.test.labels * classes + predicted, minlength=classes**2).view(classes, classes)


def summarise(
    settings: SoftHebbSettings,
    layers_settings: SoftHebbSettings | None,
    data: ImageData,
    classifier: Classifier,
    position: Position,
    train_images: int,
    confusion: Tensor,
) -> dict[str, Any]:
    """The accuracy, with settings, sizes and times; `layers_settings` are those of the run that trained the layers of `--layers`."""
    correct = int(confusion.diagonal().sum())
    return {
        "test_accuracy": correct / len(data.test),
        "test_images": len(data.test),
        "test_correct": correct,
        "head_epoch": position.head_epoch,
        "validation_accuracy": position.validation_accuracy,
        "method": settings.method,
        "network": settings.network,
        "seed": settings.seed,
        "layers": settings.layers,
        "layers_method": None if layers_settings is None else layers_method(layers_settings),
        "layers_schedule": None if layers_settings is None else layers_settings.schedule,
        "train_images": train_images,
        "classes": data.classes,
        "features": classifier.features,
        "weights": sum(parameter.numel() for parameter in classifier.parameters()),
        "seconds": {name: round(value, 3) for name, value in position.seconds.items()},
        "notes": data.notes,
        "confusion": confusion.tolist(),
    }
