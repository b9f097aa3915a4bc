"""Runs under perturbations: rows of figures for each group of runs, perturbation and control, with intervals and tests.

    study = adapt([Path("runs/plastic"), Path("runs/static")], suite="lesions")
    print(study.to_json())

Promise: equal run folders and equal seeds give an equal study, on any number of workers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, RunError, UnknownName, whole_number
from nchl.perturbations.suites import Suite
from nchl.report.adaptation.intervals import episodes_of, median_steps, pooled_mean
from nchl.report.adaptation.pairs import compare_rows
from nchl.report.adaptation.recovery import WINDOW, around, recovery
from nchl.report.adaptation.results import Pair, Row
from nchl.report.compare.groups import Group, alone, group_runs
from nchl.report.compare.runs import digest, find_runs, one_or_more, read_run
from nchl.report.compare.statistics import estimate, mean_band, ratio
from nchl.runs.adaptation.processes import trials_in_processes
from nchl.runs.adaptation.trials import CONTROLS, Asked, Trial
from nchl.runs.results.result import WHICH
from nchl.runs.store.folder import RunFolder

BEFORE, AFTER = 100, 400  # steps around the moment that curves show
_SMOOTH = 10
_MOST_POINTS = 250
_TRIES = 3


@dataclass(frozen=True)
class Study:
    """All that `nchl adapt` says.

    Attributes:
        suite: its name, or "perturb".
        source: where it comes from.
        task: of all runs.
        episodes: of each individual, perturbation and control.
        seed: of the starts and of the resampling.
        which: "best" or "centre".
        window: steps of the network that each mean reward is over.
        rows: group by group, perturbation by perturbation, control by control.
        pairs: that were tested.
        runs: folders of each group.
        digests: of the individual that has played, for each folder.
        notes: how to read the numbers, and what may mislead.
    """

    suite: str
    source: str
    task: str
    episodes: int
    seed: int
    which: str
    window: int
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    runs: dict[str, list[str]]
    notes: tuple[str, ...]
    digests: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything but the curves, as plain JSON values."""
        about = {name: getattr(self, name) for name in ("suite", "source", "task", "episodes", "seed", "which", "window")}
        rows, pairs = [row.to_json() for row in self.rows], [pair.to_json() for pair in self.pairs]
        return {**about, "rows": rows, "pairs": pairs, "runs": dict(self.runs), "notes": list(self.notes)}

    def kept(self) -> dict[str, Any]:
        """The study for a run's folder: the rows with their curves, for pictures."""
        rows = []
        for row in self.rows:
            times, unrecovered = row.recovery.curve()
            survival = {"steps": times.tolist(), "unrecovered": unrecovered.tolist()}
            rows.append({**row.to_json(), "curve": row.curve, "survival": survival})
        return {**self.to_json(), "rows": rows}


