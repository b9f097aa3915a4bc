"""The pictures of a SoftHebb run."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from nchl.vision.records import pictures


def rows(epochs: int) -> list[dict[str, str]]:
    return [{"epoch": str(epoch), "train_accuracy": "0.5", "validation_accuracy": ""} for epoch in range(1, epochs + 1)]


def test_one_epoch_is_a_point_and_many_are_a_line() -> None:
    few, many = (pictures.curves(Figure().subplots(), rows(epochs)).lines[0] for epochs in (1, 5))
    assert few.get_marker() == "o"
    assert many.get_marker() == "None"


@pytest.mark.parametrize(("classes", "numbers", "bars"), [(3, 9, 0), (21, 0, 1)])
def test_a_confusion_matrix_can_be_read(classes: int, numbers: int, bars: int) -> None:
    figure = Figure(layout="constrained")
    axes = pictures.confusion_matrix(figure.subplots(), np.eye(classes, dtype=int), [str(k) for k in range(classes)])
    assert len(axes.texts) == numbers
    assert len(figure.axes) == 1 + bars
