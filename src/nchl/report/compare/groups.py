"""Groups of runs that differ only in their seed, named by the settings in which the groups differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nchl.errors import RunError
from nchl.report.compare.runs import Run
from nchl.report.formatting import listed, setting
from nchl.runs.settings.config import options

_DEFAULTS = {option.name: option.default for option in options()}
_ALWAYS_SHOWN = ("simulator", "population", "generations")


@dataclass(frozen=True)
class Group:
    """Runs with equal settings.

    Attributes:
        name: the settings in which it differs from other groups, for example `network=hl`.
        settings: see `Run.settings`.
        runs: one per seed, ordered by seed.
    """

    name: str
    settings: dict[str, Any]
    runs: tuple[Run, ...]


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], dict[str, Any], list[str]]:
    """The groups in the order of their first runs, the settings that all share, and warnings about runs that were left out.

    Raises:
        RunError: the runs are of different tasks.
    """
    _refuse_mixed_tasks(runs)
    by_settings: dict[tuple[tuple[str, Any], ...], dict[int, Run]] = {}
    left_out = []
    for run in runs:
        seeds = by_settings.setdefault(tuple(sorted(run.settings.items())), {})
        twin = seeds.get(run.seed)
        if twin is not None:
            # Equal settings and seeds give equal results: counting both would count one run twice.
            kept, dropped = (twin, run) if twin.generations >= run.generations else (run, twin)
            left_out.append(f"{dropped.folder} repeats {kept.folder} (same settings, same seed) and was left out")
            run = kept
        seeds[run.seed] = run
    settings = [dict(key) for key in by_settings]
    names = _names(settings)
    groups = [
        Group(name, each, tuple(seeds[seed] for seed in sorted(seeds)))
        for name, each, seeds in zip(names, settings, by_settings.values(), strict=True)
    ]
    return groups, _shared(settings), left_out


def _refuse_mixed_tasks(runs: Sequence[Run]) -> None:
    by_task: dict[str, list[str]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(str(run.folder))
    if len(by_task) > 1:
        lists = [f"{task}: {listed(found, 8)}" for task, found in sorted(by_task.items())]
        raise RunError(f"scores of different tasks cannot be compared; compare the runs of one task at a time. {'; '.join(lists)}")


def _names(settings: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each group, from the fewest settings that distinguish all groups."""
    if len(settings) == 1:
        return ["all runs"]
    order = [*_DEFAULTS, *sorted({name for each in settings for name in each} - set(_DEFAULTS))]
    differing = [name for name in order if len({each.get(name) for each in settings}) > 1]
    # An option that only some networks or strategies have follows from theirs, unless groups differ in it alone.
    follows = [name for name in differing if len({each.get(name) for each in settings} - {None}) < 2]
    for name in reversed(follows):
        fewer = [other for other in differing if other != name]
        if len({tuple(each.get(other) for other in fewer) for each in settings}) == len(settings):
            differing = fewer
    return [
        " ".join(f"{name}={setting(each[name], 'x')}" for name in differing if each.get(name) is not None)
        or " ".join(f"{name}=none" for name in differing)
        for each in settings
    ]


def _shared(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all groups share and that differ from their defaults, and the size of the search."""
    same = {name: value for name, value in settings[0].items() if all(each.get(name) == value for each in settings)}
    return {
        name: same[name]
        for name in [*_DEFAULTS, "files"]
        if same.get(name) is not None and (name in _ALWAYS_SHOWN or same[name] != _DEFAULTS.get(name))
    }
