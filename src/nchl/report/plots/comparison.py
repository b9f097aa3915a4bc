"""Figures of a comparison. Groups differ in colour (Okabe and Ito's, safe for colour-blind readers), in marker, and beyond eight groups in
line style.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nchl.errors import require
from nchl.report.compare.comparison import Comparison
from nchl.report.compare.scores import curves
from nchl.report.compare.statistics import band, performance_profile
from nchl.report.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PAPER,
    PURPLE,
    SIDE_BY_SIDE,
    SKY,
    VERMILLION,
    in_lines,
    legend_below,
    legend_of_all,
    save_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, "#000000", GREY)
_STYLES, _MARKERS = ("-", "--", ":", "-."), "osD^vPX*"
_ALONG = {"evaluations": "individuals evaluated", "env_steps": "environment steps"}
_FOLLOWED = {
    "mean": "mean fitness of the generation (return)",
    "best_so_far": "highest fitness so far (return)",
    "validation_centre": "return of the centre on validation starts",
}
_BAND = "95 % bootstrap interval at each point"


def learning_curves(axes: Axes, comparison: Comparison, along: str = "evaluations") -> Axes:
    """Interquartile mean over the runs of each group, with its interval as a band.

    Args:
        axes: axes to draw on.
        comparison: result of `compare`.
        along: x axis, `evaluations` or `env_steps`.
    """
    for place, scored in enumerate(comparison.groups):
        x, values = curves(scored.group, comparison.column, along)
        middle, low, high = band(values, comparison.seed)
        style = _style(place)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(x, middle, label=in_lines(scored.group.name, 48), **style)
    if math.isfinite(comparison.target):
        axes.axhline(comparison.target, color=GREY, linewidth=1, linestyle=(0, (1, 3)), label=f"target {comparison.target:.4g}")
    axes.set(title="learning curves", xlabel=_ALONG[along], ylabel=_FOLLOWED[comparison.column])
    _legend(axes, f"line: interquartile mean of the runs\nband: {_BAND}")
    return tidy(axes)


def profile(axes: Axes, comparison: Comparison) -> Axes:
    """Performance profile: share of a group's runs with a score above each threshold, with its interval as a band."""
    everything = np.concatenate([scored.scores for scored in comparison.groups])
    low, high = float(everything.min()), float(everything.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    thresholds = np.linspace(low - room, high + room, 201)
    for place, scored in enumerate(comparison.groups):
        share, bottom, top = performance_profile(scored.scores, thresholds, comparison.seed)
        style = _style(place)
        axes.fill_between(thresholds, 100 * bottom, 100 * top, color=style["color"], alpha=0.18, linewidth=0, step="mid")
        axes.plot(thresholds, 100 * share, label=in_lines(scored.group.name, 48), drawstyle="steps-mid", **style)
    axes.set(title="performance profile", xlabel="score of a run (return)", ylabel="runs above the score (%)", ylim=(-3, 103))
    _legend(axes, f"line: share of the runs\nband: {_BAND}")
    return tidy(axes)


def intervals(axes: Axes, comparison: Comparison) -> Axes:
    """Interquartile mean of each group with its interval, and the scores of single runs as dots."""
    names = [scored.group.name for scored in comparison.groups]
    with_interval = [place for place, scored in enumerate(comparison.groups) if not math.isnan(scored.iqm.low)]
    for place, scored in enumerate(comparison.groups):
        y = len(names) - 1 - place
        colour = _style(place)["color"]
        first = place == 0
        if place in with_interval:
            label = "bar: 95 % bootstrap interval" if place == with_interval[0] else None
            axes.plot([scored.iqm.low, scored.iqm.high], [y, y], color=colour, linewidth=9, alpha=0.35, solid_capstyle="butt", label=label)
        label = "large mark: interquartile mean" if first else None
        axes.plot(scored.iqm.value, y, linestyle="", color=colour, marker=_MARKERS[place % len(_MARKERS)], markersize=8, label=label)
        # Spread downwards, so that runs with equal scores can be counted.
        below = y - 0.16 - 0.05 * (np.arange(len(scored.scores)) % 5)
        axes.plot(scored.scores, below, ".", color=colour, markersize=4, alpha=0.7, label="dots: single runs" if first else None)
    axes.set_yticks(range(len(names)), [in_lines(name, 20) for name in reversed(names)])
    axes.set(title="interquartile means", xlabel="score of a run (return)", ylim=(-0.6, len(names) - 0.4))
    _legend(axes, "")
    return tidy(axes)


def draw(comparison: Comparison, width: float | None = None) -> Figure:
    """All three figures, side by side (below each other in less than 5 inches).

    Args:
        comparison: result of `compare`.
        width: width in inches for a paper, with one legend for all panels; None: large, with legends that explain each panel.
    """
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context({} if width is None else PAPER):
        return _large(comparison, figures.Figure) if width is None else _for_paper(comparison, width, figures.Figure)


def _large(comparison: Comparison, new: type[Figure]) -> Figure:
    lines = sum(in_lines(scored.group.name, 48).count("\n") + 1 for scored in comparison.groups)
    figure = new(figsize=(15, 4.6 + 0.2 * lines), layout="constrained")
    for function, axes in zip(_PANELS, figure.subplots(1, 3), strict=True):
        function(axes, comparison)
    return figure


def _for_paper(comparison: Comparison, width: float, new: type[Figure]) -> Figure:
    columns = 3 if width >= SIDE_BY_SIDE else 1
    figure = new(figsize=(width, 10), layout="constrained")
    panels = figure.subplots(3 // columns, columns)
    for function, axes in zip(_PANELS, panels, strict=True):
        function(axes, comparison)
        axes.get_legend().remove()
        axes.set_ylabel(in_lines(axes.get_ylabel(), 26))
    panels[2].set_yticks(panels[2].get_yticks(), [""] * len(comparison.groups))  # the legend has the names
    handles, _ = panels[0].get_legend_handles_labels()
    figure.set_figheight((1.9 if columns == 3 else 5.0) + legend_of_all(figure, handles))
    return figure


def save(comparison: Comparison, path: Path, width: float | None = None) -> list[Path]:
    """Write `draw(comparison, width)`; see `save_figure`.

    Raises:
        NchlError: the file cannot be written, or not in the format of its ending.
    """
    return save_figure(lambda: draw(comparison, width), path)


_PANELS = (learning_curves, profile, intervals)


def _style(place: int) -> dict[str, Any]:
    return {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _STYLES[place // len(_COLOURS) % len(_STYLES)], "linewidth": 1.8}


def _legend(axes: Axes, title: str) -> None:
    legend_below(axes, -0.14, title=title or None, alignment="left", title_fontsize="small")
