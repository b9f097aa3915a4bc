"""Figures of one run: labels, legends of bands, and values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from nchl.report.plots import run as plots
from nchl.report.plots import style
from nchl.report.plots.weights import weight_changes, weight_path
from nchl.rollout.dynamics import of_path


def axes() -> Any:
    return Figure().subplots()


def rows(*means: str) -> list[dict[str, str]]:
    return [
        {"generation": str(k + 1), "mean": mean, "std": "1.0", "best": mean, "validation_best": "", "validation_centre": ""}
        for k, mean in enumerate(means)
    ]


def words(ax: Any) -> str:
    legend = ax.get_legend()
    return " ".join(t.get_text() for t in legend.get_texts()) if legend else ""


def test_a_learning_curve_says_what_its_band_is() -> None:
    ax = axes()
    assert plots.learning_curve(ax, rows("1", "2", "3")) is ax
    assert ax.get_xlabel() == "generation"
    assert "fitness" in ax.get_ylabel()
    assert "standard deviation" in words(ax)
    assert "validation" not in words(ax)


def test_validated_means_are_drawn_where_there_are_any() -> None:
    given = rows("1", "2")
    given[1]["validation_centre"] = "1.5"
    ax = axes()
    plots.learning_curve(ax, given)
    assert "centre, on validation starts" in words(ax)


@pytest.mark.parametrize("means", [("1",), ("", "", ""), ("nan", "inf", "-inf"), ("1", "", "1e300", "2"), tuple("1" * 700)])
def test_a_learning_curve_of_any_numbers_can_be_saved(means: tuple[str, ...], tmp_path: Any) -> None:
    ax = axes()
    plots.learning_curve(ax, rows(*means))
    ax.figure.savefig(tmp_path / "curve.svg")


def test_numbers_that_cannot_be_drawn_leave_gaps() -> None:
    values = plots.column([{"mean": "1.5"}, {"mean": ""}, {"mean": "inf"}, {"mean": "no number"}, {}], "mean")
    assert values[0] == 1.5
    assert np.isnan(values[1:]).all()


def test_an_evaluation_has_a_row_for_each_condition(tmp_path: Any) -> None:
    figures = {"mean": 3.0, "std": 1.0, "min": 1.0, "max": 5.0}
    nothing = dict.fromkeys(figures)
    result = {
        **figures,
        "episodes": 3,
        "returns": [1.0, 3.0, None, float("nan"), 5.0],
        "plasticity_off": nothing,
        "frozen_half_way": figures,
    }
    ax = axes()
    assert plots.evaluation(ax, result) is ax
    assert [t.get_text() for t in ax.get_yticklabels()] == ["frozen half-way", "plasticity off", "as evolved"]
    assert "no finite episode" in [t.get_text() for t in ax.texts]
    assert "3 unseen episodes" in ax.get_xlabel()
    ax.figure.savefig(tmp_path / "evaluation.svg")


@pytest.mark.parametrize("values", [[0.0], [1.0, -2.0, 3.0], [np.nan, np.inf], [0.0, 0.0]])
def test_a_genome_of_any_numbers_can_be_drawn(values: list[float], tmp_path: Any) -> None:
    ax = axes()
    assert plots.genome_distribution(ax, {"input": np.array(values), "output": np.array([1.0])}, "eta") is ax
    assert ax.get_xlabel().startswith("eta")
    ax.figure.savefig(tmp_path / "genome.svg")


def test_the_colours_are_okabe_and_itos() -> None:
    published = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert {style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.SKY, style.PURPLE, style.YELLOW} == published


def test_the_path_of_weights_has_its_start_its_end_and_its_verdict() -> None:
    angle = 2 * np.pi * np.arange(201) / 20
    life = of_path(np.stack([np.cos(angle), np.sin(angle)], 1))
    ax = axes()
    assert weight_path(ax, life) is ax
    assert ax.get_title() == "cycles: period 20 steps (autocorrelation 1)"
    assert "first principal component (50% of the variance)" in ax.get_xlabel()
    assert words(ax) == "start (step 0) end (step 200)"
    lines = ax.get_lines()
    drawn = np.concatenate([np.asarray(line.get_xydata()) for line in lines[:-2]])
    assert len(np.unique(drawn.round(9), axis=0)) == 20
    assert len({line.get_color() for line in lines[:-2]}) == len(lines) - 2  # a colour for each stretch of time
    np.testing.assert_array_equal(np.asarray(lines[-1].get_xydata())[0], life.path[-1])


def test_changes_are_on_a_logarithmic_scale_with_the_two_means() -> None:
    life = of_path(np.exp(-np.arange(401) / 50.0)[:, None] * np.ones((1, 3)) + 1)
    ax = axes()
    assert weight_changes(ax, life) is ax
    assert ax.get_yscale() == "log"
    assert ax.get_title().startswith("settles: late changes are 0.00")
    assert words(ax) == "one change mean of the first 5 % mean of the last quarter"
    every, early, late = [np.asarray(line.get_xydata())[:, 1] for line in ax.get_lines()]
    np.testing.assert_allclose(every, life.relative)
    assert early[0] == pytest.approx(life.relative[:20].mean())
    assert late[0] == pytest.approx(life.relative[-100:].mean())


@pytest.mark.parametrize("path", [np.ones((30, 2)), np.zeros((1, 2)), np.zeros((0, 2)), np.full((30, 2), np.nan), np.arange(8.0)[:, None]])
def test_weights_that_have_no_verdict_are_drawn_too(path: np.ndarray) -> None:
    life = of_path(path)
    for draw in (weight_path, weight_changes):
        figure = Figure()
        ax = draw(figure.subplots(), life)
        assert ax.get_title() == (f"drifts: {life.why}" if life.verdict else f"no verdict: {life.why}")
        figure.canvas.draw()
