"""Spaces without Gymnasium, by the names that Gymnasium gives them, and what both kinds have in common.

A run's record brings back a task where Gymnasium is not installed, and parts of an observation that were put together have a space too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

_KINDS = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Tuple", "Dict", "Text", "Sequence", "Graph", "OneOf")


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


@dataclass(frozen=True, eq=False)
class MultiDiscrete:
    """Arrays of whole numbers, each from its `start` to below `start + nvec`, as Gymnasium's space of that name.

    Attributes:
        nvec: how many values each number has (*shape).
        start: the smallest value of each (*shape).
        dtype: of the numbers.
    """

    nvec: Int[np.ndarray, ...]
    start: Int[np.ndarray, ...]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one array."""
        return tuple(self.nvec.shape)

    def contains(self, x: Any) -> bool:
        """Whether an array has the shape and its numbers are in range."""
        array = np.asarray(x)
        if array.shape != self.shape or array.dtype.kind not in "iu":
            return False
        return bool((array >= self.start).all() and (array < self.start + self.nvec).all())


@dataclass(frozen=True)
class MultiBinary:
    """Arrays of zeros and ones, as Gymnasium's space of that name."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def contains(self, x: Any) -> bool:
        """Whether an array has the shape and holds nothing but zeros and ones."""
        array = np.asarray(x)
        return array.shape == self.shape and bool(((array == 0) | (array == 1)).all())


@dataclass(frozen=True, eq=False)
class Dict:
    """Named parts in order, as Gymnasium's space of that name."""

    spaces: Mapping[str, Any]
    shape: None = None
    dtype: None = None


@dataclass(frozen=True, eq=False)
class Tuple:
    """Parts in order, as Gymnasium's space of that name."""

    spaces: tuple[Any, ...]
    shape: None = None
    dtype: None = None


@dataclass(frozen=True)
class Unseen:
    """A part of an observation that no network sees and that could not be seen, for example a text; known by its name alone."""

    name: str
    shape: None = None
    dtype: None = None


def kind(space: Any) -> str:
    """Which of Gymnasium's spaces it is, also where a class of the user's was derived from one."""
    if isinstance(space, Unseen):
        return space.name
    for each in type(space).__mro__:
        if each.__name__ in _KINDS:
            return each.__name__
    return type(space).__name__


def is_picture(space: Any) -> bool:
    """Whether observations are pictures: a Box of bytes with three axes."""
    return kind(space) == "Box" and space.dtype == np.uint8 and len(space.shape) == 3


def sole_box(size: int, dtype: np.dtype[Any]) -> Box:
    """Vectors of `size` numbers without bounds."""
    bound = np.full((size,), np.inf)
    return Box((size,), dtype, -bound, bound)


def brief(space: Any) -> str:
    """A space in a few characters, for messages: `picture 96x96x3`, `4 numbers`, `3 choices`."""
    name = kind(space)
    if is_picture(space):
        return f"picture {'x'.join(map(str, space.shape))}"
    if name == "Discrete":
        return f"{int(space.n)} choices"
    if name == "MultiDiscrete":
        return f"{space.nvec.size} choices of {int(space.nvec.min())} to {int(space.nvec.max())}"
    if name == "MultiBinary":
        return f"{int(np.prod(space.shape, dtype=np.int64))} bits"
    if name == "Box":
        count = int(np.prod(space.shape, dtype=np.int64))
        return f"{count} number{'' if count == 1 else 's'}"
    return name
