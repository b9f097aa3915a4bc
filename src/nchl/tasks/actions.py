"""From a network's outputs to actions, `y` being the outputs.

A Box coordinate with two bounds gets `low + (high - low) (1 + y) / 2`, where linear outputs are squashed by tanh first; a coordinate
without two bounds gets `y`; one of whole numbers is scaled to half a step beyond its bounds and rounded. Discrete gets the index of the
largest output, each number of a MultiDiscrete the index of the largest in its block, each bit of a MultiBinary whether its output is
positive. Whatever comes out lies in the space.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped

from nchl.errors import TaskError
from nchl.tasks.plain_spaces import kind

_WIDEST = 1 << 24  # values of a whole number, which single precision tells apart


class ActionMap(Protocol):
    """Turns k rows of network outputs into k actions."""

    size: int

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Shaped[np.ndarray, "k ..."]:
        """Map k rows of finite outputs; `bounded` says that they lie in [-1, 1] already."""
        ...


class Argmax:
    """Discrete: the index of the largest output; the first among equals."""

    def __init__(self, space: Any) -> None:
        self.size = int(space.n)
        self._start = int(getattr(space, "start", 0))
        self._dtype = np.int32 if space.dtype == np.int32 else np.int64

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Shaped[np.ndarray, " k"]:
        """(k, n) -> (k,) whole numbers."""
        actions: np.ndarray = (outputs.argmax(axis=1) + self._start).astype(self._dtype)
        return actions


class Blocks:
    """MultiDiscrete: of each number the index of the largest output in its block, the first among equals."""

    def __init__(self, space: Any) -> None:
        self._counts = np.asarray(space.nvec).reshape(-1)
        self._starts = np.broadcast_to(np.asarray(getattr(space, "start", 0)), space.nvec.shape).reshape(-1)
        self.size = int(self._counts.sum())
        self._edges = np.concatenate([[0], np.cumsum(self._counts)])
        self._shape, self._dtype = tuple(space.nvec.shape), space.dtype

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Int[np.ndarray, "k ..."]:
        """(k, size) -> (k, *axes) whole numbers."""
        actions = np.empty((len(outputs), len(self._counts)), dtype=np.int64)
        for place, (first, after) in enumerate(zip(self._edges[:-1], self._edges[1:], strict=True)):
            actions[:, place] = outputs[:, first:after].argmax(axis=1)
        chosen: np.ndarray = (actions + self._starts).astype(self._dtype).reshape(len(outputs), *self._shape)
        return chosen


class Signs:
    """MultiBinary: 1 where the output is positive, else 0."""

    def __init__(self, space: Any) -> None:
        self._shape, self._dtype = tuple(space.shape), space.dtype
        self.size = math.prod(self._shape)

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Int[np.ndarray, "k ..."]:
        """(k, size) -> (k, *axes) zeros and ones."""
        bits: np.ndarray = (outputs > 0).astype(self._dtype).reshape(len(outputs), *self._shape)
        return bits


class Scaled:
    """Box: bounded coordinates are scaled to their bounds, the others take the output as it is; all are clipped."""

    def __init__(self, space: Any) -> None:
        self.size = math.prod(space.shape)
        self._shape = tuple(space.shape)
        self._dtype = space.dtype
        self.low = space.low.reshape(-1).astype(np.float64)
        self.high = space.high.reshape(-1).astype(np.float64)
        self._two = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(self._two, self.low, -1), np.where(self._two, self.high, 1)
        self._half, self._middle = (high - low) / 2, (high + low) / 2
        # Most robots use [-1, 1]: then there is nothing to scale.
        self._unit = bool((self._half == 1).all() and (self._middle == 0).all())

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Shaped[np.ndarray, "k ..."]:
        """(k, size) -> (k, *axes), within the bounds."""
        y = self._scaled(outputs, bounded)
        np.clip(y, self.low, self.high, out=y)
        return y.reshape(len(y), *self._shape).astype(self._dtype, copy=False)

    def _scaled(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Float[np.ndarray, "k size"]:
        # Squashing in double precision: the rounding to single precision then hides which kernel the machine has.
        y = outputs.astype(np.float64)
        if not bounded:
            y = np.where(self._two, self._squash(y), y)
        if not self._unit:
            y = y * self._half + self._middle
        return y

    def _squash(self, y: Float[np.ndarray, "k size"]) -> Float[np.ndarray, "k size"]:
        squashed: np.ndarray = np.tanh(y)
        return squashed


class Driver(Scaled):
    """CarRacing: linear outputs become steering by tanh, gas and brake by sigmoid (the published experiments)."""

    def _squash(self, y: Float[np.ndarray, "k size"]) -> Float[np.ndarray, "k size"]:
        squashed: np.ndarray = np.tanh(y)
        # sigmoid(y) = (1 + tanh(y / 2)) / 2, and the scaling from [-1, 1] to [0, 1] adds the outer half.
        squashed[:, 1:] = np.tanh(y[:, 1:] / 2)
        return squashed


class Rounded(Scaled):
    """Box of whole numbers: each value of a coordinate gets an equal share of [-1, 1]."""

    def __init__(self, space: Any) -> None:
        super().__init__(space)
        self._half = self._half + 0.5
        self._unit = False

    def __call__(self, outputs: Float[np.ndarray, "k size"], bounded: bool) -> Shaped[np.ndarray, "k ..."]:
        """(k, size) -> (k, *axes), within the bounds."""
        y = np.clip(np.floor(self._scaled(outputs, bounded) + 0.5), self.low, self.high)
        return y.reshape(len(y), *self._shape).astype(self._dtype)


def action_map(space: Any, task: str) -> ActionMap:
    """The map that fits a Gymnasium action space.

    Raises:
        TaskError: a space that is not supported.
    """
    name = kind(space)
    if name == "Discrete":
        return Argmax(space)
    if name == "MultiDiscrete":
        return Blocks(space)
    if name == "MultiBinary":
        return Signs(space)
    if name == "Box" and space.dtype.kind == "f":
        return Driver(space) if task.startswith("CarRacing") else Scaled(space)
    if name == "Box" and space.dtype.kind in "iu" and (space.high.astype(np.float64) - space.low.astype(np.float64) < _WIDEST).all():
        return Rounded(space)
    module, _, id = task.rpartition(":")
    raise TaskError(
        f"{task}: actions of type {name} are not supported ({space}); expected Discrete, MultiDiscrete, MultiBinary or a Box of floating "
        "point numbers (of whole numbers, where it has bounds). A wrapper of "
        f"Gymnasium's makes such actions of a vector; in a file wrapped.py write: import gymnasium{f', {module}' if module else ''}; "
        f"gymnasium.register('Wrapped-v0', lambda **options: gymnasium.wrappers.TransformAction(gymnasium.make('{id}', **options), "
        "from_vector, gymnasium.spaces.Box(-1, 1, (n,)))); then: PYTHONPATH=. nchl evolve wrapped:Wrapped-v0"
    )
