"""From a simulator's observations to a network's inputs; the way from outputs to actions is in `actions`.

Box of one axis as it is, Box of several axes flattened, Discrete and MultiDiscrete one-hot, MultiBinary as it is; what has parts was
made one vector before (`flatten`). Pictures (Box, uint8, three axes) as (channels, height, width) in [0, 1] where an image size is
given. The smaller of the first and the last axis is the channels: three of a colour picture, twelve of four that are stacked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Shaped

from nchl.errors import InvalidArgument, TaskError
from nchl.tasks.actions import ActionMap as ActionMap
from nchl.tasks.actions import action_map as action_map
from nchl.tasks.flatten import LEAVES, PARTS, Packing, flat, leaves, packing, pictures
from nchl.tasks.plain_spaces import is_picture as is_picture
from nchl.tasks.plain_spaces import kind
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


class Flat:
    """A Box of any axes as a vector. Pictures are divided by 255."""

    def __init__(self, space: Any) -> None:
        self.shape = (math.prod(space.shape),)
        self._picture = is_picture(space)

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Shaped[np.ndarray, "k n"]:
        """(k, *axes) -> (k, n)."""
        vectors = raw.reshape(len(raw), -1)
        return vectors.astype(np.float32) / np.float32(255) if self._picture else vectors


class Vector:
    """A Discrete, MultiDiscrete or MultiBinary observation as a vector, see `flatten.flat`."""

    def __init__(self, space: Any, task: str) -> None:
        size, self._flat = flat(space, task)
        self.shape = (size,)

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, "k n"]:
        """(k, *axes) -> (k, n)."""
        return self._flat(raw)


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


class Packed:
    """Observations with parts, as arrays within dicts and tuples, as network inputs."""

    def __init__(self, pack: Packing, mapped: ObservationMap) -> None:
        self._pack, self._mapped = pack, mapped

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one network input."""
        return self._mapped.shape

    def __call__(self, raw: Any) -> Shaped[np.ndarray, "k ..."]:
        """k observations, within dicts and tuples -> k network inputs."""
        return self._mapped(self._pack(raw))


def observation_map(space: Any, image_size: tuple[int, int] | None, task: str, observe: Sequence[str] | None = None) -> ObservationMap:
    """The map that fits a Gymnasium observation space.

    Args:
        space: the space of one observation.
        image_size: (height, width) that the network wants, or None for a vector.
        task: name for the message.
        observe: parts of a Dict or Tuple, see `flatten.packing`; None: all.

    Raises:
        TaskError: a space that is not supported, or an image size for something that is no picture.
    """
    if kind(space) in PARTS:
        pack = packing(space, observe, task)
        return Packed(pack, map_of_packed(pack, space, image_size, task))
    if observe:
        packing(space, observe, task)
    return _map(space, image_size, task, "")


def map_of_packed(pack: Packing, space: Any, image_size: tuple[int, int] | None, task: str) -> ObservationMap:
    """The map of what a packing gives; `space` is the whole one, whose pictures the message names."""
    hint, found = "", pictures(list(leaves(space)))
    if found and kind(space) in PARTS:
        hint = f". Its observations have parts, and of these {', '.join(found)} can be chosen for it: --observe {found[0]}"
    return _map(pack.space, image_size, task, hint)


def _map(space: Any, image_size: tuple[int, int] | None, task: str, hint: str) -> ObservationMap:
    name = kind(space)
    if name == "Box" and space.dtype.kind in "fiub":
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
            f"choose another network, and leave out the image size{hint}"
        )
    if name in LEAVES and name != "Box":
        return Vector(space, task)
    raise TaskError(
        f"{task}: observations of type {name} are not supported ({space}); expected Box, Discrete, MultiDiscrete or MultiBinary, or a Dict "
        f"or Tuple of these{_wrapped(task)}"
    )


def _wrapped(task: str) -> str:
    """How to make a Box of the observations, as code: which wrapper, and how to register it."""
    module, _, id = task.rpartition(":")
    return (
        ". A wrapper of Gymnasium's makes a vector of them; "
        f"in a file wrapped.py write: import gymnasium{f', {module}' if module else ''}; "
        "gymnasium.register('Wrapped-v0', lambda **options: gymnasium.wrappers.TransformObservation("
        f"gymnasium.make('{id}', **options), to_vector, gymnasium.spaces.Box(low, high, (n,)))); "
        "then: PYTHONPATH=. nchl evolve wrapped:Wrapped-v0"
    )
