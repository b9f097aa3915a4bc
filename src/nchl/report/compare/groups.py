"""Groups of runs that differ only in their seed, named by the settings in which the groups differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nchl.errors import RunError
from nchl.report.compare.runs import DIGITS, Run
from nchl.report.formatting import hashable, listed, setting
from nchl.runs.settings.config import defaults_of, options
from nchl.runs.settings.dependent_options import inapplicable
from nchl.runs.settings.network_options import NETWORKS, OWN, RULES
from nchl.runs.settings.options import TOTALS
from nchl.strategies.registry import STRATEGIES

_OPTIONS = {option.name: option for option in options()}
_DEFAULTS = {name: option.default for name, option in _OPTIONS.items()}
_DECIDED = ("image_size", "max_episode_steps", "sigma", "lr", "mu", "rule")  # None: by the task, the network or the genome's length
_BY_RULE = {"nchl", "hl"}  # networks that are told by their rule
_BUILT_IN = {*NETWORKS, *RULES.values(), *STRATEGIES}
_DIGEST = re.compile(rf" \([0-9a-f]{{{DIGITS}}}\)$")
_Key = tuple[tuple[str, Any], ...]  # settings, sorted by name
_RESULTS = ("evaluations", "env_steps", "mean", "best_so_far")
_ALWAYS_SHOWN = ("simulator", "population", "generations")


@dataclass(frozen=True)
class Group:
    """Runs with equal settings.

    Attributes:
        name: the settings in which it differs from other groups, for example `network=hl`.
        settings: see `Run.settings`; a total in which the runs differ as a text, `4 to 5`.
        runs: one per seed, ordered by seed.
    """

    name: str
    settings: dict[str, Any]
    runs: tuple[Run, ...]


def alone(group: Group) -> str:
    """The name of a group without others: its network, or the rule of its own."""
    network, rule = (group.settings.get(name) for name in ("network", "rule"))
    return str(rule if network in _BY_RULE and rule else network or group.name)


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], dict[str, Any], list[str]]:
    """The groups in the order of their first runs, the settings that all share, and warnings about runs.

    Runs that differ in nothing but `TOTALS` are one group, unless a seed is there with several of them: then these are compared.

    Raises:
        RunError: the runs are of different tasks, or two of the same settings and seed have different results.
    """
    _refuse_mixed_tasks(runs)
    by_settings: dict[_Key, dict[int, Run]] = {}
    lines = []
    for run in runs:
        seeds = by_settings.setdefault(_key(run.settings), {})
        twin = seeds.get(run.seed)
        if twin is not None:
            _refuse_other_results(twin, run)
            # Counting both would count one run twice.
            kept, dropped = (twin, run) if twin.generations >= run.generations else (run, twin)
            lines.append(f"{dropped.folder} repeats {kept.folder} (same settings, same seed) and was left out")
            run = kept
        seeds[run.seed] = run
    by_settings, extended = _without_totals(by_settings)
    settings = [dict(key) for key in by_settings]
    names = _names(settings)
    groups = [
        Group(name, each, tuple(seeds[seed] for seed in sorted(seeds)))
        for name, each, seeds in zip(names, settings, by_settings.values(), strict=True)
    ]
    return groups, _shared(settings), [*lines, *extended]


def _refuse_other_results(one: Run, other: Run) -> None:
    """Equal settings and seeds give equal results on one machine; where they did not, nothing says which run is meant."""
    shared = min(one.generations, other.generations)
    for name in _RESULTS:
        equal = np.isclose(one.columns[name][:shared], other.columns[name][:shared], rtol=0, atol=0, equal_nan=True)
        if not equal.all():
            raise RunError(
                f"{one.folder} and {other.folder} have the same settings and the same seed, and different results (column {name}, from "
                f"generation {int(np.argmin(equal)) + 1} on), as from two versions of the code or two machines: expected one of them; give "
                "the folders that you mean"
            )


def _key(settings: Mapping[str, Any]) -> _Key:
    return tuple(sorted(settings.items()))


def _without_totals(by_settings: Mapping[_Key, dict[int, Run]]) -> tuple[dict[_Key, dict[int, Run]], list[str]]:
    """Groups joined that differ in totals alone and have no seed in common, and a warning for each."""
    alike: dict[_Key, list[_Key]] = {}
    for key in by_settings:
        alike.setdefault(_key({name: value for name, value in key if name not in TOTALS}), []).append(key)
    joined: dict[_Key, dict[int, Run]] = {}  # by the first of the settings
    spans_of: dict[_Key, dict[str, str]] = {}
    lines = []
    for keys in alike.values():
        runs = {seed: run for key in keys for seed, run in by_settings[key].items()}
        if len(keys) == 1 or len(runs) < sum(len(by_settings[key]) for key in keys):
            joined |= {key: by_settings[key] for key in keys}
            continue
        differing = [name for name in TOTALS if len({dict(key).get(name) for key in keys}) > 1]
        spans = {name: _span([dict(key).get(name) for key in keys]) for name in differing}
        joined[keys[0]], spans_of[keys[0]] = runs, spans
        told = [
            f"{' '.join(f'{name} {_shown(name, dict(key).get(name))}' for name in differing)}: "
            f"{listed([run.folder for run in by_settings[key].values()])}"
            for key in keys
        ]
        lines.append(
            f"runs that differ in nothing but their totals are taken as one group, whose budgets may be unequal ({'; '.join(told)}); where "
            "a sweep was being extended, the same `nchl sweep` goes on"
        )
    return {_key(dict(key) | spans_of.get(key, {})): joined[key] for key in by_settings if key in joined}, lines


def _span(totals: Sequence[Any]) -> str:
    """`4 to 5`; without a total there is no end."""
    known = sorted({total for total in totals if total is not None})
    ends = [*map(str, known), *(["none"] if None in totals else [])]
    return f"{ends[0]} to {ends[-1]}"


def _refuse_mixed_tasks(runs: Sequence[Run]) -> None:
    by_task: dict[str, list[str]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(str(run.folder))
    if len(by_task) > 1:
        lists = [f"{task}: {listed(found, 8)}" for task, found in sorted(by_task.items())]
        raise RunError(f"scores of different tasks cannot be compared; choose one task with --task. {'; '.join(lists)}")


def _names(settings: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each group: all settings in which the groups differ, but for those that follow from others."""
    if len(settings) == 1:
        return ["all runs"]
    order = [*_DEFAULTS, *sorted({name for each in settings for name in each} - set(_DEFAULTS))]
    differing = [name for name in order if len({each.get(name) for each in settings}) > 1]
    bases = [_Basis.of(each) for each in settings]
    # What only some networks or strategies have, by default, follows from theirs, unless groups differ in it alone.
    follows = [
        name
        for name in differing
        if (name == "rule" or len({each.get(name) for each in settings} - {None}) < 2) and all(basis.implies(name) for basis in bases)
    ]
    # What a group has no single value of is in a name only where it has to be.
    follows += [name for name in TOTALS if name in differing and any(" to " in str(each.get(name)) for each in settings)]
    for name in reversed(follows):
        fewer = [other for other in differing if other != name]
        if len({tuple(each.get(other) for other in fewer) for each in settings}) == len(settings):
            differing = fewer
    if "rule" in differing and {each.get("network") for each in settings} == _BY_RULE:
        differing.remove("network")
    shown = {name: _all_shown(name, settings) for name in differing}
    return [
        " ".join(f"{name}={shown[name][each.get(name)]}" for name in differing if each.get(name) is not None or basis.may_have(name))
        or " ".join(f"{name}={_shown(name, None)}" for name in differing)
        for each, basis in zip(settings, bases, strict=True)
    ]


