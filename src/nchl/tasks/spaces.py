"""From a simulator's observations to a network's inputs, and from a network's outputs to actions.

Observations: Box of one axis as it is, Box of several axes flattened, Discrete one-hot; pictures (Box, uint8, three
axes) as (channels, height, width) in [0, 1] where an image size is given. The smaller of the first and the last axis is
the channels: three of a colour picture, twelve of four that are stacked.

Actions, `y` being the outputs: a Box coordinate with two bounds gets `low + (high - low) (1 + y) / 2`, where linear
outputs are squashed by tanh first; a coordinate without two bounds gets `y`; Discrete gets the index of the largest.
Whatever comes out lies in the space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Shaped

from nchl.errors import InvalidArgument, TaskError
from nchl.tasks.resize import Resize


class ObservationMap(Protocol):
    """Turns k raw observations into k network inputs of shape `shape`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one network input."""
        ...

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Shaped[np.ndarray, "k ..."]:
        """Map k observations; the result may share memory with `raw`."""
        ...


def is_picture(space: Any) -> bool:
    """Whether observations are pictures: a Box of bytes with three axes."""
    return type(space).__name__ == "Box" and space.dtype == np.uint8 and len(space.shape) == 3


class Flat:
    """A Box of any axes as a vector. Pictures are divided by 255."""

    def __init__(self, space: Any) -> None:
        self.shape = (math.prod(space.shape),)
        self._picture = is_picture(space)

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Shaped[np.ndarray, "k n"]:
        """(k, *axes) -> (k, n)."""
        flat = raw.reshape(len(raw), -1)
        return flat.astype(np.float32) / np.float32(255) if self._picture else flat


class OneHot:
    """A Discrete observation as a vector with one 1."""

    def __init__(self, space: Any) -> None:
        self.shape = (int(space.n),)
        self._start = int(getattr(space, "start", 0))

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, "k n"]:
        """(k,) -> (k, n)."""
        hot = np.zeros((len(raw), *self.shape), dtype=np.float32)
        hot[np.arange(len(raw)), raw.reshape(-1).astype(np.int64) - self._start] = 1
        return hot


class Picture:
    """A picture as (channels, height, width) in [0, 1], resized by antialiased bilinear interpolation."""

    def __init__(self, space: Any, image_size: tuple[int, int]) -> None:
        first, last = space.shape[0], space.shape[2]
        if first == last:
            raise TaskError(
                f"pictures of shape {space.shape} do not say which axis counts the channels, the first or the last; "
                "wrap the environment so that the one is smaller than the other"
            )
        channels_last = last < first
        height, width, channels = space.shape if channels_last else (*space.shape[1:], first)
        self.shape = (channels, *image_size)
        self._resize = Resize(channels, (height, width), image_size, channels_last=channels_last)

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, "k c h w"]:
        """(k, height, width, channels) or (k, channels, height, width), uint8 -> (k, channels, *image_size)."""
        return self._resize(raw)


def observation_map(space: Any, image_size: tuple[int, int] | None, task: str) -> ObservationMap:
    """The map that fits a Gymnasium observation space.

    Args:
        space: the space of one observation.
        image_size: (height, width) that the network wants, or None for a vector.
        task: name for the message.

    Raises:
        TaskError: a space that is not supported, or an image size for something that is no picture.
    """
    kind = type(space).__name__
    if kind == "Box" and space.dtype.kind in "fiub":
        if image_size is None:
            return Flat(space)
        if is_picture(space):
            height, width = (int(side) for side in image_size)
            if min(height, width) < 1:
                raise InvalidArgument(f"image size: expected two positive numbers (height, width), got {image_size}")
            return Picture(space, (height, width))
    if image_size is not None:
        raise TaskError(
            f"{task} has no pictures, which a convolutional network needs: its observations have shape {space.shape}; "
            "choose another network, and leave out the image size"
        )
    if kind == "Discrete":
        return OneHot(space)
    raise TaskError(f"{task}: observations of type {kind} are not supported ({space}); expected Box or Discrete{_wrapped(space, task)}")


_FLATTENED = ("Dict", "Tuple", "MultiDiscrete", "MultiBinary")  # what Gymnasium's FlattenObservation makes a Box of


def _wrapped(space: Any, task: str) -> str:
    """How to make a Box of the observations, as code: which wrapper, and how to register it."""
    module, _, name = task.rpartition(":")
    parts = getattr(space, "spaces", ())
    within = parts.values() if isinstance(parts, Mapping) else parts
    flat = type(space).__name__ in _FLATTENED and all(type(part).__name__ in ("Box", "Discrete", *_FLATTENED) for part in within)
    wrapper = "FlattenObservation(" if flat else "TransformObservation("
    arguments = ")" if flat else ", to_vector, gymnasium.spaces.Box(low, high, (n,)))"
    return (
        ". A wrapper of Gymnasium's makes a vector of them; "
        f"in a file wrapped.py write: import gymnasium{f', {module}' if module else ''}; "
        f"gymnasium.register('Wrapped-v0', lambda **options: gymnasium.wrappers.{wrapper}gymnasium.make('{name}', **options){arguments}); "
        "then: PYTHONPATH=. nchl evolve wrapped:Wrapped-v0"
    )


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
        # Squashing in double precision: the rounding to single precision then hides which kernel the machine has.
        y = outputs.astype(np.float64)
        if not bounded:
            y = np.where(self._two, self._squash(y), y)
        if not self._unit:
            y = y * self._half + self._middle
        np.clip(y, self.low, self.high, out=y)
        return y.reshape(len(y), *self._shape).astype(self._dtype, copy=False)

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


def action_map(space: Any, task: str) -> ActionMap:
    """The map that fits a Gymnasium action space.

    Raises:
        TaskError: a space that is not supported.
    """
    kind = type(space).__name__
    if kind == "Discrete":
        return Argmax(space)
    if kind == "Box" and space.dtype.kind == "f":
        return Driver(space) if task.startswith("CarRacing") else Scaled(space)
    module, _, name = task.rpartition(":")
    raise TaskError(
        f"{task}: actions of type {kind} are not supported ({space}); expected Discrete or a Box of floating point numbers. A wrapper of "
        f"Gymnasium's makes such actions of a vector; in a file wrapped.py write: import gymnasium{f', {module}' if module else ''}; "
        f"gymnasium.register('Wrapped-v0', lambda **options: gymnasium.wrappers.TransformAction(gymnasium.make('{name}', **options), "
        "from_vector, gymnasium.spaces.Box(-1, 1, (n,)))); then: PYTHONPATH=. nchl evolve wrapped:Wrapped-v0"
    )
