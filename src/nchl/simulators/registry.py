"""The simulators by name. A new one is a file and a line here.

Its module has these functions:

    make(wanted: Wanted) -> Simulator     what `wanted` describes; its errors say what the simulator lacks
    plays(wanted: Wanted) -> bool         whether `auto` chooses it, if no simulator of an earlier line is chosen
    problem() -> str | None               why it cannot be used on this machine and how to install it; None where it can be used
    known_ids() -> list[str]              the ids of its tasks; raises MissingExtra where it is not installed
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from nchl.errors import MissingExtra, UnknownName

if TYPE_CHECKING:  # brings torch, which the command line does without
    from nchl.simulators.base import Simulator


class Entry(NamedTuple):
    """A line of the table of simulators.

    Attributes:
        module: where it is; imported when it is first asked for.
        title: its name in texts.
        packages: the packages whose versions decide its results.
        without: the consequence where it is not installed.
    """

    module: str
    title: str
    packages: tuple[str, ...]
    without: str


SIMULATORS = {
    "envpool": Entry(
        "nchl.simulators.envpool", "EnvPool", ("envpool",), "tasks run on Gymnasium, several times slower for small environments"
    ),
    "gymnasium": Entry("nchl.simulators.gym", "Gymnasium", ("gymnasium", "mujoco", "pybullet"), "needed for every task"),
    "warp": Entry(
        "nchl.simulators.warp", "MuJoCo Warp", ("mujoco-warp", "warp-lang", "mujoco", "gymnasium"), "--simulator warp is not available"
    ),
}
CHOICES = ("auto", *SIMULATORS)


@dataclass
class Wanted:
    """The description that a simulator is made from.

    Attributes:
        id: of the task.
        threads: threads or processes at most; results do not depend on them.
        max_episode_steps: another limit of steps than the task's own.
        observe: parts of the observations that are seen; empty: the simulator's choice.
        env: settings of the environment by name.
        wrap: wrappers of the environment, `MODULE:NAME` or `FILE.py:NAME`, the innermost first.
        texts: the user's files by path; None: as they lie on the disk.
        device: of simulators that compute on one.
        changes: of a Gymnasium environment while it runs: the place of a wrapper around all others, and the texts that it gets.
        notes: gets lines for the user.
    """

    id: str
    threads: int = 1
    max_episode_steps: int | None = None
    observe: tuple[str, ...] = ()
    env: Mapping[str, Any] = field(default_factory=dict)
    wrap: tuple[str, ...] = ()
    texts: Mapping[str, bytes] | None = None
    device: str = "cpu"
    changes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def module(name: str) -> ModuleType:
    """The module of a simulator.

    Raises:
        UnknownName: there is no such simulator.
    """
    if name not in SIMULATORS:
        raise UnknownName("simulator", name, CHOICES)
    return importlib.import_module(SIMULATORS[name].module)


def make(name: str, wanted: Wanted) -> Simulator:
    """The simulator of a name, or for `auto` the first that plays the task.

    Raises:
        UnknownName: no such simulator or task; names like it are offered.
        MissingExtra: the simulator is not installed.
        TaskError: a task that the simulator cannot play.
    """
    if name != "auto":
        made: Simulator = module(name).make(wanted)
        return made
    chosen = next(each for each in map(module, SIMULATORS) if each.plays(wanted))
    try:
        made = chosen.make(wanted)
    except UnknownName as error:
        if error.name != wanted.id:
            raise
        raise unknown_task(wanted.id, {*error.choices, *_ids()}) from None
    return made


def unknown_task(name: str, ids: Iterable[str]) -> UnknownName:
    """The error for an id that no simulator knows; it also says how to name an environment of one's own."""
    return UnknownName("task", name, sorted(ids), see="nchl tasks", otherwise="an environment of your own is MODULE:ID, as in robot:Arm-v0")


def _ids() -> list[str]:
    found: list[str] = []
    for each in map(module, SIMULATORS):
        try:
            found += each.known_ids()
        except MissingExtra:
            continue
    return found
