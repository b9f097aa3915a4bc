"""Captions of tables for a paper: task, score, episodes, runs and seeds, and what the columns are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence, Set

from nchl.evolve.limits import Limits
from nchl.report.compare.comparison import Comparison
from nchl.report.formatting import figure

_CURVES = {
    "mean": "mean fitness of a generation in training",
    "best_so_far": "highest fitness in training",
    "validation_centre": "centre's return on validation starts, in training,",
}


def caption(comparison: Comparison, name: str) -> str:
    """Caption of a table: task, score, number of episodes, number of runs and seeds."""
    parts = [f"{comparison.task}: {comparison.score_text}{_episodes(comparison)}", _seeds(comparison)]
    if name == "groups":
        parts.append("IQM: interquartile mean over the runs; 95 %: percentile bootstrap")
        if math.isfinite(comparison.target):
            reached = f"{_CURVES[comparison.column]} reached the target {figure(comparison.target)}"
            parts.append(f"Reached: runs whose {reached}, with the median evaluations and steps up to it")
    if name == "pairs":
        parts.append("P(improvement): a run of the first scores higher than one of the second; p: two-sided Mann-Whitney test")
        parts.append(_correction(comparison))
    return ". ".join(parts) + "."


def _correction(comparison: Comparison) -> str:
    shown, tests = len(comparison.pairs), comparison.tests
    told = f"Holm: corrected for {tests} test{'s' * (tests != 1)}"
    return told if shown == tests else f"{told}, of all pairs of the {len(comparison.groups)} groups; those with the best are shown"


def label(comparison: Comparison, name: str) -> str:
    r"""Key of a table for `\ref`, from the task and the table's name: `tab:cartpole-v1-groups`."""
    return f"tab:{re.sub('[^a-z0-9]+', '-', comparison.task.lower()).strip('-')}-{name}"


def _episodes(comparison: Comparison) -> str:
    """The number of episodes behind a score, if the description of the score does not have it."""
    if comparison.score == "evaluation":
        return ""
    settings = [scored.group.settings for scored in comparison.groups]
    if comparison.score == "validation":
        limits = [Limits(target=each["target"], validation_episodes=each["validation_episodes"]) for each in settings]
        return f" ({_span({each.episodes_of_a_validation for each in limits})})"
    episodes, population = ({each[name] for each in settings} for name in ("episodes", "population"))
    if None in episodes:
        return f" (episodes by a schedule, of each of {_span(population, '')} individuals)"
    return f" ({_span(episodes)} of each of {_span(population, '')} individuals)"


def _span(counts: Set[int], of: str = "episode") -> str:
    """`5 episodes`, or `1 to 5 episodes`."""
    low, high = min(counts), max(counts)
    noun = "" if not of else f" {of}" if high == 1 else f" {of}s"
    return (f"{low:,}" if low == high else f"{low:,} to {high:,}") + noun


def _seeds(comparison: Comparison) -> str:
    """The number of runs and the seeds of each group."""
    seeds = {scored.group.name: [run.seed for run in scored.group.runs] for scored in comparison.groups}
    first = next(iter(seeds.values()))
    if all(each == first for each in seeds.values()):
        return f"{'In each group ' if len(seeds) > 1 else ''}{_runs(first)}"
    return "; ".join(f"{name}: {_runs(each)}" for name, each in seeds.items())


def _runs(seeds: Sequence[int]) -> str:
    plain = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    listed = f"{seeds[0]} to {seeds[-1]}" if plain else ", ".join(map(str, seeds))
    return f"{len(seeds)} run{'s' * (len(seeds) > 1)} (seed{'s' * (len(seeds) > 1)} {listed})"