def adapt(
    places: Iterable[os.PathLike[str] | str] | os.PathLike[str] | str,
    *,
    suite: str | Suite | None = None,
    perturb: Sequence[str] | str | None = None,
    episodes: int = 100,
    seed: int = 10000,
    which: str = "best",
    simulator: str | None = None,
    workers: int = 1,
    window: int = WINDOW,
    on_note: Callable[[str], None] | None = None,
) -> Study:
    """Let runs of one task play under perturbations, and compare.

    Args:
        places: a run or several: run folders, or folders that hold some, up to two levels deep. Runs that differ only in their seed are
            a group.
        suite: a suite's name, a file of YAML, or a `Suite`.
        perturb: a perturbation, or several, each tried alone.
        episodes: of each individual, perturbation and control, on starts that neither search nor validation has seen.
        seed: of the starts and of the resampling.
        which: "best" or "centre".
        simulator: None: each run's own, or what a perturbation needs.
        workers: processes that play; the numbers do not depend on them.
        window: steps of the network that a mean reward before and after the moment is over; an episode of which fewer are left cannot
            be judged for recovery.
        on_note: gets a line for each run that plays.

    Raises:
        NchlError: no runs, runs of different tasks, no such suite, or a perturbation that a task or network cannot have.
    """
    if which not in WHICH:
        raise UnknownName("result of a run", which, WHICH)
    episodes, seed, window = whole_number(episodes, "episodes", 1), whole_number(seed, "seed"), whole_number(window, "window", 1)
    say = on_note or (lambda line: None)
    paths, left_out = find_runs(map(Path, one_or_more(places)))
    groups, _, twins = group_runs([read_run(path) for path in paths])
    task = groups[0].runs[0].task
    asked = Asked.of(suite, perturb, task)
    names = [group.name for group in groups] if len(groups) > 1 else [alone(groups[0])]
    rows: list[Row] = []
    notes: list[str] = []
    digests: dict[str, str] = {}

    def note(line: str) -> None:
        if line not in notes:
            notes.append(line)

    for name, group in zip(names, groups, strict=True):
        played = []
        for run in group.runs:
            say(f"{run.folder}: {len(asked.perturbations)} perturbations, {episodes} episodes each")
            how = {"episodes": episodes, "seed": seed, "which": which, "simulator": simulator}
            made, digests[str(run.folder)] = _play(run.folder, asked, workers, note, how)
            played.append(made)
        rows += [_row(name, list(same), seed, window) for same in zip(*played, strict=True)]
    return Study(
        suite=asked.suite,
        source=asked.source,
        task=task,
        episodes=len(played[0][0].moments),
        seed=seed,
        which=which,
        window=window,
        rows=tuple(rows),
        pairs=compare_rows(rows, seed),
        runs={name: [str(run.folder) for run in group.runs] for name, group in zip(names, groups, strict=True)},
        notes=(*left_out, *twins, *notes, *_caveats(groups, rows, window)),
        digests=digests,
    )


def _play(run: Path, asked: Asked, workers: int, on_note: Callable[[str], None], how: Mapping[str, Any]) -> tuple[list[Trial], str]:
    """The trials of a run, with the digest of its individual, which a run in progress may replace meanwhile."""
    file = RunFolder.open(run).result(how["which"])
    for _ in range(_TRIES):
        before = digest(file) if file.is_file() else None
        played = trials_in_processes(run, asked, workers=workers, on_note=on_note, **how)
        if before is not None and file.is_file() and digest(file) == before:
            return played, before
    raise RunError(f"{file} was replaced while it played, {_TRIES} times; wait until the run has ended, or play a copy of its folder")


def _row(group: str, same: list[Trial], seed: int, window: int = WINDOW) -> Row:
    """The row of one trial of each run of a group."""
    first = same[0]
    returns = np.stack([trial.perturbed.returns for trial in same])
    intact = np.stack([trial.intact.returns for trial in same])
    sound = np.stack([trial.sound for trial in same])
    # One number for each unit: of a run where there are several, else of an episode; NaN where it is not finite.
    own, other = (_units(np.where(sound, matrix, np.nan)) for matrix in (returns, intact))
    finite = np.isfinite(own)
    if not finite.any():
        raise InvalidArgument(f"{group}, {first.perturbation}, {first.control}: no episode was finite; nothing can be said of it")
    perturbed, twins = own[finite], other[finite]
    several = len(same) > 1
    recoveries = tuple(recovery([trial], window) for trial in same)
    # Units as above, with all that belongs to them.
    judged = recoveries if several else episodes_of(recoveries[0])
    parts = [around(trial, window) for trial in same]
    rewards = {
        name: pooled_mean([part[name] for part in parts] if several else list(parts[0][name].reshape(-1, 1)), seed) for name in parts[0]
    }
    low, high = median_steps(judged, seed)
    return Row(
        group=group,
        perturbation=first.perturbation,
        text=first.text,
        control=first.control,
        mean=estimate(perturbed, np.mean, seed),
        intact=estimate(twins, np.mean, seed),
        retained=ratio(perturbed, twins, seed) if twins.mean() > 0 else None,
        lost=estimate(twins - perturbed, np.mean, seed),
        recovery=recovery(same, window),
        recovered=pooled_mean([each.recovered.astype(np.float64) for each in judged], seed),
        median_low=low,
        median_high=high,
        **rewards,
        recoveries=recoveries,
        returns=own,
        curve=_curve(same, seed),
        non_finite=int((~sound).sum()),
    )


