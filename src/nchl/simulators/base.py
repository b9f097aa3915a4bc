"""The protocol of simulators: a batch of environments of one task, tensors of fixed shape on the simulator's device.

    observations = simulator.reset(seeds)              # a batch of len(seeds) episodes begins
    step = simulator.step(actions, active)             # environments that are not active take no step

There is one batch at a time; the next `reset` ends it. The start of an episode is a function of its seed, never of what was played
before. Simulators that compute with NumPy derive from `nchl.simulators.host.HostSimulator`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.seeds import Purpose, environment_seed
from nchl.simulators.flatten import Packing


class Step(NamedTuple):
    """One step of a batch; tensors on the simulator's device.

    Attributes:
        observations: (size, *observation); rows of environments that were not active hold any value. The memory may be written to
            by the next step.
        rewards: (size,), 0 where not active; float64 of simulators on the CPU.
        terminated: (size,), False where not active.
        truncated: (size,), False where not active.
        taken: the simulator's steps of each environment (size,), 0 where not active; or one number for all active ones.
        quiet: whether it is known, without a look at a device, that no environment has ended and that every reward is finite.
    """

    observations: Shaped[Tensor, "size ..."]
    rewards: Float[Tensor, " size"]
    terminated: Bool[Tensor, " size"]
    truncated: Bool[Tensor, " size"]
    taken: Int[Tensor, " size"] | int = 1
    quiet: bool = False


@dataclass(frozen=True)
class Start:
    """The name of a start that all individuals of a generation share.

    Attributes:
        run_seed: the run's seed.
        purpose: training, validation or evaluation; their starts never meet.
        generation: each generation has starts of its own.
        episode: index of the episode, below `episodes`.
        episodes: episodes of each individual in this generation.
        slot: which part of the population asks; parts that are played side by side need pools of their own.
    """

    run_seed: int
    purpose: Purpose
    generation: int
    episode: int = 0
    episodes: int = 1
    slot: int = 0

    @property
    def seed(self) -> int:
        """Of the environments that begin here, in [0, 2**31)."""
        return environment_seed(self.run_seed, self.purpose, self.generation, self.episode)


@dataclass(frozen=True)
class Seeds:
    """How the episodes of a batch begin: each with a seed of its own, or all at one start.

    Attributes:
        each: the seed of each environment, in [0, 2**31).
        start: the name of the start that they share; None where they share none. A simulator need not look at it: `each` is enough.

    Raises:
        InvalidArgument: no seed at all.
    """

    each: tuple[int, ...]
    start: Start | None = None

    def __post_init__(self) -> None:
        if not self.each:
            raise InvalidArgument("a simulator needs at least one environment, got no seeds")

    @classmethod
    def of(cls, each: Iterable[int]) -> Seeds:
        """A seed for each environment."""
        return cls(tuple(int(seed) for seed in each))

    @classmethod
    def shared(cls, size: int, start: Start) -> Seeds:
        """`size` environments that all begin at one start."""
        return cls((start.seed,) * size, start)

    def __len__(self) -> int:
        return len(self.each)


class Simulator(ABC):
    """A batch of environments of one task; one batch at a time.

    Attributes:
        name: of the simulator, as in `nchl.simulators.SIMULATORS`.
        device: of all its tensors.
        observation_space: the environment's own.
        action_space: of one environment.
        packing: how an environment's observations become the arrays that `reset` and `step` give.
        step_limit: steps after which the simulator truncates an episode; None where it never does.
        look_every: steps between two looks of the host at whether any environment is active: 1 on the CPU, where steps that are
            not needed cost time; more on a GPU, where a look waits for all that was asked for.
    """

    name: str
    device: torch.device = torch.device("cpu")
    observation_space: Any
    action_space: Any
    packing: Packing
    step_limit: int | None
    look_every: int = 1

    @abstractmethod
    def reset(self, seeds: Seeds) -> Shaped[Tensor, "size ..."]:
        """Begin `len(seeds)` episodes; their first observations (size, *observation), of the space `packing.space`."""

    @abstractmethod
    def step(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Step:
        """Step the environments that are active.

        Args:
            actions: (size, *action) on the simulator's device; the rows of the others are not looked at.
            active: (size,) on the simulator's device.

        Raises:
            ShapeError: actions or a mask of another shape.
            InvalidArgument: actions that the space does not hold, where the simulator can tell without waiting for its device.
        """

    def ready(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Callable[[], Tensor]:
        """A step that was taken before and is to be taken again as a yardstick: calling it does the simulator's own work alone.

        It gives the rewards. Nothing is checked.
        """
        return partial(_rewards, self, actions, active)

    @property
    def most(self) -> int:
        """Environments in a batch at most; a larger population is cut."""
        return 1024

    def divided(self, count: int) -> list[Simulator]:
        """Simulators of the same task, `count` at most, that threads of this process may step side by side.

        They share this one's processors among them. Those of which one is enough return themselves.
        """
        return [self]

    @abstractmethod
    def close(self) -> None:
        """Give back memory, threads and processes; the next `reset` makes new ones."""


def _rewards(simulator: Simulator, actions: Tensor, active: Tensor) -> Tensor:
    return simulator.step(actions, active).rewards
