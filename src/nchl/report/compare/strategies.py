"""Comparison of strategies at one budget of environment steps: return, steps to targets, and seconds spent in the strategy.

The statistics are those of `compare`; each run is cut at the generation that used up the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nchl.errors import require
from nchl.report.compare.comparison import Comparison, compare
from nchl.report.compare.groups import Group
from nchl.report.compare.runs import Run
from nchl.report.compare.scores import default_target, to_target
from nchl.report.compare.tables import Table, ends
from nchl.report.formatting import duration, figure
from nchl.report.plots.comparison import intervals, learning_curves
from nchl.report.plots.style import save_figure
from nchl.runs.function_run import function_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = (0.5, 0.75, 0.9)  # of the way from the start to the end of the best group: the default targets
_FUNCTION = "-log10 of the function's value"


@dataclass(frozen=True)
class SearchResult:
    """Strategies on one task. Tuples have one entry per group, in the order of the comparison.

    Attributes:
        comparison: comparison of the runs at the budget.
        budget: environment steps of a run.
        targets: returns to reach.
        steps: median environment steps to each target; infinite if half or more of the runs never reached it.
        reached: number of runs that reached each target.
        seconds: seconds spent in the strategy, median over the runs.
        per_generation: seconds per generation, median over the runs.
    """

    comparison: Comparison
    budget: int
    targets: tuple[float, ...]
    steps: tuple[tuple[float, ...], ...]
    reached: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]
    per_generation: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        own = {name: list(map(list, getattr(self, name))) for name in ("steps", "reached")}
        own |= {name: list(getattr(self, name)) for name in ("targets", "seconds", "per_generation")}
        return {"budget": self.budget, **own, "comparison": self.comparison.to_json()}


def summarise(
    runs: Sequence[Run],
    budget: int,
    targets: Sequence[float] = (),
    names: Callable[[Group], str] | None = None,
    baseline: str | None = None,
    seed: int = 0,
    warnings: Sequence[str] = (),
) -> SearchResult:
    """Compare runs of one task at a budget.

    Args:
        runs: runs of several strategies and seeds.
        budget: environment steps.
        targets: returns to reach; empty: parts of the way to the end of the best group, none if no group improved.
        names: names the groups; None: the settings in which they differ.
        baseline: name of the group that all others are tested against; None: all pairs.
        seed: seed of the bootstrap.
        warnings: lines about runs that are missing, for those of the comparison.

    Raises:
        RunError: no run has a score.
        UnknownName: no group has the name of the baseline.
    """
    cut = [_within(run, budget) for run in runs]
    validated = all(np.isfinite(run.last("validation_centre")) for run in cut)
    comparison = compare(cut, score="validation" if validated else "mean", baseline=baseline, seed=seed, names=names)
    comparison = replace(comparison, warnings=(*warnings, *comparison.warnings))
    groups = [scored.group for scored in comparison.groups]
    usual = [default_target(groups, comparison.column, part)[0] for part in PARTS]
    wanted = tuple(targets) or tuple(target for target in usual if math.isfinite(target))
    steps = [[to_target(group.runs, comparison.column, target)[1] for target in wanted] for group in groups]
    costs = [[run.columns["search_seconds"] for run in group.runs] for group in groups]
    return SearchResult(
        comparison,
        budget,
        wanted,
        tuple(tuple(float(np.median(each)) for each in of_group) for of_group in steps),
        tuple(tuple(int(np.isfinite(each).sum()) for each in of_group) for of_group in steps),
        tuple(float(np.median([np.nansum(each) for each in of_group])) for of_group in costs),
        tuple(float(np.median([np.nanmean(each) for each in of_group])) for of_group in costs),
    )


def table(result: SearchResult) -> Table:
    """One row per strategy, the best first."""
    reaching = [f"steps to {figure(target)}" for target in result.targets]
    rows = []
    for place, scored in enumerate(result.comparison.groups):
        count = len(scored.scores)
        to_targets = [
            f"{steps:,.0f} ({reached}/{count})" if math.isfinite(steps) else f"- ({reached}/{count})"
            for steps, reached in zip(result.steps[place], result.reached[place], strict=True)
        ]
        seconds = result.seconds[place]
        cost = (f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds), f"{1000 * result.per_generation[place]:.3g}")
        cells = (scored.group.name, str(count), figure(scored.iqm.value), ends(scored.iqm), figure(scored.median.value), *to_targets, *cost)
        rows.append((scored.iqm.value, cells))
    headings = ("strategy", "runs", "IQM at the budget", "95 %", "median", *reaching, "in the strategy", "ms a generation")
    return Table(headings, [cells for _, cells in sorted(rows, key=lambda row: -row[0])], 1)


def save(results: Sequence[SearchResult], path: Path) -> list[Path]:
    """Write learning curves and intervals of each task as PNG and SVG; returns the files.

    Raises:
        NchlError: they cannot be written.
    """
    return save_figure(lambda: _draw(results), path, dpi=120)


def _draw(results: Sequence[SearchResult]) -> Figure:
    figure: Figure = require("matplotlib.figure", "report").Figure(figsize=(14, 6 * len(results)), layout="constrained")
    for (left, right), result in zip(figure.subplots(len(results), 2, squeeze=False), results, strict=True):
        learning_curves(left, result.comparison, "env_steps")
        left.set_title(result.comparison.task)
        if function_of(result.comparison.task) is not None:
            left.set(xlabel="evaluations", ylabel=_FUNCTION)
        intervals(right, result.comparison)
    return figure


def _within(run: Run, budget: int) -> Run:
    """The run up to the generation that used up the budget, as a run of that budget."""
    run = replace(run, settings={**run.settings, "max_steps": budget})
    there = np.flatnonzero(run.columns["env_steps"] >= budget)
    if not there.size:
        return run
    rows = int(there[0]) + 1
    columns = {name: column[:rows] for name, column in run.columns.items()}
    return replace(run, columns=columns, generations=rows, reason=run.reason if run.reason and rows == run.generations else "max_steps")
