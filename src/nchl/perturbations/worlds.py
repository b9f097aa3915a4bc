"""Bodies and grounds that change on MuJoCo Warp, from the start or in mid-episode: every world has a body of its own.

A world's rows of MuJoCo Warp's model are those of one of a few bodies, which lie in tables on the device. Which body a world has, and
whether it is pushed, follows there from the number of its steps: nothing is read back within an episode.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nchl.errors import TaskError
from nchl.perturbations import bodies, language
from nchl.perturbations.objects import Attribute, Push
from nchl.perturbations.plan import NEVER, Change, Plan, Schedule
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.warp import Warp
from nchl.simulators.warp.fields import Fields
from nchl.simulators.warp.physics import Physics


class _Body(NamedTuple):
    """A changed body: arrays of MuJoCo's model that differ, and fields of MuJoCo Warp's."""

    differences: bodies.Differences
    rows: dict[str, np.ndarray]


class _Push(NamedTuple):
    """A push of one body, in each world: its first step, the step after its last, and newtons."""

    body: int
    begin: Int[Tensor, " size"]
    end: Int[Tensor, " size"]
    newtons: Float[Tensor, " size"]


class Worlds(Simulator):
    """Worlds of MuJoCo Warp with changes of their bodies and grounds.

    Args:
        warp: the task with its own body.
        plan: perturbations of each episode; those of kind "body" are used.

    Raises:
        InvalidArgument: a body or joint that is not there, with those that are; or something that is changed twice.
        TaskError: a change that the body cannot have, or that MuJoCo Warp cannot make in a single world.
    """

    def __init__(self, warp: Warp, plan: Plan) -> None:
        self.warp, self._plan = warp, plan.of_kind("body")
        self.name, self.device, self.look_every = warp.name, warp.device, warp.look_every
        self.observation_space, self.action_space, self.packing = warp.observation_space, warp.action_space, warp.packing
        self.step_limit = warp.step_limit
        self._fields = Fields(warp.model)
        self._body_of = lru_cache(64)(self._made)
        for each in self._plan.all:
            if isinstance(each, Attribute):
                raise TaskError(f"{str(each)!r}: attributes are those of Gymnasium's environments, and MuJoCo Warp has none; use gymnasium")
        # Raises here for a change that is not possible, and finds the fields that differ before the first batch is made.
        for entry in self._plan.entries:
            bodies.check(warp.file, entry)
            for end in (0, 1):
                changes = tuple((each, each.number[end]) for each in entry if not isinstance(each, Push))
                warp.vary(self._body_of(changes).rows)

    def reset(self, seeds: Seeds) -> Float[Tensor, "size n"]:
        """See `Simulator.reset`."""
        return self.begin(seeds, *self.warp.starts(seeds))

    def begin(self, seeds: Seeds, qpos: Float[np.ndarray, "size nq"], qvel: Float[np.ndarray, "size nv"]) -> Float[Tensor, "size n"]:
        """Begin the episodes of some seeds in other states than their own, see `Warp.begin`."""
        places = {seed: place for place, seed in enumerate(dict.fromkeys(seeds.each))}
        schedules = [self._plan.schedule(seed) for seed in places]
        worlds = torch.tensor([places[seed] for seed in seeds.each])
        self._lay_out(schedules, worlds)
        self._pushes = self._pushed(schedules, worlds)
        later = [[step for step, _ in each.changes if step] + [begin for begin, *_ in each.pushes] for each in schedules]
        self._calls, self._first = 0, min(map(min, filter(None, later)), default=NEVER)
        physics = self.warp.prepare(len(seeds))
        self._tables = {
            name: torch.from_numpy(np.stack([body.rows.get(name, self._fields.own(name)) for body in self._bodies])).to(self.device)
            for name in physics.rows
        }
        self._change(physics, torch.zeros(len(seeds), dtype=torch.int64, device=self.device))
        return self.warp.begin(qpos, qvel)

    def step(self, actions: Float[Tensor, "size nu"], active: Bool[Tensor, " size"]) -> Step:
        """See `Simulator.step`."""
        if self._calls >= self._first:
            physics, steps = self.warp.physics, self.warp.steps
            self._change(physics, steps)
            self.warp.refresh()
            physics.applied.zero_()
            for each in self._pushes:
                physics.applied[:, each.body, 0] += torch.where((each.begin <= steps) & (steps < each.end), each.newtons, 0.0)
        self._calls += 1
        return self.warp.step(actions, active)

    @property
    def qpos(self) -> Float[Tensor, "size nq"]:
        """See `Warp.qpos`."""
        return self.warp.qpos

    def show(self, model: Any, world: int = 0) -> None:
        """Give a model of MuJoCo's, of the task's own body, the body that a world has now: for pictures."""
        for name in {name for body in self._bodies for name in body.differences}:
            bodies.array(model, name)[...] = bodies.array(self.warp.model, name)
        _write(model, self._bodies[int(self._now[world])].differences)

    @property
    def most(self) -> int:
        """See `Simulator.most`."""
        return self.warp.most

    def close(self) -> None:
        """See `Simulator.close`."""
        self.warp.close()

    def _made(self, changes: tuple[Change, ...]) -> _Body:
        differences = bodies.differences(self.warp.file, changes)
        model = copy.copy(self.warp.model)
        _write(model, differences)
        try:
            return _Body(differences, self._fields.differing(model))
        except TaskError as error:
            raise TaskError(f"{language.together(each for each, _ in changes)!r}: {error}; use gymnasium") from error

    def _lay_out(self, schedules: Sequence[Schedule], worlds: Int[Tensor, " size"]) -> None:
        """The bodies of a batch, and for each world the steps at which it gets another, and which."""
        places: dict[tuple[Change, ...], int] = {(): 0}
        stages = [[(step, places.setdefault(changes, len(places))) for step, changes in _stages(schedule)] for schedule in schedules]
        self._bodies = [self._body_of(changes) for changes in places]
        for body in self._bodies:
            self.warp.vary(body.rows)
        width = max(map(len, stages))
        moments, places_of = torch.full((len(stages), width), NEVER), torch.zeros(len(stages), width + 1, dtype=torch.int64)
        for k, some in enumerate(stages):
            for stage, (step, place) in enumerate(some):
                moments[k, stage], places_of[k, stage + 1] = step, place
        self._moments, self._places = moments[worlds].to(self.device), places_of[worlds].to(self.device)

    def _pushed(self, schedules: Sequence[Schedule], worlds: Int[Tensor, " size"]) -> list[_Push]:
        found = []
        for each in self._plan.all:
            if isinstance(each, Push):
                drawn = [[(begin, end, newtons) for begin, end, push, newtons in one.pushes if push == each] for one in schedules]
                begins, ends, newtons = zip(*(one[0] if one else (NEVER, NEVER, 0.0) for one in drawn), strict=True)
                body = bodies.body_index(self.warp.model, each, each.place)
                begin, end, force = (torch.tensor(part)[worlds].to(self.device) for part in (begins, ends, newtons))
                found.append(_Push(body, begin, end, force))
        return found

    def _change(self, physics: Physics, steps: Int[Tensor, " size"]) -> None:
        """Write the rows of the body that each world has after so many steps."""
        stage = (self._moments <= steps[:, None]).sum(1, keepdim=True)
        self._now = self._places.gather(1, stage)[:, 0]
        for name, table in self._tables.items():
            physics.rows[name].copy_(table[self._now])


def _stages(schedule: Schedule) -> list[tuple[int, tuple[Change, ...]]]:
    """The steps at which something changes, and all that has changed by then."""
    found: dict[int, tuple[Change, ...]] = {}
    for k, (step, _) in enumerate(schedule.changes):
        found[step] = tuple(change for _, change in schedule.changes[: k + 1])
    return list(found.items())


def _write(model: Any, differences: bodies.Differences) -> None:
    for name, (where, new) in differences.items():
        bodies.array(model, name)[where] = new[where]
