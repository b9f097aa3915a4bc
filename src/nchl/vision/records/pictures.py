"""Pictures of a SoftHebb run. Each plot function draws on the given Axes and returns it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nchl.errors import require
from nchl.vision.networks.classifier import Classifier
from nchl.vision.networks.layers import SoftHebbConv2d, softhebb_layers
from nchl.vision.records.folder import read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(folder: Path, classifier: Classifier, confusion: np.ndarray, classes: list[str]) -> list[Path]:
    """Write filters.png, curves.png and confusion.png into a run folder, and return their paths.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    # Figures without pyplot: no global state and no window, independent of the caller's back end.
    figure_class: Any = require("matplotlib.figure", "vision").Figure
    drawn = []
    first = softhebb_layers(classifier)[0]
    if isinstance(first, SoftHebbConv2d) and first.in_channels in (1, 3):
        figure = figure_class(figsize=(6, 6), layout="constrained")
        filters(figure.subplots(), first.weight.detach().cpu().numpy())
        drawn.append(_save(figure, folder / "filters.png"))
    figure = figure_class(figsize=(7, 4), layout="constrained")
    curves(figure.subplots(), read_rows(folder))
    drawn.append(_save(figure, folder / "curves.png"))
    size = max(4.0, min(14.0, 0.5 * len(classes)))
    figure = figure_class(figsize=(size + 1, size), layout="constrained")
    confusion_matrix(figure.subplots(), confusion, classes)
    return [*drawn, _save(figure, folder / "confusion.png")]


def filters(axes: Axes, weight: np.ndarray) -> Axes:
    """The kernels of a first layer, (units, 1 or 3, rows, columns), each scaled to its own range, as a square of tiles."""
    low, high = weight.min(axis=(1, 2, 3), keepdims=True), weight.max(axis=(1, 2, 3), keepdims=True)
    tiles = ((weight - low) / np.where(high > low, high - low, 1)).transpose(0, 2, 3, 1)
    units, rows, columns, channels = tiles.shape
    side = int(np.ceil(np.sqrt(units)))
    sheet = np.ones((side * (rows + 1) + 1, side * (columns + 1) + 1, channels))
    for index, tile in enumerate(tiles):
        y, x = index // side * (rows + 1) + 1, index % side * (columns + 1) + 1
        sheet[y : y + rows, x : x + columns] = tile
    axes.imshow(sheet if channels == 3 else sheet[..., 0], cmap=None if channels == 3 else "gray", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"first layer: {units} filters, each scaled to its own range")
    return axes


def curves(axes: Axes, rows: list[dict[str, str]]) -> Axes:
    """Training and validation accuracy over the epochs of the labelled phase."""
    labelled = [row for row in rows if row["train_accuracy"]]
    epochs = [int(row["epoch"]) for row in labelled]
    alone: dict[str, Any] = {"marker": "o"} if len(labelled) < 3 else {}  # fewer than three points make no visible line
    axes.plot(epochs, [100 * float(row["train_accuracy"]) for row in labelled], label="training (with dropout)", **alone)
    if any(row["validation_accuracy"] for row in labelled):
        axes.plot(epochs, [100 * float(row["validation_accuracy"] or "nan") for row in labelled], label="validation", **alone)
    if len(epochs) < 3:
        axes.set_xticks(epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def confusion_matrix(axes: Axes, confusion: np.ndarray, classes: list[str]) -> Axes:
    """Test images by true class (row) and predicted class (column), in percent of the row; numbers, or a colour bar for many classes."""
    classes = [name.replace("$", r"\$") for name in classes]  # text between two dollar signs would be read as mathematics
    percent = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"test accuracy {100 * np.trace(confusion) / max(confusion.sum(), 1):.2f} %; cells in percent of the true class")
    if len(classes) <= 20:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for row, column in np.ndindex(percent.shape):
            colour = "white" if percent[row, column] > 50 else "black"
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    else:
        axes.figure.colorbar(shown, ax=axes, label="% of the true class")
    return axes


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
