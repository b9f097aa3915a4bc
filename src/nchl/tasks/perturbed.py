"""Simulators with changed bodies and grounds, see `nchl.perturbations`.

A change from the start on, by numbers that all episodes share, is written to a file that EnvPool plays at its full speed. All
else, and attributes of environments, is changed in Gymnasium's environments while they run. On MuJoCo Warp every world may have another
body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from nchl import simulators
from nchl.errors import MissingExtra, NchlError, TaskError, UnknownName, require
from nchl.perturbations import assets, bodies
from nchl.perturbations.live import without_bodies
from nchl.perturbations.objects import Perturbation
from nchl.perturbations.plan import Plan
from nchl.perturbations.worlds import Worlds
from nchl.quiet import quiet_output
from nchl.simulators import SIMULATORS, Wanted, bullet, gym_environments, registry, warp
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.envpool import EnvPool

CHANGING = "nchl.perturbations.live:wrap"


def make(name: str, wanted: Wanted, plan: Plan) -> Simulator:
    """The simulator of a name, with the changes of bodies of a plan.

    Raises:
        TaskError: a task without bodies, or a simulator that cannot change them.
        NchlError: as `simulators.make`.
    """
    changes = plan.of_kind("body")
    if not changes:
        return simulators.make(name, wanted)
    if wanted.id == bullet.ID and name in ("auto", "gymnasium"):
        raise without_bodies(bullet.ID, changes.all[0], ())
    why_not = _why_not_envpool(wanted, changes) if name in ("auto", "envpool") else ""
    if why_not is None:
        return _of_files(wanted, changes)
    if name == "warp":
        return Worlds(warp.make(wanted), changes)
    if name not in ("auto", "gymnasium"):
        why = why_not or "it changes no bodies here"
        title = SIMULATORS[name].title if name in SIMULATORS else name
        raise TaskError(
            f"{title} cannot play {plan.texts[0] if len(plan.entries) == 1 else 'these perturbations'}: {why}; use auto or gymnasium"
        )
    if name == "auto" and _has(wanted):
        wanted.notes.append(f"{wanted.id} is played on Gymnasium, in whose environments bodies can change in mid-episode")
    try:
        made = simulators.make("gymnasium", replace(wanted, changes=(CHANGING, *changes.texts)))
    except UnknownName as error:
        if error.name != wanted.id or not _has(wanted):
            raise
        texts = ", ".join(map(str, changes.all))
        raise TaskError(f"{wanted.id} has no bodies that can change ({texts}): on EnvPool {why_not}; Gymnasium does not have it") from None
    _try(made, changes)
    return made


def files(id: str, env: Mapping[str, Any], perturbations: Sequence[Perturbation]) -> dict[str, str]:
    """EnvPool's settings `base_path` and `xml_file` for a body with changes.

    Raises:
        NchlError: a body or joint that is not there, or a shape that cannot be changed.
    """
    config = require("envpool", "sim").make_spec(id).config
    base, file = str(env.get("base_path", config.base_path)), str(env.get("xml_file", config.xml_file))
    base, file = assets.store(base, bodies.changed(assets.body_of(base, file), [(each, each.number.low) for each in perturbations]))
    return {"base_path": base, "xml_file": file}


def body_of(simulator: EnvPool) -> dict[str, str]:
    """Keywords with which Gymnasium makes the same changed body as an EnvPool; nothing for a task's own."""
    options = simulator.options
    return {"xml_file": str(assets.place(options["base_path"], options["xml_file"]))} if "base_path" in options else {}


def _has(wanted: Wanted) -> bool:
    """Whether EnvPool has the task."""
    return bool(registry.module("envpool").plays(replace(wanted, notes=[])))


def _why_not_envpool(wanted: Wanted, changes: Plan) -> str | None:
    """Why EnvPool cannot play these changes; None where it can."""
    if not _has(wanted):
        return "it does not have this task"
    if not changes.fixed:
        return "it takes a changed body only from the start on, with one number for all episodes"
    try:
        config = require("envpool", "sim").make_spec(wanted.id).config
        require("mujoco", "sim")
    except MissingExtra as error:
        return str(error)
    # Robots of other families name a file too, which EnvPool reads from a folder that no option names.
    file = getattr(config, "xml_file", None)
    if not file or not assets.body_of(config.base_path, file).is_file():
        return "this task takes no other body"
    return None


def _of_files(wanted: Wanted, changes: Plan) -> Simulator:
    made = []
    for entry in changes.entries:
        env = {**wanted.env, **(files(wanted.id, wanted.env, entry) if entry else {})}
        made.append(simulators.make("envpool", replace(wanted, env=env)))
    return made[0] if len(made) == 1 else Variants(made, changes)


def _try(made: Simulator, changes: Plan) -> None:
    """Make one environment: a name that is not there is told before any process is started."""
    try:
        with quiet_output():
            gym_environments.make_environment(made.recipe).close()  # type: ignore[attr-defined]
    except NchlError:
        raise
    except Exception as error:
        raise TaskError(f"the environment cannot be changed: {type(error).__name__}: {error}") from error


class Variants(Simulator):
    """Simulators of one task with different bodies; the seed of an episode says which plays it.

    Args:
        simulators: one for each set of the plan.
        plan: which set an episode has.
    """

    def __init__(self, simulators: Sequence[Simulator], plan: Plan) -> None:
        first = simulators[0]
        self._simulators, self._plan = list(simulators), plan
        self.name, self.device, self.look_every = first.name, first.device, first.look_every
        self.observation_space, self.action_space, self.packing = first.observation_space, first.action_space, first.packing
        self.step_limit = first.step_limit
        self._rows: list[tuple[Simulator, Tensor]] = []

    def reset(self, seeds: Seeds) -> Shaped[Tensor, "size ..."]:
        """See `Simulator.reset`."""
        places = [self._plan.place_of(seed) for seed in seeds.each]
        self._rows, parts = [], []
        for place in sorted(set(places)):
            mine = [row for row, other in enumerate(places) if other == place]
            own = seeds if len(mine) == len(places) else Seeds.of(seeds.each[row] for row in mine)
            parts.append(self._simulators[place].reset(own))
            self._rows.append((self._simulators[place], torch.tensor(mine, device=self.device)))
        return self._whole(parts, len(seeds))

    def step(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Step:
        """See `Simulator.step`."""
        if len(self._rows) == 1:
            return self._rows[0][0].step(actions, active)
        size = len(active)
        steps = [simulator.step(actions[rows], active[rows]) for simulator, rows in self._rows]
        return Step(
            self._whole([step.observations for step in steps], size),
            self._whole([step.rewards for step in steps], size),
            self._whole([step.terminated for step in steps], size),
            self._whole([step.truncated for step in steps], size),
        )

    def _whole(self, parts: Sequence[Tensor], size: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        whole = parts[0].new_zeros((size, *parts[0].shape[1:]))
        for (_, rows), part in zip(self._rows, parts, strict=True):
            whole[rows] = part
        return whole

    def divided(self, count: int) -> list[Simulator]:
        """See `Simulator.divided`."""
        shares = [simulator.divided(count) for simulator in self._simulators]
        if any(len(share) != len(shares[0]) for share in shares) or len(shares[0]) == 1:
            return [self]
        return [Variants([part for part in parts if part is not None], self._plan) for parts in zip_longest(*shares)]

    def close(self) -> None:
        """See `Simulator.close`."""
        for simulator in self._simulators:
            simulator.close()
