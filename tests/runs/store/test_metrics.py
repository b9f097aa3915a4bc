"""metrics.csv and TensorBoard's events: whole lines, exact numbers, cut back to a generation."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from nchl.errors import RunError
from nchl.runs.store.metrics import COLUMNS, MetricsFile, is_machine_column, read_metrics


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


def test_numbers_are_exact_and_absent_ones_are_empty(tmp_path: Path) -> None:
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


def test_metrics_are_a_plain_csv(tmp_path: Path) -> None:
    write(tmp_path / "m.csv", keep=0, generations=range(1, 3))
    with (tmp_path / "m.csv").open() as file:
        assert len(list(csv.reader(file))) == 3