def _all_shown(name: str, settings: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """The values of a setting as texts; those from files with digits of the file only where the text would be another's without them."""
    full = {value: _shown(name, value) for value in (each.get(name) for each in settings)}
    short = {value: _DIGEST.sub("", text) for value, text in full.items()}
    own = {short[value] for value in full if short[value] != full[value]}
    return full if len(set(short.values())) < len(short) or own & _BUILT_IN else short


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "auto" if name in _DECIDED else "none"
    return setting(value, "x")


@dataclass(frozen=True)
class _Basis:
    """What follows from a group's network, strategy and optimizer.

    Attributes:
        settings: of the group.
        network, strategy: their names, `OWN` for one from a file.
        defaults: of all options.
        lost: options that do not apply because of the value of another one.
    """

    settings: dict[str, Any]
    network: str
    strategy: str
    defaults: dict[str, Any]
    lost: frozenset[str]

    @classmethod
    def of(cls, settings: dict[str, Any]) -> _Basis:
        named = {"network": NETWORKS, "strategy": STRATEGIES}
        names = {kind: str(settings.get(kind) or _DEFAULTS[kind]) for kind in named}
        # The settings name a network or strategy from a file without its place.
        network, strategy = (name if name in named[kind] or ":" in name else OWN for kind, name in names.items())
        defaults = defaults_of(network, strategy, settings.get("optimizer")) | {"rule": RULES.get(network, "nchl")}
        given = {name: value for name, value in settings.items() if value is not None and name in defaults}
        return cls(settings, network, strategy, defaults, inapplicable(strategy, given, defaults))

    def implies(self, name: str) -> bool:
        """Whether the group has the default of an option, or none; files and environment are no options and follow from others."""
        value = self.settings.get(name)
        return value is None or name not in self.defaults or value == hashable(self.defaults[name])

    def may_have(self, name: str) -> bool:
        """Whether an option could be given to a run of this group."""
        about = _OPTIONS.get(name)
        return about is not None and name not in self.lost and about.applies(self.network, self.strategy)


def _shared(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all groups share and that differ from their defaults, and the size of the search."""
    bases = [_Basis.of(each) for each in settings]
    same = {name: value for name, value in settings[0].items() if all(each.get(name) == value for each in settings)}
    return {
        name: same[name]
        for name in [*_DEFAULTS, "files"]
        if same.get(name) is not None
        and (name in _ALWAYS_SHOWN or same[name] != _DEFAULTS.get(name))
        and not (name == "rule" and all(basis.implies(name) for basis in bases))
    }
