"""Figures of one run: learning curve, evaluation, genome. The colours (Okabe and Ito's) are safe for colour-blind readers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from nchl.report.plots.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, legend_below, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Larger values cannot be drawn on a linear axis: their squares would overflow.
_LARGEST = 1e150


def learning_curve(axes: Axes, rows: Sequence[Mapping[str, str]]) -> Axes:
    """Best, mean and spread of the fitness over the generations, and the validation means if there are any.

    Args:
        axes: axes to draw on.
        rows: rows of `metrics.csv`, see `nchl.runs.store.metrics.read_metrics`. Values that are not finite leave a gap.
    """
    generation = column(rows, "generation")
    mean, std, best = column(rows, "mean"), column(rows, "std"), column(rows, "best")
    alone: dict[str, Any] = {"marker": "o", "markersize": 4} if len(rows) < 3 else {}
    axes.fill_between(
        generation, mean - std, mean + std, color=BLUE, alpha=0.2, linewidth=0, label="band: mean ± one standard deviation of a generation"
    )
    axes.plot(generation, best, color=VERMILLION, linewidth=1.2, label="best of the generation", **alone)
    axes.plot(generation, mean, color=BLUE, linewidth=1.8, label="mean of the generation", **alone)
    for name, colour, label in (
        ("validation_best", ORANGE, "best, on validation starts"),
        ("validation_centre", GREEN, "centre, on validation starts"),
    ):
        values = column(rows, name)
        if np.isfinite(values).any():
            axes.plot(generation, values, color=colour, linewidth=1.2, linestyle="--", label=label, **alone)
    axes.set_xlabel("generation")
    axes.set_ylabel("fitness (mean return of an individual)")
    if len(rows) == 1:
        axes.set_xlim(float(generation[0]) - 1, float(generation[0]) + 1)
        axes.set_xticks([float(generation[0])])
    else:
        axes.locator_params(axis="x", integer=True)
    tidy(axes)
    legend_below(axes, -0.19, borderaxespad=0)
    return axes


def evaluation(axes: Axes, result: Mapping[str, Any]) -> Axes:
    """Returns on unseen episodes, one row per condition: as evolved and the controls.

    Args:
        axes: axes to draw on.
        result: result of `nchl.runs.results.evaluate.evaluate`.
    """
    rows = conditions(result)
    for place, (_, figures, colour) in enumerate(rows):
        y = len(rows) - 1 - place
        if figures["mean"] is None:
            axes.annotate("no finite episode", (0, y), va="center")
            continue
        first = place == 0
        low, high = max(figures["mean"] - figures["std"], figures["min"]), min(figures["mean"] + figures["std"], figures["max"])
        axes.plot([figures["min"], figures["max"]], [y, y], color=colour, linewidth=1.5, label="line: lowest to highest" if first else None)
        label = "bar: mean ± one standard deviation" if first else None
        axes.plot([low, high], [y, y], color=colour, linewidth=9, alpha=0.35, solid_capstyle="butt", label=label)
        if first and "returns" in result:
            returns = np.array([r for r in result["returns"] if r is not None and math.isfinite(r)])
            offsets = y - 0.28 + 0.12 * np.sin(np.arange(len(returns)) * 2.4)  # spread, so that equal returns stay visible
            axes.plot(returns, offsets, ".", color=colour, markersize=2.5, alpha=0.6, label="dots: single episodes")
        axes.plot(figures["mean"], y, "o", color=colour, markersize=8, label="circle: mean" if first else None)
        axes.annotate(f"{figures['mean']:,.4g}", (figures["mean"], y), xytext=(0, 9), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"return of an episode ({result['episodes']} unseen episodes)")
    tidy(axes, grid="x")
    legend_below(axes, -0.24, -0.25, ncols=2, borderaxespad=0)
    return axes


def genome_distribution(axes: Axes, values: Mapping[str, Float[np.ndarray, " _n"]], parameter: str) -> Axes:
    """Distribution of one parameter, one row per block of the genome, the input on top.

    Args:
        axes: axes to draw on.
        values: block name -> all values of the parameter in it.
        parameter: name of the parameter, for the axis.
    """
    names = list(values)
    everything = np.concatenate([np.asarray(v, dtype=np.float64) for v in values.values()])
    everything = everything[np.isfinite(everything) & (np.abs(everything) < _LARGEST)]
    reach = float(np.abs(everything).max(initial=0)) or 1.0
    edges = np.linspace(-reach, reach, 61)
    for place, name in enumerate(names):
        y = len(names) - 1 - place
        mine = np.asarray(values[name], dtype=np.float64)
        mine = mine[np.isfinite(mine) & (np.abs(mine) < _LARGEST)]
        if not mine.size:
            continue
        counts, _ = np.histogram(mine, edges)
        height = 0.8 * counts / counts.max()
        axes.stairs(y + height, edges, baseline=y, fill=True, color=SKY, alpha=0.7, label="shape: histogram" if not place else None)
        low, first, middle, third, high = np.quantile(mine, (0.05, 0.25, 0.5, 0.75, 0.95))
        label = "line: 5 to 95 %" if not place else None
        axes.plot([low, high], [y, y], color=BLUE, linewidth=1.2, label=label)
        axes.plot([first, third], [y, y], color=BLUE, linewidth=4, solid_capstyle="butt", label="bar: 25 to 75 %" if not place else None)
        axes.plot(middle, y, "|", color=VERMILLION, markersize=11, markeredgewidth=2, label="tick: median" if not place else None)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.3, len(names))
    axes.set_xlim(-1.02 * reach, 1.02 * reach)
    axes.set_xlabel(f"{parameter} (no unit)")
    return tidy(axes, grid="x")


def conditions(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """(name, results, colour) of each condition in an evaluation."""
    rows: list[tuple[str, Mapping[str, Any], str]] = [("as evolved", result, VERMILLION)]
    if "plasticity_off" in result:
        rows.append(("plasticity off", result["plasticity_off"], GREY))
    if "frozen_half_way" in result:
        rows.append(("frozen half-way", result["frozen_half_way"], BLUE))
    return rows


def column(rows: Sequence[Mapping[str, str]], name: str) -> Float[np.ndarray, " n"]:
    """One column of `metrics.csv`; NaN for a cell that is not a number or too large to draw."""
    values = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        try:
            value = float(row.get(name) or "nan")
        except (ValueError, TypeError):
            continue
        if abs(value) < _LARGEST:
            values[place] = value
    return values
