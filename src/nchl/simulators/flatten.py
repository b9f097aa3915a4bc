"""Observations of several parts as one array: which parts are seen, and their order in a vector.

The order and the numbers are those of `gymnasium.spaces.utils.flatten`: the parts of a Dict or Tuple one after another as the space
lists them, a Box as it is, Discrete and MultiDiscrete one-hot, MultiBinary as zeros and ones. Where a single Box is seen it stays what
it is, so that a picture can reach a convolutional network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from nchl.errors import InvalidArgument, ShapeError, TaskError, UnknownName
from nchl.simulators.plain_spaces import brief, is_picture, kind, sole_box

Path = tuple[str | int, ...]
PARTS = ("Dict", "Tuple")
LEAVES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")


class Leaf(NamedTuple):
    """A part of an observation that has no parts of its own.

    Attributes:
        path: keys and indices that lead to it; empty where the observation itself has no parts.
        space: of the part.
    """

    path: Path
    space: Any

    @property
    def name(self) -> str:
        """The path as `--observe` takes it."""
        return "/".join(map(str, self.path))


def leaves(space: Any, path: Path = ()) -> Iterator[Leaf]:
    """The parts of a space in the order of `gymnasium.spaces.utils.flatten`."""
    if kind(space) not in PARTS:
        yield Leaf(path, space)
        return
    parts = space.spaces
    for key, part in parts.items() if isinstance(parts, Mapping) else enumerate(parts):
        yield from leaves(part, (*path, key))


class Packing:
    """Turns observations of a space, k at a time, into one array.

    Args:
        seen: the parts that are seen.
        task: name for messages.

    Attributes:
        leaves: the parts that are seen.
        space: of what comes out: the part's own where it is a single Box, else a Box of one axis.

    Raises:
        TaskError: a part that is no Box, Discrete, MultiDiscrete or MultiBinary.
    """

    def __init__(self, seen: Sequence[Leaf], task: str) -> None:
        self.leaves, self._task = tuple(seen), task
        self._flat: list[tuple[int, Callable[[np.ndarray], np.ndarray]]] = []
        sole = self.leaves[0].space if len(self.leaves) == 1 else None
        if sole is not None and (kind(sole) == "Box" or kind(sole) not in LEAVES):  # the observation map refuses other spaces
            self.space = sole
            return
        for leaf in self.leaves:
            if kind(leaf.space) not in LEAVES or (kind(leaf.space) == "Box" and leaf.space.dtype.kind not in "fiub"):
                raise TaskError(f"{task}: the part {leaf.name!r} of its observations is {kind(leaf.space)}, which is not supported")
            self._flat.append(flat(leaf.space, f"{task}, part {leaf.name!r}" if leaf.path else task))
        double = any(leaf.space.dtype == np.float64 for leaf in self.leaves)
        self.space = sole_box(sum(size for size, _ in self._flat), np.dtype(np.float64 if double else np.float32))

    @property
    def paths(self) -> list[Path]:
        """Where the parts lie within an observation."""
        return [leaf.path for leaf in self.leaves]

    @property
    def places(self) -> dict[str, range]:
        """Name of each part -> its places in the vector that comes out; empty for an observation without parts, or a single Box."""
        found, start = {}, 0
        for leaf, (size, _) in zip(self.leaves, self._flat, strict=False):
            if leaf.path:
                found[leaf.name] = range(start, start + size)
            start += size
        return found

    def arrays(self, observations: Any) -> list[Shaped[np.ndarray, "k ..."]]:
        """The parts of k observations that a simulator gave as arrays within dicts and tuples."""
        return [reach(observations, path) for path in self.paths]

    def put_together(self, parts: Sequence[Shaped[np.ndarray, "k ..."]]) -> Shaped[np.ndarray, "k ..."]:
        """The parts of k observations as one array; a single Box as it is."""
        if not self._flat:
            return parts[0]
        return np.concatenate([flatten(part) for (_, flatten), part in zip(self._flat, parts, strict=True)], axis=1)

    def __call__(self, observations: Any) -> Shaped[np.ndarray, "k ..."]:
        """k observations, as arrays within dicts and tuples, as one array."""
        return self.put_together(self.arrays(observations))

    def of_one(self, observation: Any) -> Shaped[np.ndarray, "1 ..."]:
        """One observation, without a leading axis, as an environment gives it.

        Raises:
            ShapeError: a part is missing, or of another shape than its space.
            InvalidArgument: a part that holds no numbers.
        """
        return self.put_together([self._part(observation, leaf)[None] for leaf in self.leaves])

    def _part(self, observation: Any, leaf: Leaf) -> np.ndarray:
        gives = f"{self._task} gives observations" + (f" with a part {leaf.name!r}" if leaf.path else "")
        try:
            raw = np.asarray(reach(observation, leaf.path))
        except (KeyError, IndexError, TypeError) as error:
            held = list(observation) if isinstance(observation, Mapping) else type(observation).__name__
            raise ShapeError(f"{gives}, got one without it ({held}){self._instead(observation)}") from error
        except ValueError as error:  # ragged lists
            got = f"got what is no array ({error}){self._instead(observation)}"
            raise ShapeError(f"{gives} of shape {leaf.space.shape}, {got}") from error
        if raw.dtype.kind not in "fiub":
            raise InvalidArgument(f"{gives} of numbers, got {raw.dtype}{self._instead(observation)}")
        if raw.shape != tuple(leaf.space.shape):
            raise ShapeError(f"{gives} of shape {leaf.space.shape}, got {raw.shape}; act takes one at a time")
        return raw

    def _instead(self, observation: Any) -> str:
        """What to write in place of something that is no observation; empty where that is not known."""
        if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], Mapping):
            return "; `reset` returns a pair: write `observation, _ = env.reset()`"
        keys = dict.fromkeys(leaf.path[0] for leaf in self.leaves if leaf.path)
        if isinstance(observation, Mapping) or not all(isinstance(key, str) for key in keys):
            return ""
        return f"; act takes the environment's own observation, {{{', '.join(f'{key!r}: ...' for key in keys)}}}" if keys else ""


def reach(observations: Any, path: Path) -> Any:
    """The value at a path within dicts and tuples."""
    for key in path:
        observations = observations[key]
    return observations


def packing(space: Any, observe: Sequence[str] | None, task: str, hidden: Collection[str] = ()) -> Packing:
    """How the observations of a space become one array.

    Args:
        space: of one observation.
        observe: the parts to see, by key (`position`) or path (`desired_goal/kettle`, `0`); None: all but `hidden`.
        task: name for messages.
        hidden: first keys of what is seen only when it is named.

    Raises:
        TaskError: a part that cannot be part of a vector, or parts of an observation that has none.
        UnknownName: there is no such part; the message offers the nearest.
        InvalidArgument: a part that is named twice.
    """
    every = list(leaves(space))
    if kind(space) not in PARTS:
        if observe:
            raise TaskError(
                f"{task}: its observations have no parts to choose from ({brief(space)}); leave out --observe {' '.join(observe)}"
            )
        return Packing(every, task)
    if not observe:
        seen = [leaf for leaf in every if leaf.path[0] not in hidden]
    else:
        if len(set(observe)) < len(observe):
            raise InvalidArgument(f"observe: a part is named twice in {' '.join(observe)}; name each once")
        wanted = {each: _below(each, every) for each in observe}
        for each, found in wanted.items():
            if not found:
                raise UnknownName(f"part of the observations of {task}", each, _names(every))
        paths = {leaf.path for found in wanted.values() for leaf in found}
        seen = [leaf for leaf in every if leaf.path in paths]
    odd = [leaf for leaf in seen if kind(leaf.space) not in LEAVES]
    if odd:
        others = " ".join(leaf.name for leaf in seen if leaf not in odd)
        instead = f"choose others: --observe {others}" if others else "wrap the environment so that they are numbers"
        named = ", ".join(f"{leaf.name} ({kind(leaf.space)})" for leaf in odd)
        raise TaskError(f"{task}: parts of its observations are not supported: {named}; {instead}")
    if not seen:
        raise TaskError(f"{task}: its observations have no parts ({space}), so that a network would see nothing")
    return Packing(seen, task)


def _below(name: str, every: Iterable[Leaf]) -> list[Leaf]:
    """The part of a name and all parts within it."""
    return [leaf for leaf in every if leaf.name == name or leaf.name.startswith(f"{name}/")]


def _names(every: Sequence[Leaf]) -> list[str]:
    """Every name that `--observe` takes."""
    return list(dict.fromkeys("/".join(map(str, leaf.path[: depth + 1])) for leaf in every for depth in range(len(leaf.path))))


def pictures(seen: Sequence[Leaf]) -> list[str]:
    """Names of the parts that are pictures."""
    return [leaf.name for leaf in seen if is_picture(leaf.space)]


def flat(space: Any, task: str) -> tuple[int, Callable[[Shaped[np.ndarray, "k ..."]], Shaped[np.ndarray, "k n"]]]:
    """How many numbers a part is in a vector, and the map of k of them there."""
    name = kind(space)
    if name == "Discrete":
        hot = OneHot(np.array([int(space.n)]), np.array([int(getattr(space, "start", 0))]), task)
        return hot.size, hot
    if name == "MultiDiscrete":
        hot = OneHot(space.nvec, getattr(space, "start", np.zeros_like(space.nvec)), task)
        return hot.size, hot
    return math.prod(space.shape), _numbers


def _numbers(raw: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, "k n"]:
    """(k, *axes) -> (k, n) floating point numbers; whole numbers of more than 16 bits become double precision, which holds them."""
    vectors = raw.reshape(len(raw), -1)
    if vectors.dtype.kind == "f":
        return vectors
    return vectors.astype(np.float32 if vectors.dtype.itemsize <= 2 else np.float64)


class OneHot:
    """Whole numbers in ranges as a vector with one 1 for each of them.

    Args:
        counts: how many values each has.
        starts: the smallest value of each.
        task: name for messages.

    Attributes:
        size: length of the vector.
    """

    def __init__(self, counts: np.ndarray, starts: np.ndarray, task: str) -> None:
        self._counts, self._starts = (np.asarray(each).reshape(-1).astype(np.int64) for each in (counts, starts))
        self._offsets = np.concatenate([[0], np.cumsum(self._counts)[:-1]])
        self.size, self._task = int(self._counts.sum()), task

    def __call__(self, raw: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, "k n"]:
        """(k, *axes) -> (k, n).

        Raises:
            TaskError: a number that is out of range.
        """
        values = raw.reshape(len(raw), -1).astype(np.int64) - self._starts
        outside = (values < 0) | (values >= self._counts)
        if outside.any():
            row, place = np.argwhere(outside)[0]
            first, count = int(self._starts[place]), int(self._counts[place])
            raise TaskError(
                f"{self._task}: an observation of {raw.reshape(len(raw), -1)[row, place]}, but the space has whole numbers from "
                f"{first} to {first + count - 1}; make the two agree"
            )
        hot = np.zeros((len(raw), self.size), dtype=np.float32)
        np.put_along_axis(hot, values + self._offsets, 1, axis=1)
        return hot
