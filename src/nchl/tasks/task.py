"""A task: a simulator, and what stands between it and a network (observation map, action map, early stop)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from nchl.tasks.base import EarlyStop, Lives, Simulator, Start
from nchl.tasks.repeat import Repeated
from nchl.tasks.spaces import ActionMap, ObservationMap, is_picture

# A life must end. Where neither the task nor the user sets a limit, this one holds (and a note says so).
FALLBACK_LIMIT = 10_000


@dataclass
class Task:
    """What a rollout needs to know of a task.

    Attributes:
        id: the task's name.
        simulator: "envpool" or "gymnasium".
        back_end: makes lives.
        observation_shape: of what a network gets: (n,) or (channels, height, width).
        action_size: number of outputs that a network needs.
        early_stop: rule that ends hopeless lives, or None.
        step_limit: no life is longer, in steps of the simulator.
        action_repeat: steps of the simulator for each action: the network observes and acts once for all of them, and gets the sum of
            their rewards.
        largest_slice: individuals that are stepped side by side at most; a larger population is cut. It bounds the memory of networks,
            not of simulators, which may be kept for each slice (see `nchl.tasks.envpool`).
        notes: lines that the user should see once.
    """

    id: str
    back_end: Simulator
    observation: ObservationMap
    action: ActionMap
    early_stop: EarlyStop | None = None
    step_limit: int = FALLBACK_LIMIT
    largest_slice: int = 1024
    action_repeat: int = 1
    notes: list[str] = field(default_factory=list)
    _made: tuple[dict[str, Any], tuple[Any, ...]] | None = field(default=None, init=False, compare=False, repr=False)

    def made_by(self, **said: Any) -> Task:
        """The task itself, which now knows by which words of `tasks.make` it was made."""
        self._made = {name: value for name, value in said.items() if value is not None}, self._parts
        return self

    @property
    def said(self) -> dict[str, Any] | None:
        """The words of `tasks.make` (as options of a run) that make this task again; None where it was put together or changed by hand."""
        if self._made is None or any(mine is not his for mine, his in zip(self._parts, self._made[1], strict=True)):
            return None
        return dict(self._made[0])

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.back_end, self.observation, self.action, self.early_stop, self.step_limit, self.largest_slice, self.action_repeat

    @property
    def simulator(self) -> str:
        """Name of the simulator."""
        return self.back_end.name

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one network input."""
        return self.observation.shape

    @property
    def pictures(self) -> bool:
        """Whether an observation is a picture, also where networks get it as a vector."""
        return is_picture(self.back_end.packing.space)

    @property
    def decisions(self) -> int:
        """No life has more actions of a network."""
        return -(-self.step_limit // self.action_repeat)

    @property
    def action_size(self) -> int:
        """Number of network outputs."""
        return self.action.size

    def map_observations(self, raw: Shaped[np.ndarray, "k ..."]) -> Shaped[np.ndarray, "k ..."]:
        """k raw observations -> k network inputs."""
        return self.observation(raw)

    def map_actions(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Shaped[np.ndarray, "k ..."]:
        """k rows of finite network outputs -> k actions within the space; `bounded`: the outputs lie in [-1, 1] already."""
        return self.action(outputs, bounded)

    def common(self, size: int, start: Start) -> tuple[Lives, Shaped[np.ndarray, "size ..."]]:
        """Lives that all begin in the same state, see `Simulator.common`; their actions are repeated where the task does so."""
        return self._repeated(*self.back_end.common(size, start))

    def separate(self, seeds: list[int]) -> tuple[Lives, Shaped[np.ndarray, "size ..."]]:
        """Lives with a start of their own each, see `Simulator.separate`; their actions are repeated where the task does so."""
        return self._repeated(*self.back_end.separate(seeds))

    def _repeated(self, lives: Lives, first: np.ndarray) -> tuple[Lives, np.ndarray]:
        return (lives if self.action_repeat == 1 else Repeated(lives, self.action_repeat, self.step_limit)), first

    def divided(self, count: int) -> list[Task]:
        """Tasks like this one, `count` at most, that threads of this process may play side by side; see `Simulator.divided`.

        Where torch has fewer threads than that, as with OMP_NUM_THREADS=1, this one alone: more would compute than were asked for.
        """
        if torch.get_num_threads() < count:
            return [self]
        return [replace(self, back_end=back_end) for back_end in self.back_end.divided(count)]

    def close(self) -> None:
        """Give back memory, threads and processes."""
        self.back_end.close()
