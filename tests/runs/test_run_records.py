"""metrics.csv and TensorBoard's events: whole lines, exact numbers, cut back to a generation."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from nchl.errors import RunError
from nchl.runs.metrics import COLUMNS, MetricsFile, is_machine_column, read_metrics
from nchl.runs.tensorboard import EventFile


def row(generation: int) -> dict[str, float | int | None]:
    return {**dict.fromkeys(COLUMNS, 0.1 * generation), "generation": generation, "lr": math.nan, "validation_best": None}


def write(path: Path, *, keep: int, generations: range) -> None:
    file = MetricsFile(path, keep=keep)
    for generation in generations:
        file.write(row(generation))
    file.sync()
    file.close()


def test_rows_are_cut_back_and_go_on(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    write(whole, keep=0, generations=range(1, 8))
    write(broken, keep=0, generations=range(1, 6))
    with broken.open("a") as file:
        file.write("6,12")  # torn by a kill
    write(broken, keep=3, generations=range(4, 8))
    assert broken.read_bytes() == whole.read_bytes()


def test_numbers_are_exact_and_what_there_is_not_is_empty(tmp_path: Path) -> None:
    write(tmp_path / "m.csv", keep=0, generations=range(3, 4))
    (read,) = read_metrics(tmp_path / "m.csv")
    assert list(read) == list(COLUMNS)
    assert float(read["best"]) == 0.1 * 3
    assert read["generation"] == "3"
    assert read["lr"] == read["validation_best"] == ""


def test_the_columns_that_are_fixed_come_first_and_the_machines_are_marked() -> None:
    fixed = ["generation", "evaluations", "env_steps", "seconds", "best", "mean", "std", "best_so_far", "sigma", "lr"]
    assert list(COLUMNS)[: len(fixed)] == fixed
    assert {name for name in COLUMNS if is_machine_column(name)} == {
        "seconds",
        "evaluate_seconds",
        "search_seconds",
        "steps_per_s",
        "sent_mb",
        "received_mb",
        "resident_mb",
    }


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "generation\n"])
def test_a_table_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    if text == "generation\n":
        assert read_metrics(path) == []
        return
    with pytest.raises(RunError, match="not a table"):
        read_metrics(path)


def test_a_row_without_a_number_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.csv", keep=0, generations=range(1, 3))
    lines = (tmp_path / "m.csv").read_text().splitlines()
    lines[1] = "x" + lines[1]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="altered"):
        MetricsFile(tmp_path / "m.csv", keep=2)


def test_tensorboard_reads_what_was_written_and_cut_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    values = np.random.default_rng(0).normal(size=200)
    events = EventFile(tmp_path, keep=0)
    for step in range(1, 300):
        events.write(step, {"fitness/best": step / 3, "fitness/nan": math.nan}, {"fitness/all": values * step})
    events.close()
    with events.path.open("ab") as file:
        file.write(b"torn")
    events = EventFile(tmp_path, keep=200)
    events.write(201, {"fitness/best": -1.0}, {"fitness/all": np.array([math.nan, 2.0, 2.0])})
    events.close()

    read = accumulator.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "histograms": 0})
    read.Reload()
    scalars = read.Scalars("fitness/best")
    assert [event.step for event in scalars] == list(range(1, 202))
    assert scalars[9].value == pytest.approx(10 / 3)
    assert scalars[-1].value == -1
    assert read.Tags()["scalars"] == ["fitness/best"]
    histograms = read.Histograms("fitness/all")
    assert histograms[1].histogram_value.num == 200
    assert histograms[1].histogram_value.max == pytest.approx(values.max() * 2)
    assert sum(histograms[1].histogram_value.bucket) == 200
    assert histograms[-1].histogram_value.num == 2


def test_metrics_are_a_plain_csv(tmp_path: Path) -> None:
    write(tmp_path / "m.csv", keep=0, generations=range(1, 3))
    with (tmp_path / "m.csv").open() as file:
        assert len(list(csv.reader(file))) == 3
