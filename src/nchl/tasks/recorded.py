"""A task from a run's record: its spaces and maps without its simulator.

What has evolved can so act where neither the simulator nor the environment's package is installed. The simulator is
made when it is first asked to play.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from nchl.errors import RunError
from nchl.tasks.base import EarlyStop, Lives, Simulator, Start
from nchl.tasks.spaces import action_map, observation_map
from nchl.tasks.task import Task

_INFINITE = {"inf": math.inf, "-inf": -math.inf}
_MOST_NUMBERS = 1 << 24  # of a space, against sizes that no simulator has


@dataclass(frozen=True, eq=False)
class Box:
    """Arrays within bounds, as Gymnasium's space of that name.

    Attributes:
        shape: of one array.
        dtype: of its numbers.
        low: the smallest of each number (*shape).
        high: the largest (*shape).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: Shaped[np.ndarray, ...]
    high: Shaped[np.ndarray, ...]

    def contains(self, x: Any) -> bool:
        """Whether an array has the shape and lies within the bounds."""
        array = np.asarray(x)
        return array.shape == self.shape and bool((array >= self.low).all() and (array <= self.high).all())


@dataclass(frozen=True)
class Discrete:
    """Whole numbers from `start` to below `start + n`, as Gymnasium's space of that name."""

    n: int
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    def contains(self, x: Any) -> bool:
        """Whether it is one of the numbers."""
        array = np.asarray(x)
        return array.shape == () and array.dtype.kind in "iu" and self.start <= int(array) < self.start + self.n


class Deferred(Simulator):
    """A simulator that is known from the record and made when it is first asked to play.

    Args:
        name: "envpool" or "gymnasium".
        spaces: observation space and action space.
        step_limit: steps after which it truncates an episode.
        make: makes the real one.
    """

    def __init__(self, name: str, spaces: tuple[Any, Any], step_limit: int | None, make: Callable[[], Simulator]) -> None:
        self.name, self.step_limit, self._make = name, step_limit, make
        self.observation_space, self.action_space = spaces
        self._real: Simulator | None = None

    def real(self) -> Simulator:
        """The simulator itself."""
        if self._real is None:
            self._real = self._make()
        return self._real

    def common(self, size: int, start: Start) -> tuple[Lives, np.ndarray]:
        """See `Simulator.common`."""
        return self.real().common(size, start)

    def separate(self, seeds: list[int]) -> tuple[Lives, np.ndarray]:
        """See `Simulator.separate`."""
        return self.real().separate(seeds)

    def divided(self, count: int) -> list[Simulator]:
        """See `Simulator.divided`."""
        return self.real().divided(count)

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._real is not None:
            self._real.close()


def to_record(task: Task) -> dict[str, Any]:
    """What a run records of its task, as JSON; `from_record` is the inverse."""
    stop = task.early_stop
    return {
        "id": task.id,
        "simulator": task.simulator,
        "observation_space": _space_to_json(task.back_end.observation_space),
        "action_space": _space_to_json(task.back_end.action_space),
        "step_limit": task.step_limit,
        "early_stop": None if stop is None else {"in_a_row": stop.in_a_row, "after": stop.after},
        "largest_slice": task.largest_slice,
    }


def from_record(data: Mapping[str, Any], image_size: tuple[int, int] | None, make: Callable[[], Simulator], *, file: Any) -> Task:
    """The task that a run has recorded.

    Args:
        data: as `to_record` gave it.
        image_size: (height, width) for networks that see pictures.
        make: makes the simulator, when it is asked to play.
        file: where the data lie, for messages.

    Raises:
        RunError: data that `to_record` would not give.
    """
    try:
        stop = data["early_stop"]
        spaces = _space(data["observation_space"]), _space(data["action_space"])
        name, step_limit = str(data["id"]), _count(data["step_limit"])
        return Task(
            id=name,
            back_end=Deferred(str(data["simulator"]), spaces, step_limit, make),
            observation=observation_map(spaces[0], image_size, name),
            action=action_map(spaces[1], name),
            early_stop=None if stop is None else EarlyStop(_count(stop["in_a_row"]), _count(stop["after"], 0)),
            step_limit=step_limit,
            largest_slice=_count(data["largest_slice"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise RunError(f"{file}: key 'task' was altered or written by another version of nchl ({type(error).__name__}: {error})") from error


def _space_to_json(space: Any) -> dict[str, Any]:
    if hasattr(space, "n"):
        return {"kind": "Discrete", "n": int(space.n), "start": int(getattr(space, "start", 0)), "dtype": str(np.dtype(space.dtype))}
    bounds = {"low": _bounds_to_json(space.low), "high": _bounds_to_json(space.high)}
    return {"kind": "Box", "shape": [int(side) for side in space.shape], "dtype": str(np.dtype(space.dtype)), **bounds}


def _bounds_to_json(bounds: np.ndarray) -> Any:
    """One number where all are equal, else the list of all; JSON has no infinity, so that a text stands for it."""
    flat = [value if math.isfinite(value) else str(value) for value in np.asarray(bounds).reshape(-1).tolist()]
    return flat[0] if flat and all(value == flat[0] for value in flat) else flat


def _space(data: Mapping[str, Any]) -> Box | Discrete:
    dtype = np.dtype(data["dtype"])
    if dtype.kind not in "fiub":
        raise ValueError(f"a space of numbers expected, got {dtype}")
    if data["kind"] == "Discrete":
        return Discrete(_count(data["n"]), int(data["start"]), dtype)
    if data["kind"] != "Box":
        raise ValueError(f"a space Box or Discrete expected, got {data['kind']!r}")
    shape = tuple(_count(side) for side in data["shape"])
    if math.prod(shape) > _MOST_NUMBERS:
        raise ValueError(f"a space of shape {shape} is too large")
    return Box(shape, dtype, _bounds(data["low"], shape, dtype), _bounds(data["high"], shape, dtype))


def _bounds(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    values = data if isinstance(data, list) else [data]
    numbers = np.array([_INFINITE[value] if isinstance(value, str) else value for value in values])
    if numbers.dtype.kind not in "fiub":
        raise ValueError("bounds of a space must be numbers")
    with np.errstate(all="raise"):
        return np.broadcast_to(numbers.reshape(shape) if isinstance(data, list) else numbers[0], shape).astype(dtype)


def _count(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"a whole number of at least {least} expected, got {value!r}")
    return value
