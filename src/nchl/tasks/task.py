"""A task: a simulator, and what stands between it and a network (observation map, action map, early stop)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from nchl.perturbations.plan import Plan
from nchl.perturbations.signals import Signals
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.tasks.early_stop import EarlyStop
from nchl.tasks.repeat import Repeated
from nchl.tasks.spaces import ActionMap, ObservationMap, is_picture

# An episode must end. Where neither the task nor the user sets a limit, this one holds (and a note says so).
FALLBACK_LIMIT = 10_000


@dataclass
class Task:
    """A task, as a rollout sees it.

    Attributes:
        id: the task's name.
        simulator: plays it, see `nchl.simulators.base`.
        observation: from its observations to a network's inputs.
        action: from a network's outputs to its actions.
        observation_shape: of what a network gets: (n,) or (channels, height, width).
        action_size: number of outputs that a network needs.
        early_stop: rule that ends hopeless episodes, or None.
        step_limit: no episode is longer, in steps of the simulator.
        action_repeat: steps of the simulator for each action: the network observes and acts once for all of them, and gets the sum of
            their rewards.
        largest_slice: individuals that are stepped side by side at most; a larger population is cut. It bounds the memory of networks,
            not of simulators, which may be kept for each slice (see `nchl.simulators.envpool`).
        plan: perturbations of its episodes. The simulator has changed bodies already; motors and sensors are changed here, between
            simulator and network; lesions of networks are the rollout's.
        notes: lines that the user should see once.
    """

    id: str
    simulator: Simulator
    observation: ObservationMap
    action: ActionMap
    early_stop: EarlyStop | None = None
    step_limit: int = FALLBACK_LIMIT
    largest_slice: int = 1024
    action_repeat: int = 1
    plan: Plan = field(default_factory=Plan)
    notes: list[str] = field(default_factory=list)
    _made: tuple[dict[str, Any], tuple[Any, ...]] | None = field(default=None, init=False, compare=False, repr=False)
    _repeated: Repeated | None = field(default=None, init=False, compare=False, repr=False)
    _signals: Signals | None = field(default=None, init=False, compare=False, repr=False)
    _decisions: int = field(default=0, init=False, compare=False, repr=False)

    def made_by(self, **said: Any) -> Task:
        """The task itself, which now knows by which words of `tasks.make` it was made."""
        self._made = {name: value for name, value in said.items() if value is not None}, self._parts
        return self

    @property
    def said(self) -> dict[str, Any] | None:
        """The words of `tasks.make` (as options of a run) that make this task again; None where it was put together or changed by hand."""
        if self._made is None or any(now is not then for now, then in zip(self._parts, self._made[1], strict=True)):
            return None
        return dict(self._made[0])

    @property
    def _parts(self) -> tuple[Any, ...]:
        limits = self.early_stop, self.step_limit, self.largest_slice, self.action_repeat
        return self.simulator, self.observation, self.action, *limits, self.plan

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one network input."""
        return self.observation.shape

    @property
    def pictures(self) -> bool:
        """Whether an observation is a picture, also where networks get it as a vector."""
        return is_picture(self.simulator.packing.space)

    @property
    def decisions(self) -> int:
        """No episode has more actions of a network."""
        return -(-self.step_limit // self.action_repeat)

    @property
    def action_size(self) -> int:
        """Number of network outputs."""
        return self.action.size

    def map_observations(self, raw: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"] | None = None) -> Shaped[Tensor, "size ..."]:
        """Raw observations -> network inputs, once for each step; rows that are not active may come back as any numbers."""
        seen = self.observation(raw, active)
        return seen if self._signals is None else self._signals.observe(seen, self._decisions * self.action_repeat)

    def map_actions(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Shaped[Tensor, "k ..."]:
        """k rows of finite network outputs -> k actions within the space; `bounded`: the outputs lie in [-1, 1] already."""
        return self.action(outputs, bounded)

    def reset(self, seeds: Seeds) -> Shaped[Tensor, "size ..."]:
        """Begin a batch of episodes; their first raw observations, see `Simulator.reset`."""
        self._repeated, self._decisions = None, 0
        first = self.simulator.reset(seeds)
        signals = self.plan.of_kind("motor", "sensor")
        self._signals = Signals(signals, seeds.each, self.simulator.action_space, first.device) if signals else None
        return first

    def step(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Step:
        """One action of each active environment, see `Simulator.step`; the action is repeated where the task does so."""
        if self._signals is not None:
            actions = self._signals.act(actions, self._decisions * self.action_repeat)
        self._decisions += 1
        if self.action_repeat == 1:
            return self.simulator.step(actions, active)
        if self._repeated is None:
            simulator = self.simulator
            self._repeated = Repeated(simulator.step, self.action_repeat, self.step_limit, simulator.look_every == 1)
        return self._repeated(actions, active)

    def divided(self, count: int) -> list[Task]:
        """Tasks like this one, `count` at most, that threads of this process may play side by side; see `Simulator.divided`.

        Where torch has fewer threads than that, as with OMP_NUM_THREADS=1, this one alone: more would compute than were asked for.
        """
        if torch.get_num_threads() < count:
            return [self]
        return [replace(self, simulator=simulator) for simulator in self.simulator.divided(count)]

    def close(self) -> None:
        """Give back memory, threads and processes."""
        self.simulator.close()
