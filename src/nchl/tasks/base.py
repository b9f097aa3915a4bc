"""What every simulator offers to a rollout: many lives side by side, of which only the living are stepped.

A `Simulator` hands out `Lives`. Either everyone gets the same start (`common`, one generation of an evolution) or each
row gets its own seed (`separate`, an evaluation). The start is a function of the seed, never of what was played before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped

from nchl.errors import InvalidArgument, ShapeError
from nchl.seeds import Purpose
from nchl.tasks.flatten import Packing
from nchl.tasks.plain_spaces import kind


class Step(NamedTuple):
    """What one step of some of the lives gave, in the order in which the rows were asked for.

    `taken` counts the simulator's steps where an action is repeated (see `nchl.tasks.repeat`); elsewhere it is 1.
    """

    observations: Shaped[np.ndarray, "k ..."]
    rewards: Float[np.ndarray, " k"]
    terminated: Bool[np.ndarray, " k"]
    truncated: Bool[np.ndarray, " k"]
    taken: Int[np.ndarray, " k"] | int = 1


@dataclass(frozen=True)
class Start:
    """Names the start that everyone of a generation shares.

    Args:
        run_seed: the run's seed.
        purpose: training, validation or evaluation; their starts never meet.
        generation: each generation has starts of its own.
        episode: index of the episode, below `episodes`.
        episodes: episodes that everyone plays in this generation.
        slot: which part of the population asks; parts that live side by side need simulators of their own.
    """

    run_seed: int
    purpose: Purpose
    generation: int
    episode: int = 0
    episodes: int = 1
    slot: int = 0


class Lives(ABC):
    """Some simulated lives. Rows are named by index; rows that are not stepped cost nothing.

    Attributes:
        size: number of lives.
        observation_space: of what a life gives: where an observation has parts, of the vector that they make.
        action_space: of one life (a Gymnasium space).
    """

    def __init__(self, size: int, observation_space: Any, action_space: Any) -> None:
        self.size = size
        self.observation_space = observation_space
        self.action_space = action_space
        self._range = _range(action_space)
        self._checked: bytes | None = None

    def step(self, actions: Shaped[np.ndarray, "k ..."], rows: Integer[np.ndarray, " k"]) -> Step:
        """Step the lives named by `rows` (strictly increasing indices) with one action each.

        What is wrong is refused here, because a simulator in C++ would end the process or read foreign memory.

        Raises:
            ShapeError: rows or actions of another shape.
            InvalidArgument: rows that are out of range or not increasing, actions that are not numbers.
        """
        # The same rows come again until someone dies, and comparing bytes is faster than checking them.
        if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ShapeError(f"rows: expected a vector of whole numbers, got {getattr(rows, 'dtype', type(rows).__name__)}")
        seen = rows.tobytes()
        if seen != self._checked:
            if not len(rows) or rows[0] < 0 or rows[-1] >= self.size or (rows[1:] <= rows[:-1]).any():
                raise InvalidArgument(f"rows: expected strictly increasing indices in [0, {self.size}), got {rows[:8]}")
            self._checked = seen
        shape = (len(rows), *self.action_space.shape)
        if not isinstance(actions, np.ndarray) or actions.shape != shape:
            raise ShapeError(f"actions: expected an array of shape {shape}, got {getattr(actions, 'shape', type(actions).__name__)}")
        if self._range is not None:
            low, high = self._range
            if actions.dtype.kind not in "iu" or (actions < low).any() or (actions > high).any():
                raise InvalidArgument(f"actions: expected whole numbers of {self.action_space}, got {actions.dtype} {actions[:8]}")
        elif actions.dtype.kind != "f" or not np.isfinite(actions).all():
            raise InvalidArgument(f"actions: expected finite floating point numbers, got {actions.dtype} {actions[:8]}")
        return self._step(actions, rows.astype(np.int32, copy=False))

    def replay(self, actions: Shaped[np.ndarray, "k ..."], rows: Integer[np.ndarray, " k"]) -> Step:
        """Step without any check: only for actions and rows that went through `step` before, as yardstick."""
        return self._step(actions, rows)

    @abstractmethod
    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Step:
        """Step; everything is checked already."""


def _range(space: Any) -> tuple[Any, Any] | None:
    """The smallest and the largest action of a space of whole numbers; None for a Box of floating point numbers."""
    name = kind(space)
    if name == "Discrete":
        first = int(getattr(space, "start", 0))
        return first, first + int(space.n) - 1
    if name == "MultiDiscrete":
        first = getattr(space, "start", 0)
        return first, first + space.nvec - 1
    if name == "MultiBinary":
        return 0, 1
    return (space.low, space.high) if space.dtype.kind in "iu" else None


class Simulator(ABC):
    """Makes lives of one task and owns them.

    Attributes:
        name: "envpool" or "gymnasium".
        observation_space: the environment's own.
        action_space: of one life.
        packing: how its observations become the arrays that lives give.
        step_limit: steps after which the simulator truncates a life; None where it never does.
    """

    name: str
    observation_space: Any
    action_space: Any
    packing: Packing
    step_limit: int | None

    @abstractmethod
    def common(self, size: int, start: Start) -> tuple[Lives, Shaped[np.ndarray, "size ..."]]:
        """Lives that all begin in the same state, named by `start`, and their first observations."""

    @abstractmethod
    def separate(self, seeds: list[int]) -> tuple[Lives, Shaped[np.ndarray, "size ..."]]:
        """Lives with a start of their own each, and their first observations."""

    def divided(self, count: int) -> list[Simulator]:
        """Simulators of the same task, `count` at most, that threads of this process may step side by side.

        They share this one's processors among them. Those of which one is enough return themselves.
        """
        return [self]

    @abstractmethod
    def close(self) -> None:
        """Give back memory, threads and processes; the next call of `common` or `separate` makes new ones."""


@dataclass(frozen=True)
class EarlyStop:
    """End a life after more than `in_a_row` negative rewards in a row, once more than `after` steps were taken.

    This is the rule of the published experiments: 20 for CarRacing, 30 after step 200 for AntBullet.
    """

    in_a_row: int
    after: int = 0

    def count(self, negative: Int[np.ndarray, " k"], rewards: Float[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """The lengths of the current rows of negative rewards, one step later."""
        return np.where(rewards < 0, negative + 1, 0)

    def stops(self, negative: Int[np.ndarray, " k"], steps: int) -> Bool[np.ndarray, " k"]:
        """Who stops after so many steps."""
        return (negative > self.in_a_row) & (steps > self.after)
