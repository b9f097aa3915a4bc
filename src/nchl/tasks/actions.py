"""From a network's outputs to actions, on any device, `y` being the outputs.

A Box coordinate with two bounds gets `low + (high - low) (1 + y) / 2`, where linear outputs are squashed by tanh first; a coordinate
without two bounds gets `y`; one of whole numbers is scaled to half a step beyond its bounds and rounded. Discrete gets the index of the
largest output, each number of a MultiDiscrete the index of the largest in its block, each bit of a MultiBinary whether its output is
positive. Whatever comes out lies in the space.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from nchl.errors import TaskError
from nchl.simulators.plain_spaces import kind

_WIDEST = 1 << 24  # values of a whole number, which single precision tells apart


class ActionMap(Protocol):
    """Turns rows of network outputs into actions."""

    size: int

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Shaped[Tensor, "k ..."]:
        """Map k rows of finite outputs; `bounded` says that they lie in [-1, 1] already."""
        ...


class Argmax:
    """Discrete: the index of the largest output; the first among equals."""

    def __init__(self, space: Any) -> None:
        self.size = int(space.n)
        self._start = int(getattr(space, "start", 0))
        self._dtype = torch.int32 if space.dtype == np.int32 else torch.int64

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Int[Tensor, " k"]:
        """(k, n) -> (k,) whole numbers."""
        return (outputs.argmax(1) + self._start).to(self._dtype)


class Blocks:
    """MultiDiscrete: of each number the index of the largest output in its block, the first among equals."""

    def __init__(self, space: Any) -> None:
        counts = np.asarray(space.nvec).reshape(-1)
        starts = np.broadcast_to(np.asarray(getattr(space, "start", 0)), space.nvec.shape).reshape(-1)
        self._counts, self._starts = counts.tolist(), torch.tensor(starts.tolist())
        self.size = sum(self._counts)
        self._shape, self._dtype = tuple(space.nvec.shape), whole_numbers(space.dtype)

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Int[Tensor, "k ..."]:
        """(k, size) -> (k, *axes) whole numbers."""
        actions = torch.stack([block.argmax(1) for block in outputs.split(self._counts, 1)], 1)
        return (actions + self._starts.to(outputs.device)).to(self._dtype).reshape(len(outputs), *self._shape)


class Signs:
    """MultiBinary: 1 where the output is positive, else 0."""

    def __init__(self, space: Any) -> None:
        self._shape, self._dtype = tuple(space.shape), whole_numbers(space.dtype)
        self.size = math.prod(self._shape)

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Int[Tensor, "k ..."]:
        """(k, size) -> (k, *axes) zeros and ones."""
        return (outputs > 0).to(self._dtype).reshape(len(outputs), *self._shape)


class Scaled:
    """Box: bounded coordinates are scaled to their bounds, the others take the output as it is; all are clipped."""

    def __init__(self, space: Any) -> None:
        self.size = math.prod(space.shape)
        self._shape, self._vector = tuple(space.shape), len(space.shape) == 1
        self._dtype = torch.float32 if space.dtype == np.float32 else torch.float64
        low, high = (bound.reshape(-1).astype(np.float64) for bound in (space.low, space.high))
        two = np.isfinite(low) & np.isfinite(high)
        from_, to = np.where(two, low, -1), np.where(two, high, 1)
        half, middle = (to - from_) / 2, (to + from_) / 2
        # Most robots use [-1, 1]: then there is nothing to scale.
        self._unit = bool((half == 1).all() and (middle == 0).all())
        self._plain = self._unit and bool(two.all())
        self._numbers = {torch.device("cpu"): tuple(torch.from_numpy(each) for each in (low, high, half, middle, two))}

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Shaped[Tensor, "k ..."]:
        """(k, size) -> (k, *axes), within the bounds."""
        low, high, *scale = self._on(outputs.device)
        y = self._scaled(outputs, bounded, *scale)
        y = (y.clamp(-1, 1) if self._plain else torch.clamp(y, low, high)).to(self._dtype)
        return y if self._vector else y.reshape(-1, *self._shape)

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Low and high bounds, half the width, the middle, and which coordinates have two bounds."""
        if device not in self._numbers:
            self._numbers[device] = tuple(each.to(device) for each in self._numbers[torch.device("cpu")])
        return self._numbers[device]

    def _scaled(self, outputs: Tensor, bounded: bool, half: Tensor, middle: Tensor, two: Tensor) -> Float[Tensor, "k size"]:
        # Squashing in double precision: the rounding to single precision then hides which kernel the machine has.
        y = outputs.to(torch.float64)
        if not bounded:
            y = torch.where(two, self._squash(y), y)
        return y if self._unit else y * half + middle

    def _squash(self, y: Float[Tensor, "k size"]) -> Float[Tensor, "k size"]:
        return tanh(y)


class Driver(Scaled):
    """CarRacing: linear outputs become steering by tanh, gas and brake by sigmoid (the published experiments)."""

    def _squash(self, y: Float[Tensor, "k size"]) -> Float[Tensor, "k size"]:
        # sigmoid(y) = (1 + tanh(y / 2)) / 2, and the scaling from [-1, 1] to [0, 1] adds the outer half.
        return torch.cat([tanh(y[:, :1]), tanh(y[:, 1:] / 2)], 1)


class Rounded(Scaled):
    """Box of whole numbers: each value of a coordinate gets an equal share of [-1, 1]."""

    def __init__(self, space: Any) -> None:
        super().__init__(space)
        self._unit, self._whole = False, whole_numbers(space.dtype)

    def __call__(self, outputs: Float[Tensor, "k size"], bounded: bool) -> Int[Tensor, "k ..."]:
        """(k, size) -> (k, *axes), within the bounds."""
        low, high, half, *rest = self._on(outputs.device)
        y = torch.clamp(torch.floor(self._scaled(outputs, bounded, half + 0.5, *rest) + 0.5), low, high)
        return y.to(self._whole).reshape(len(y), *self._shape)


def tanh(y: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """On a CPU NumPy's, which differs from torch's in the last digit: runs of earlier versions go on with the same bits."""
    return torch.from_numpy(np.tanh(y.numpy())) if y.device.type == "cpu" else torch.tanh(y)


def whole_numbers(dtype: Any) -> torch.dtype:
    """A type of torch for whole numbers of one of NumPy's; simulators on the CPU give it back NumPy's own."""
    names = {"bool": torch.int8, "int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32}
    return names.get(str(np.dtype(dtype)), torch.int64)


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
