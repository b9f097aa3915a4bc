"""Figures of the weights over a lifetime.

    from nchl.report.plots.weights import weight_changes, weight_path
    from nchl.runs.results.dynamics import lifetimes

    life = lifetimes("runs/first", episodes=1)[0]
    weight_path(axes, life)

Colours go from blue (start) to orange (end), which is safe for colour-blind readers.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from nchl.report.plots.style import BLUE, GREY, ORANGE, VERMILLION, legend_below, tidy
from nchl.rollout.dynamics import Dynamics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHADES = 12
_POINTS = 1000  # of the curve of changes


def weight_path(axes: Axes, life: Dynamics, moment: int | None = None) -> Axes:
    """The path of the weights in its first two principal components, coloured by time.

    Args:
        axes: axes to draw on.
        life: dynamics of one lifetime.
        moment: step of a perturbation, which is marked; None: there was none.
    """
    x, y = life.path.T
    steps = life.path_steps
    cuts = np.unique(np.linspace(0, len(x) - 1, _SHADES + 1).round().astype(int)) if len(x) else np.zeros(1, int)
    for k, (first, last) in enumerate(itertools.pairwise(cuts)):
        shade = _between(k / max(len(cuts) - 2, 1))
        axes.plot(x[first : last + 1], y[first : last + 1], color=shade, linewidth=1.3)
    if len(x):
        axes.plot(x[0], y[0], "o", color=BLUE, markersize=8, linestyle="none", label=f"start (step {steps[0]})")
        axes.plot(x[-1], y[-1], "s", color=ORANGE, markersize=8, linestyle="none", label=f"end (step {steps[-1]})")
    if len(x) and moment is not None:
        near = int(np.argmin(np.abs(steps - moment)))
        axes.plot(x[near], y[near], "X", color=VERMILLION, markersize=9, linestyle="none", label=f"perturbed (step {moment})")
    first_share, second_share = life.explained
    axes.set_xlabel(f"first principal component ({first_share:.0%} of the variance)")
    axes.set_ylabel(f"second ({second_share:.0%})")
    axes.set_title(_title(life), fontsize="medium")
    tidy(axes)
    if len(x):
        legend_below(axes, -0.17, ncols=2, borderaxespad=0)
    return axes


def weight_changes(axes: Axes, life: Dynamics) -> Axes:
    """The size of each change of the weights by the size of the weights, on a logarithmic scale.

    The bars are the means over the first 5 % and the last quarter. Of a long lifetime every n-th change is drawn; steps without a change
    leave a gap.

    Args:
        axes: axes to draw on.
        life: dynamics of one lifetime.
    """
    changes, steps = life.relative, life.change_steps
    stride = max(1, -(-len(changes) // _POINTS))
    axes.plot(steps[::stride], np.where(changes > 0, changes, np.nan)[::stride], color=BLUE, linewidth=1.0, label="one change")
    early, late = max(1, round(0.05 * len(changes))), max(1, round(0.25 * len(changes)))
    for k, (part, colour, name) in enumerate(
        ((slice(None, early), GREY, "mean of the first 5 %"), (slice(-late, None), VERMILLION, "mean of the last quarter"))
    ):
        mean = float(changes[part].mean()) if len(changes) else 0.0
        if mean > 0:
            ends = (float(steps[part][0]), float(steps[part][-1]) + (0.0 if k else 1.0))
            axes.plot(ends, [mean, mean], color=colour, linewidth=3.5, label=name)
    if (changes > 0).any():
        axes.set_yscale("log")
    axes.set_xlabel("step of the lifetime")
    axes.set_ylabel("|change| / |weights| (L2 norms)")
    axes.set_title(_title(life), fontsize="medium")
    tidy(axes)
    legend_below(axes, -0.17, ncols=3, borderaxespad=0)
    return axes


def _title(life: Dynamics) -> str:
    """The verdict and its number."""
    numbers = {
        "settles": f"late changes are {_figure(life.late_share)} of early ones",
        "cycles": f"period {life.period} steps (autocorrelation {_figure(life.autocorrelation)})",
        "drifts": f"late changes are {_figure(life.late_share)} of early ones" if life.late_share is not None else life.why,
    }
    return f"{life.verdict}: {numbers[life.verdict]}" if life.verdict in numbers else life.words


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _between(share: float) -> tuple[float, float, float]:
    """A colour between blue, at 0, and orange, at 1."""
    first, last = ([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in (BLUE, ORANGE))
    red, green, blue = (a + share * (b - a) for a, b in zip(first, last, strict=True))
    return red, green, blue
