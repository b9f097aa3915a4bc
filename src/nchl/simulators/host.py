"""Simulators that compute with NumPy, at the edge to tensors: only active environments are stepped, memory is shared with torch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, TaskError
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.plain_spaces import kind

_SHARED = frozenset(np.dtype(name) for name in ("f4", "f8", "u1", "i4", "i8"))
# Numbers that torch hardly computes with -> numbers that hold the same values.
_WIDER = {"u2": np.int32, "u4": np.int64, "u8": np.float64, "f16": np.float64}


class Rows(NamedTuple):
    """Results of a step of k environments, in the order of the request."""

    observations: Shaped[np.ndarray, "k ..."]
    rewards: Float[np.ndarray, " k"]
    terminated: Bool[np.ndarray, " k"]
    truncated: Bool[np.ndarray, " k"]


class HostSimulator(Simulator):
    """A simulator on the CPU. A subclass begins episodes with `_reset` and steps some of them with `_step`, both in NumPy.

    What is wrong is refused here, because a simulator in C++ would end the process or read foreign memory.
    """

    _length = 0
    _mask: Tensor | None = None  # the last mask, its version, and the rows that it names
    _version = -1
    _rows: Int[np.ndarray, " k"]
    _observations: np.ndarray | None = None
    _actions: tuple[tuple[Any, Any] | None, Any] | None = None
    _kept = False  # whether `_observations` is memory of this object's own

    @abstractmethod
    def _reset(self, seeds: Seeds) -> Shaped[np.ndarray, "size ..."]:
        """Begin a batch; its first observations."""

    @abstractmethod
    def _step(self, actions: Shaped[np.ndarray, "k ..."], rows: Int[np.ndarray, " k"]) -> Rows:
        """Step the environments `rows` (increasing, int32); everything is checked already."""

    def reset(self, seeds: Seeds) -> Shaped[Tensor, "size ..."]:
        """See `Simulator.reset`."""
        self._mask, self._observations, self._kept, self._length = None, None, False, 0
        observations = self._reset(seeds)
        self._length, self._observations = len(seeds), observations
        return tensor_of(observations)

    def step(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Step:
        """See `Simulator.step`."""
        rows = self._rows_of(active)
        shape = (self._length, *self.action_space.shape)
        if not isinstance(actions, Tensor) or actions.shape != shape:
            raise ShapeError(f"actions: expected a tensor of shape {shape}, got {_shape(actions)}")
        everyone = len(rows) == self._length
        chosen = (actions.detach() if actions.requires_grad else actions).numpy()
        chosen = self._checked(chosen if everyone else chosen[rows])
        if not len(rows):
            return self._whole(rows, None)
        return self._whole(rows, self._step(chosen, rows))

    def ready(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Callable[[], Tensor]:
        """See `Simulator.ready`."""
        rows = self._rows_of(active)
        return partial(self._replay, self._checked(actions.numpy()[rows]), rows)

    def _replay(self, actions: np.ndarray, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self._step(actions, rows).rewards)

    def _rows_of(self, active: Tensor) -> Int[np.ndarray, " k"]:
        """The active environments by index."""
        # The same mask comes again until an episode ends.
        if active is self._mask and active._version == self._version:
            return self._rows
        if not isinstance(active, Tensor) or active.dtype != torch.bool or active.shape != (self._length,):
            held = f" {active.dtype}" if isinstance(active, Tensor) else ""
            raise ShapeError(f"active: expected a tensor of {self._length} True or False, got {_shape(active)}{held}")
        self._rows = np.flatnonzero(active.numpy()).astype(np.int32)
        self._mask, self._version = active, active._version
        return self._rows

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        """The actions in the space's type.

        Raises:
            InvalidArgument: they are not of the space.
        """
        bounds, dtype = self._taken()
        if bounds is not None:
            low, high = bounds
            if actions.dtype.kind not in "iu" or (actions < low).any() or (actions > high).any():
                raise InvalidArgument(f"actions: expected whole numbers of {self.action_space}, got {actions.dtype} {actions[:8]}")
        elif actions.dtype.kind != "f" or not np.isfinite(actions).all():
            raise InvalidArgument(f"actions: expected finite floating point numbers, got {actions.dtype} {actions[:8]}")
        return actions if dtype is None else actions.astype(dtype, copy=False)

    def _taken(self) -> tuple[tuple[Any, Any] | None, Any]:
        """The smallest and the largest action of a space of whole numbers, and the type that actions get; None where there is none."""
        if self._actions is None:
            self._actions = _range(self.action_space), type_of_actions(self.action_space)
        return self._actions

    def _whole(self, rows: np.ndarray, found: Rows | None) -> Step:
        """Results of some environments, as tensors of the batch."""
        size = self._length
        quiet = found is None or (math.isfinite(found.rewards.sum()) and not (found.terminated | found.truncated).any())
        if found is not None and len(rows) == size:
            self._observations, self._kept = found.observations, False
            ends = torch.from_numpy(found.terminated), torch.from_numpy(found.truncated)
            rewards = torch.from_numpy(found.rewards.astype(np.float64, copy=False))
            return Step(tensor_of(found.observations), rewards, *ends, quiet=quiet)
        values, terminated, truncated = np.zeros(size), np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        observations = self._observations
        assert observations is not None
        if found is not None:
            if not self._kept or observations.dtype != found.observations.dtype:
                observations = observations.astype(np.result_type(observations, found.observations))
                self._observations, self._kept = observations, True
            observations[rows] = found.observations
            values[rows] = found.rewards
            if not quiet:
                terminated[rows], truncated[rows] = found.terminated, found.truncated
        ends = torch.from_numpy(terminated), torch.from_numpy(truncated)
        return Step(tensor_of(observations), torch.from_numpy(values), *ends, quiet=quiet)


def type_of_actions(space: Any) -> Any:
    """The type in which a simulator gets actions: their space's; None, as torch has it, for a single choice."""
    return None if kind(space) == "Discrete" else space.dtype


def tensor_of(array: Shaped[np.ndarray, ...]) -> Tensor:
    """A tensor of an array's numbers, in the same memory where torch computes with their type.

    Raises:
        TaskError: an array that holds no numbers.
    """
    if array.dtype in _SHARED and array.flags.c_contiguous and array.flags.writeable:
        return torch.from_numpy(array)
    if array.dtype.kind not in "fiub":
        raise TaskError(f"a simulator must give numbers, got {array.dtype}")
    wider = _WIDER.get(array.dtype.str[1:])
    if wider is not None or not array.dtype.isnative:
        array = array.astype(wider or array.dtype.newbyteorder("="))
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.from_numpy(array)


def _range(space: Any) -> tuple[Any, Any] | None:
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


def _shape(given: Any) -> Any:
    return tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