def _units(returns: np.ndarray) -> np.ndarray:
    """(runs, episodes) -> one return for each run, or for each episode of a single one."""
    if len(returns) == 1:
        return returns[0]  # type: ignore[no-any-return]
    return np.array([values[np.isfinite(values)].mean() if np.isfinite(values).any() else np.nan for values in returns])


def _curve(same: list[Trial], seed: int) -> dict[str, list[float]]:
    """Reward per step by the step's distance from the moment, a mean of the last ten steps; the band is over runs if there are several."""
    moments = np.concatenate([trial.moments for trial in same])
    own, twins = (np.concatenate([_smooth(getattr(trial, name).rewards) for trial in same]) for name in ("perturbed", "intact"))
    begin = -min(BEFORE, int(moments.min()))
    end = min(AFTER, int(min(own.shape[1], twins.shape[1]) - moments.max()))
    offsets = np.arange(begin, end, max(1, -(-(end - begin) // _MOST_POINTS)))
    places = moments[:, None] + offsets[None, :]
    mine, intact = np.take_along_axis(own, places, 1), np.take_along_axis(twins, places, 1)
    sound = [trial.sound for trial in same]
    # All runs play the same number of episodes.
    kept = [rewards[finite] for rewards, finite in zip(np.split(mine, len(same)), sound, strict=True) if finite.any()]
    units = np.stack([rewards.mean(0) for rewards in kept]) if len(same) > 1 else kept[0]
    middle, low, high = mean_band(units, seed)
    lists = {"mean": middle, "low": low, "high": high, "intact": intact[np.concatenate(sound)].mean(0)}
    return {"offset": offsets.tolist()} | {name: np.round(values, 6).tolist() for name, values in lists.items()}


def _smooth(rewards: np.ndarray) -> np.ndarray:
    sums = np.cumsum(np.pad(rewards, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, sums.shape[1])
    begins = np.maximum(ends - _SMOOTH, 0)
    means: np.ndarray = (sums[:, ends] - sums[:, begins]) / (ends - begins)
    return means


def _caveats(groups: Sequence[Group], rows: Sequence[Row], window: int = WINDOW) -> list[str]:
    lines = []
    alone = [group for group in groups if len(group.runs) == 1]
    if alone:
        lines.append(
            "a group of one run is one individual: its intervals are over episodes, and say nothing of what another seed would have found"
        )
    switched, frozen = ({row.perturbation: None for row in rows if row.control == control} for control in CONTROLS[1:])
    if alike := [label for label in switched if label not in frozen]:
        lines.append(
            f"no rows of {CONTROLS[2]!r} for what is there from the start ({', '.join(alike)}): they would be those of {CONTROLS[1]!r}"
        )
    if any(row.retained is None for row in rows):
        lines.append("no share is retained of a return that is not above 0; JSON and CSV have the difference, `lost`")
    if any(row.retained is not None and math.isnan(row.retained.low) and not math.isnan(row.intact.low) for row in rows):
        lines.append("a retained share has no interval where the twins' mean return is so near 0 that it can be below it in a resample")
    # An episode counts once in each row: it is played anew under each control and perturbation.
    every = sum(len(row.recovery.steps) + row.recovery.left_out for row in rows)
    left = sum(row.recovery.left_out for row in rows)
    if left:
        lines.append(
            f"{left} of the {every} episodes of all rows are not judged for recovery: their twin ends within {window} steps of the moment, "
            "or was not finite; a smaller window may judge more"
        )
    bad = sum(row.non_finite for row in rows)
    if bad:
        lines.append(
            f"{bad} of the {every} episodes of all rows, or their twins, were not finite; they are in no figure of return or reward; "
            "such an episode beside a finite twin has not recovered"
        )
    return lines
