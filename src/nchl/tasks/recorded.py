"""A task from a run's record: its spaces and maps without its simulator.

An evolved individual can so act where neither the simulator nor the environment's package is installed. The simulator is
made when it is first asked to play.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from nchl.errors import RunError, TaskError
from nchl.perturbations.plan import plan_of_texts
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.flatten import LEAVES, PARTS, Packing, packing
from nchl.simulators.plain_spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple, Unseen, kind
from nchl.tasks.early_stop import EarlyStop
from nchl.tasks.spaces import action_map, observation_map
from nchl.tasks.task import Task

_INFINITE = {"inf": math.inf, "-inf": -math.inf}
_MOST_NUMBERS = 1 << 24  # of a space, against sizes that no simulator has
_MOST_PARTS, _DEEPEST = 1 << 12, 16


class Deferred(Simulator):
    """A simulator that is known from the record and made when it is first asked to play.

    Args:
        name: of the simulator.
        spaces: observation space and action space.
        pack: how observations become arrays.
        step_limit: steps after which it truncates an episode.
        make: makes the real one.
    """

    def __init__(self, name: str, spaces: tuple[Any, Any], pack: Packing, step_limit: int | None, make: Callable[[], Simulator]) -> None:
        self.name, self.step_limit, self.packing, self._make = name, step_limit, pack, make
        self.observation_space, self.action_space = spaces
        self._real: Simulator | None = None

    def real(self) -> Simulator:
        """The simulator itself."""
        if self._real is None:
            self._real = self._make()
        return self._real

    def reset(self, seeds: Seeds) -> Tensor:
        """See `Simulator.reset`."""
        real = self.real()
        self.device, self.look_every = real.device, real.look_every
        return real.reset(seeds)

    def step(self, actions: Tensor, active: Tensor) -> Step:
        """See `Simulator.step`."""
        return self.real().step(actions, active)

    def divided(self, count: int) -> list[Simulator]:
        """See `Simulator.divided`."""
        return self.real().divided(count)

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._real is not None:
            self._real.close()


def to_record(task: Task) -> dict[str, Any]:
    """A run's record of its task, as JSON; `from_record` is the inverse."""
    stop, simulator = task.early_stop, task.simulator
    seen = [leaf.name for leaf in simulator.packing.leaves]
    # Keys that earlier versions did not know are written only where they say something.
    more: dict[str, Any] = {"action_repeat": task.action_repeat} if task.action_repeat > 1 else {}
    if kind(simulator.observation_space) in PARTS:
        more["observe"] = seen
    if task.plan:
        more["perturbations"] = task.plan.texts
    return {
        "id": task.id,
        "simulator": simulator.name,
        "observation_space": _space_to_json(simulator.observation_space),
        "action_space": _space_to_json(simulator.action_space),
        "step_limit": task.step_limit,
        "early_stop": None if stop is None else {"in_a_row": stop.in_a_row, "after": stop.after},
        "largest_slice": task.largest_slice,
        **more,
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
        pack = packing(spaces[0], data.get("observe"), name)
        return Task(
            id=name,
            simulator=Deferred(str(data["simulator"]), spaces, pack, step_limit, make),
            observation=observation_map(pack, spaces[0], image_size, name),
            action=action_map(spaces[1], name),
            early_stop=None if stop is None else EarlyStop(_count(stop["in_a_row"]), _count(stop["after"], 0)),
            step_limit=step_limit,
            largest_slice=_count(data["largest_slice"]),
            action_repeat=_count(data.get("action_repeat", 1)),
            plan=plan_of_texts(data.get("perturbations", [])),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, TaskError) as error:
        raise RunError(f"{file}: key 'task' was altered or written by another version of nchl ({type(error).__name__}: {error})") from error


def _space_to_json(space: Any) -> dict[str, Any]:
    name = kind(space)
    if name in PARTS:
        parts = space.spaces
        # A list of pairs: a key of JSON's objects is always a text.
        pairs = list(parts.items()) if isinstance(parts, Mapping) else list(enumerate(parts))
        if not all(isinstance(key, str | int) for key, _ in pairs):
            raise TaskError(f"the parts of an observation must have texts or whole numbers as keys, got {[key for key, _ in pairs]}")
        return {"kind": name, "parts": [[key, _space_to_json(part)] for key, part in pairs]}
    if name not in LEAVES:  # a part that is not seen
        return {"kind": "Unseen", "name": name}
    if name == "MultiBinary":
        return {"kind": name, "shape": [int(side) for side in space.shape], "dtype": str(np.dtype(space.dtype))}
    if name == "MultiDiscrete":
        start = np.broadcast_to(np.asarray(getattr(space, "start", 0)), space.nvec.shape)
        return {"kind": name, "nvec": space.nvec.tolist(), "start": start.tolist(), "dtype": str(np.dtype(space.dtype))}
    if name == "Discrete":
        return {"kind": "Discrete", "n": int(space.n), "start": int(getattr(space, "start", 0)), "dtype": str(np.dtype(space.dtype))}
    bounds = {"low": _bounds_to_json(space.low), "high": _bounds_to_json(space.high)}
    return {"kind": "Box", "shape": [int(side) for side in space.shape], "dtype": str(np.dtype(space.dtype)), **bounds}


def _bounds_to_json(bounds: np.ndarray) -> Any:
    """One number where all are equal, else the list of all; JSON has no infinity, so that a text stands for it."""
    flat = [value if math.isfinite(value) else str(value) for value in np.asarray(bounds).reshape(-1).tolist()]
    return flat[0] if flat and all(value == flat[0] for value in flat) else flat


def _space(data: Mapping[str, Any], depth: int = 0) -> Any:
    name = data["kind"]
    if name in PARTS:
        pairs = data["parts"]
        if depth >= _DEEPEST or len(pairs) > _MOST_PARTS or not all(isinstance(key, str | int) for key, _ in pairs):
            raise ValueError("parts of a space expected, each with a key, in few levels")
        parts = {key: _space(part, depth + 1) for key, part in pairs}
        return Dict(parts) if name == "Dict" else Tuple(tuple(parts.values()))
    if name == "Unseen" and depth:
        return Unseen(str(data["name"]))
    dtype = np.dtype(data["dtype"])
    if dtype.kind not in "fiub":
        raise ValueError(f"a space of numbers expected, got {dtype}")
    if name == "Discrete":
        return Discrete(_count(data["n"]), int(data["start"]), dtype)
    if name == "MultiDiscrete":
        counts, starts = (np.array(data[each]) for each in ("nvec", "start"))
        if counts.shape != starts.shape or counts.dtype.kind != "i" or starts.dtype.kind != "i" or (counts < 1).any():
            raise ValueError("a space MultiDiscrete of whole numbers expected")
        if counts.size > _MOST_NUMBERS or int(counts.max(initial=1)) > _MOST_NUMBERS or int(counts.sum()) > _MOST_NUMBERS:
            raise ValueError("a space MultiDiscrete is too large")
        return MultiDiscrete(counts, starts, dtype)
    if name not in ("Box", "MultiBinary"):
        raise ValueError(f"a space Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple expected, got {name!r}")
    shape = tuple(_count(side) for side in data["shape"])
    if math.prod(shape) > _MOST_NUMBERS:
        raise ValueError(f"a space of shape {shape} is too large")
    if name == "MultiBinary":
        return MultiBinary(shape, dtype)
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
