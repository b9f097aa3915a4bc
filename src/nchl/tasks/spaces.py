"""From a simulator's observations to a network's inputs, on any device; the way from outputs to actions is in `actions`.

Simulators have made one array of each observation (`simulators.flatten`). A Box of one axis stays as it is, a Box of several axes is
flattened. Pictures (Box, uint8, three axes) become (channels, height, width) in [0, 1] where an image size is given. The smaller of the
first and the last axis is the channels: three of a colour picture, twelve of four that are stacked.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, TaskError
from nchl.simulators.flatten import PARTS, Packing, leaves, pictures
from nchl.simulators.plain_spaces import is_picture as is_picture
from nchl.simulators.plain_spaces import kind
from nchl.tasks.actions import ActionMap as ActionMap
from nchl.tasks.actions import action_map as action_map
from nchl.tasks.resize import Resize


class ObservationMap(Protocol):
    """Turns a batch of raw observations into network inputs of shape `shape`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one network input."""
        ...

    def __call__(self, raw: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"] | None = None) -> Shaped[Tensor, "size ..."]:
        """Map a batch; the result may share memory with `raw`.

        Args:
            raw: (size, *observation).
            active: the rows that are needed, None for all; the others may come back as any numbers.
        """
        ...


class Flat:
    """A Box of any axes as a vector. Pictures are divided by 255."""

    def __init__(self, space: Any) -> None:
        self.shape = (math.prod(space.shape),)
        self._picture = is_picture(space)

    def __call__(self, raw: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"] | None = None) -> Shaped[Tensor, "size n"]:
        """(size, *axes) -> (size, n)."""
        vectors = raw if raw.ndim == 2 else raw.reshape(raw.shape[0], -1)
        return vectors.to(torch.float32) / 255 if self._picture else vectors


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

    def __call__(self, raw: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"] | None = None) -> Float[Tensor, "size c h w"]:
        """(size, height, width, channels) or (size, channels, height, width), uint8 -> (size, channels, *image_size)."""
        return self._resize(raw, active)


def observation_map(pack: Packing, space: Any, image_size: tuple[int, int] | None, task: str) -> ObservationMap:
    """The map of what a packing gives.

    Args:
        pack: how observations become arrays.
        space: the whole observation's, whose pictures the message names.
        image_size: (height, width) that the network wants, or None for a vector.
        task: name for the message.

    Raises:
        TaskError: a space that is not supported, or an image size for something that is no picture.
    """
    hint, found = "", pictures(list(leaves(space)))
    if found and kind(space) in PARTS:
        hint = f". Its observations have parts, and of these {', '.join(found)} can be chosen for it: --observe {found[0]}"
    seen = pack.space
    name = kind(seen)
    if name == "Box" and seen.dtype.kind in "fiub":
        if image_size is None:
            return Flat(seen)
        if is_picture(seen):
            height, width = (int(side) for side in image_size)
            if min(height, width) < 1:
                raise InvalidArgument(f"image size: expected two positive numbers (height, width), got {image_size}")
            return Picture(seen, (height, width))
        raise TaskError(
            f"{task} has no pictures, which a convolutional network needs: its observations have shape {seen.shape}; "
            f"choose another network, and leave out the image size{hint}"
        )
    raise TaskError(
        f"{task}: observations of type {name} are not supported ({seen}); expected Box, Discrete, MultiDiscrete or MultiBinary, or a Dict "
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
