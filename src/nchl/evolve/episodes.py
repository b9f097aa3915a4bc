"""The number of episodes of each individual: one for all generations, or another from some generations on."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from nchl.errors import InvalidArgument, whole_number

Schedule = Sequence[tuple[int, int]]


def schedule(episodes: Any) -> Schedule:
    """Pairs (first generation, counted from 0; episodes of each individual from then on), in their order.

    Args:
        episodes: a number, or such pairs.

    Raises:
        InvalidArgument: neither, no episode, two pairs for one generation, or none for the first.
    """
    if not isinstance(episodes, Iterable):
        return [(0, whole_number(episodes, "episodes", 1, "episodes of each individual, or pairs (first generation, episodes)"))]
    try:
        pairs = sorted((operator.index(first), operator.index(count)) for first, count in episodes)
    except (TypeError, ValueError):
        pairs = []
    firsts = [first for first, _ in pairs]
    if not pairs or firsts[0] != 0 or len(set(firsts)) < len(firsts) or min(count for _, count in pairs) < 1:
        raise InvalidArgument(
            "episodes: expected a whole number, or pairs (first generation, episodes from then on) of which the first begins at 0, as in "
            f"[(0, 1), (50, 4)], with at least 1 episode; got {episodes!r}"
        )
    return pairs


def count_in(pairs: Schedule, generation: int) -> int:
    """Episodes of each individual in a generation, counted from 0."""
    return next(count for first, count in reversed(pairs) if first <= generation)
