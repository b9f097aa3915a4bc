"""Comparison of groups of runs: scores with intervals, tests of differences, and the cost of reaching a target.

    comparison = compare([Path("runs/sweep")])
    print(comparison.to_json())

Equal run folders and an equal seed give an equal comparison. Its warnings name runs that were left out and anything that may mislead.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.report.compare.caveats import budget, warnings_about
from nchl.report.compare.groups import Group, group_runs
from nchl.report.compare.labels import labelled
from nchl.report.compare.runs import Run, find_runs, one_or_more, read_run
from nchl.report.compare.scores import choose_score, curve_column, default_target, passed_over, scores_of, to_target
from nchl.report.compare.statistics import Interval, estimate, holm, iqm, share_higher, tested

MOST_GROUPS_FOR_ALL_PAIRS = 8


@dataclass(frozen=True)
class Scored:
    """A group with its scores.

    Attributes:
        group: name, settings, runs.
        scores: (runs,) one score per run.
        iqm: interquartile mean with its 95 % interval.
        median: median with its 95 % interval.
        nparams: length of the genome, None before the first checkpoint.
        evaluations: individuals evaluated in a run (median over the runs).
        env_steps: environment steps of a run (median).
        reached: number of runs that reached the target; None without a target.
        evaluations_to_target: evaluations up to the target (median over all runs); infinite if half or more did not reach it, or if there
            is none.
        env_steps_to_target: environment steps up to the target, likewise.
    """

    group: Group
    scores: Float[np.ndarray, " runs"]
    iqm: Interval
    median: Interval
    nparams: int | None
    evaluations: float
    env_steps: float
    reached: int | None
    evaluations_to_target: float
    env_steps_to_target: float


@dataclass(frozen=True)
class Pair:
    """A test of the difference between two groups.

    Attributes:
        first, second: names of the groups; the improvement is at least one half, and of equal ones the first has the higher
            interquartile mean.
        improvement: probability that a run of the first scores higher, with its 95 % interval.
        u: Mann-Whitney statistic of the first.
        p: two-sided p-value.
        p_holm: p-value after Holm's correction for all pairs of the comparison; for all pairs of its groups where the scores chose which
            are tested.
    """

    first: str
    second: str
    improvement: Interval
    u: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        task: id of the task.
        score: one of `SCORES`.
        score_text: description of the score.
        shared: settings that all groups share.
        groups: in the order in which they were given.
        pairs: the pairs that were tested.
        tests: the number of tests that Holm's correction is for.
        column: column of `metrics.csv` of the learning curves and the target.
        target: value of that column to reach; NaN if none was given and no group improved.
        target_text: origin of the target.
        seed: seed of the bootstrap.
        warnings: lines about anything that may mislead.
        notes: lines about how to read the numbers.
    """

    task: str
    score: str
    score_text: str
    shared: dict[str, Any]
    groups: tuple[Scored, ...]
    pairs: tuple[Pair, ...]
    tests: int
    column: str
    target: float
    target_text: str
    seed: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values; missing numbers, such as the interval of one run, are NaN or infinite."""
        about = {name: getattr(self, name) for name in ("task", "score", "score_text", "column", "target", "target_text", "seed", "tests")}
        return {
            **about,
            "shared": dict(self.shared),
            "groups": [_group_json(scored) for scored in self.groups],
            "pairs": [{**asdict(pair), "improvement": pair.improvement._asdict()} for pair in self.pairs],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def compare(
    places: Iterable[os.PathLike[str] | str | Run] | os.PathLike[str] | str | Run,
    *,
    task: str | None = None,
    score: str = "auto",
    target: float | None = None,
    baseline: str | None = None,
    finished_only: bool = False,
    seed: int = 0,
    names: Callable[[Group], str] | None = None,
    labels: Iterable[str] = (),
) -> Comparison:
    """Compare runs of one task.

    Args:
        places: a run or several: run folders, folders that hold some up to two levels deep, or runs that are already read.
        task: id of the task whose runs are compared; None: all runs are of one.
        score: name of the score, see `SCORES`; auto takes the first that all runs have.
        target: return to reach, for the cost of reaching it; None: nine tenths of the way from the start to the end of the best group,
            if one improved.
        baseline: name (or label) of the group that all others are tested against; None: all pairs, or with many groups those with the best.
        finished_only: leave out runs that have not ended.
        seed: seed of the bootstrap.
        names: names the groups; None: the settings in which they differ.
        labels: other names for some of the groups, each as `GROUP=TEXT`.

    Raises:
        RunError: there are no runs, they are of different tasks, two of one setting and seed differ, or a folder cannot be read.
        InvalidArgument: some runs do not have the score, the task, the baseline or the group of a label is unknown, or a label cannot be
            used.
    """
    if seed < 0:
        raise InvalidArgument(f"seed must be at least 0, got {seed}")
    read, folders = [], []
    for place in one_or_more(places):
        read.append(place) if isinstance(place, Run) else folders.append(Path(place))
    paths, left_out = find_runs(folders) if folders or not read else ([], [])
    runs, unusable = _usable(_of_task(task, [*read, *map(read_run, paths)]), finished_only)
    groups, shared, twins = group_runs(runs)
    groups = groups if names is None else [replace(group, name=names(group)) for group in groups]
    known = [group.name for group in groups]
    new = dict(zip(known, labelled(known, labels), strict=True))
    groups, baseline = [replace(group, name=new[group.name]) for group in groups], new.get(str(baseline), baseline)
    runs = [run for group in groups for run in group.runs]
    kind, text = choose_score(score, runs)
    column = curve_column(kind, runs)
    values = [scores_of(group.runs, kind) for group in groups]
    if target is None:
        target, target_text = default_target(groups, column)
    elif math.isfinite(target):
        target_text = "as given"
    else:
        raise InvalidArgument(f"the target must be a finite number, got {target}")
    scored = tuple(_scored(group, scores, column, target, seed) for group, scores in zip(groups, values, strict=True))
    pairs, tests, pair_notes = _pairs(scored, baseline, seed)
    auto = passed_over(kind, runs) if score == "auto" else []
    return Comparison(
        task=runs[0].task,
        score=kind,
        score_text=text,
        shared=shared,
        groups=scored,
        pairs=pairs,
        tests=tests,
        column=column,
        target=target,
        target_text=target_text,
        seed=seed,
        warnings=(*left_out, *unusable, *twins, *auto, *warnings_about(groups, kind)),
        notes=tuple(pair_notes),
    )


def _of_task(task: str | None, runs: Sequence[Run]) -> Sequence[Run]:
    found = runs if task is None else [run for run in runs if run.task == task]
    if not found:
        raise UnknownName("task of these runs", str(task), sorted({run.task for run in runs}))
    return found


def _usable(runs: Sequence[Run], finished_only: bool) -> tuple[list[Run], list[str]]:
    """The runs with a score, and a warning for each other one."""
    kept, lines = [], []
    for run in runs:
        if run.reason is None and finished_only:
            lines.append(f"{run.folder} has not ended and was left out")
        elif not math.isfinite(run.last("mean")):
            lines.append(f"{run.folder} has no finished generation with a finite score yet and was left out")
        else:
            kept.append(run)
    if not kept:
        raise RunError(f"none of the {len(runs)} runs has anything to compare: {'; '.join(lines[:5])}")
    return kept, lines


def _scored(group: Group, scores: np.ndarray, column: str, target: float, seed: int) -> Scored:
    evaluations, env_steps = to_target(group.runs, column, target)
    lengths = [run.nparams for run in group.runs if run.nparams is not None]
    return Scored(
        group=group,
        scores=scores,
        iqm=estimate(scores, iqm, seed),
        median=estimate(scores, np.median, seed),
        nparams=lengths[0] if lengths else None,
        evaluations=budget(group.runs, "evaluations"),
        env_steps=budget(group.runs, "env_steps"),
        reached=None if math.isnan(target) else int(np.isfinite(evaluations).sum()),
        evaluations_to_target=float(np.median(evaluations)),
        env_steps_to_target=float(np.median(env_steps)),
    )


def _pairs(scored: Sequence[Scored], baseline: str | None, seed: int) -> tuple[tuple[Pair, ...], int, list[str]]:
    """The pairs that are tested, the number of tests that they are corrected for, and notes about them."""
    names = [each.group.name for each in scored]
    if baseline is not None and baseline not in names:
        raise UnknownName("group", baseline, names)
    ranked = sorted(scored, key=lambda each: -each.iqm.value)
    notes = []
    centre, tests = baseline, None
    if baseline is None and len(scored) > MOST_GROUPS_FOR_ALL_PAIRS:
        centre, tests = ranked[0].group.name, math.comb(len(scored), 2)
        notes.append(
            f"of {len(scored)} groups, only the pairs with the best one are shown; as their scores chose it, the correction is for all "
            f"{tests} pairs (--baseline GROUP, one that you had in mind, is corrected for {len(scored) - 1})"
        )
    chosen = [(a, b) for a, b in itertools.combinations(ranked, 2) if centre is None or centre in (a.group.name, b.group.name)]
    chosen = [(a, b) if share_higher(a.scores, b.scores) >= 0.5 else (b, a) for a, b in chosen]
    tests = tests or len(chosen)
    found = tested([(a.scores, b.scores) for a, b in chosen], seed)
    corrected = holm([test.p for test in found], tests)
    pairs = tuple(
        Pair(a.group.name, b.group.name, *test[:3], p_holm) for (a, b), test, p_holm in zip(chosen, found, corrected, strict=True)
    )
    if chosen:
        least = min(2 / math.comb(len(a.scores) + len(b.scores), len(a.scores)) for a, b in chosen)
        if tests * least > 0.05:
            notes.append(f"with so few runs no corrected p-value of the {tests} tests can be below {min(tests * least, 1):.2g}: add seeds")
    return pairs, tests, notes


def _group_json(scored: Scored) -> dict[str, Any]:
    runs = [
        {
            "folder": str(run.folder),
            "seed": run.seed,
            "score": float(score),
            "non_finite": run.non_finite,
            "generations": run.generations,
            "reason": run.reason,
        }
        for run, score in zip(scored.group.runs, scored.scores, strict=True)
    ]
    plain = ("nparams", "evaluations", "env_steps", "reached", "evaluations_to_target", "env_steps_to_target")
    return {
        "name": scored.group.name,
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in scored.group.settings.items()},
        "n": len(scored.scores),
        "iqm": scored.iqm._asdict(),
        "median": scored.median._asdict(),
        **{name: getattr(scored, name) for name in plain},
        "runs": runs,
    }
