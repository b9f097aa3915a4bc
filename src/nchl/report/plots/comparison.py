"""Pictures of a comparison. Each function draws on the Axes that it is given and returns it.

Promise: axes carry their units, the legend says what a band is, and groups differ by colours (Okabe and Ito's) that the
colour-blind can tell apart, by line style when there are more groups than colours, and by their markers.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nchl.errors import NchlError, require
from nchl.report.compare.comparison import Comparison
from nchl.report.compare.scores import curves
from nchl.report.compare.statistics import band, performance_profile
from nchl.report.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

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
# What a figure's file can be -> what keeps the date out of it.
FORMATS: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}
_BAND = "95 % bootstrap interval at each point"


def learning_curves(axes: Axes, comparison: Comparison, along: str = "evaluations") -> Axes:
    """Interquartile mean over the runs of each group against what they cost, with its interval as a band.

    Args:
        axes: where to draw.
        comparison: what `compare` gives.
        along: `evaluations` or `env_steps`.
    """
    for place, scored in enumerate(comparison.groups):
        x, values = curves(scored.group, comparison.column, along)
        middle, low, high = band(values, comparison.seed)
        style = _style(place)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(x, middle, label=_in_lines(scored.group.name, 48), **style)
    axes.axhline(comparison.target, color=GREY, linewidth=1, linestyle=(0, (1, 3)), label=f"target {comparison.target:.4g}")
    axes.set(title="learning curves", xlabel=_ALONG[along], ylabel=_FOLLOWED[comparison.column])
    _legend(axes, f"line: interquartile mean of the runs\nband: {_BAND}")
    return _tidy(axes)


def profile(axes: Axes, comparison: Comparison) -> Axes:
    """Performance profile: share of a group's runs that score above each threshold, with its interval as a band."""
    everything = np.concatenate([scored.scores for scored in comparison.groups])
    low, high = float(everything.min()), float(everything.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    thresholds = np.linspace(low - room, high + room, 201)
    for place, scored in enumerate(comparison.groups):
        share, bottom, top = performance_profile(scored.scores, thresholds, comparison.seed)
        style = _style(place)
        axes.fill_between(thresholds, 100 * bottom, 100 * top, color=style["color"], alpha=0.18, linewidth=0, step="mid")
        axes.plot(thresholds, 100 * share, label=_in_lines(scored.group.name, 48), drawstyle="steps-mid", **style)
    axes.set(title="performance profile", xlabel="score of a run (return)", ylabel="runs above the score (%)", ylim=(-3, 103))
    _legend(axes, f"line: share of the runs\nband: {_BAND}")
    return _tidy(axes)


def intervals(axes: Axes, comparison: Comparison) -> Axes:
    """Interquartile mean of each group with its interval, and the single runs as small dots."""
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
    axes.set_yticks(range(len(names)), [_in_lines(name, 20) for name in reversed(names)])
    axes.set(title="interquartile means", xlabel="score of a run (return)", ylim=(-0.6, len(names) - 0.4))
    _legend(axes, "")
    return _tidy(axes)


def draw(comparison: Comparison) -> Figure:
    """All three side by side; legends stand below, and the more lines they have the higher the figure is."""
    lines = sum(_in_lines(scored.group.name, 48).count("\n") + 1 for scored in comparison.groups)
    figure = require("matplotlib.figure", "report").Figure(figsize=(15, 4.6 + 0.2 * lines), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    learning_curves(left, comparison)
    profile(middle, comparison)
    intervals(right, comparison)
    figure.suptitle(f"{comparison.task}: {comparison.score_text}")
    return figure  # type: ignore[no-any-return]


def save(comparison: Comparison, path: Path) -> list[Path]:
    """Write the figure in the format that the path ends with; without an ending, as PNG and as SVG. Returns the files.

    Raises:
        NchlError: a path with another ending, or one that cannot be written to.
    """
    ending = path.suffix.lower()
    if ending not in ("", *FORMATS):
        raise NchlError(f"a figure is written as {', '.join(FORMATS)}, not as {path.suffix}: give {path.with_suffix('.pdf')}, for example")
    files = [path] if ending else [path.with_name(path.name + each) for each in (".png", ".svg")]
    # Without a date and with a fixed salt for its identifiers, an equal comparison gives an equal file.
    with require("matplotlib", "report").rc_context({"svg.hashsalt": "nchl", "svg.fonttype": "path", "pdf.fonttype": 42}):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for file in files:  # drawn anew: a figure that was saved once has been laid out for that format
                draw(comparison).savefig(file, dpi=150, metadata=FORMATS[file.suffix.lower()])
        except OSError as error:
            raise NchlError(f"cannot write {error.filename or path}: {error.strerror or error}") from error
    return files


def _in_lines(name: str, width: int) -> str:
    """A long name in several lines, because the room that it takes is the panels'."""
    return textwrap.fill(name, width, break_on_hyphens=False)


def _style(place: int) -> dict[str, Any]:
    return {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _STYLES[place // len(_COLOURS) % len(_STYLES)], "linewidth": 1.8}


def _legend(axes: Axes, title: str) -> None:
    axes.legend(
        title=title or None,
        alignment="left",
        title_fontsize="small",
        fontsize="small",
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0, -0.14),
    )


def _tidy(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    return axes
