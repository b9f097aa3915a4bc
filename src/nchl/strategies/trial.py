"""A user's strategy is tried before a run begins: four generations with made-up scores show what would go wrong in the middle of one.

Tried are the shape of what it asks for, that nothing but its arguments and the scores decides what it does, that a population handed out
stays as it was, and that its state holds all that it has learnt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nchl.errors import InvalidArgument
from nchl.strategies.base import Strategy
from nchl.strategies.population import Population
from nchl.strategies.registry import population_kinds

GENERATIONS = 4
_ENDS = 2  # rows looked at, at each end


def check_strategy(make: Callable[[], Strategy], place: str) -> None:
    """Try a strategy.

    Args:
        make: gives a new one each time, with equal arguments.
        place: what the errors call it.

    Raises:
        InvalidArgument: it asks for the wrong shape, draws from elsewhere, changes what it has handed out, or forgets; says which.
    """
    one, other = make(), make()
    if one is other:
        raise InvalidArgument(f"{place}: expected a new strategy each time it is called, got the same object twice")
    scores = np.random.default_rng(0)
    restored: Strategy | None = None
    for generation in range(GENERATIONS):
        asked = one.ask()
        if asked.kind not in population_kinds():
            raise InvalidArgument(
                f"{place}: expected a population of nchl.strategies from _ask, or an array; workers cannot make a {type(asked).__name__}"
            )
        before = _rows(asked)
        if not np.array_equal(before, _rows(other.ask())):
            raise InvalidArgument(
                f"{place}: two of it with the same arguments and scores ask for different individuals in generation {generation + 1}; "
                "draw noise from nchl.seeds.generator(self.seed, nchl.seeds.Purpose.NOISE, self.generation, row)"
            )
        if restored is not None and not np.array_equal(before, _rows(restored.ask())):
            raise InvalidArgument(
                f"{place}: restored from its state it asks for other individuals, so a run could not be resumed; "
                "what it learns beyond centre, sigma and lr goes into _state and _restore"
            )
        told = scores.normal(size=one.population)
        for each in (one, other) if restored is None else (one, other, restored):
            each.tell(told)
        if not np.array_equal(before, _rows(asked)):
            raise InvalidArgument(
                f"{place}: _tell has changed the population that _ask had handed out: it keeps a reference to an array of it and writes "
                "into that; make a new array instead"
            )
        if restored is None:
            restored = make()
            restored.restore({name: array.copy() for name, array in one.state().items()})


def _rows(population: Population) -> np.ndarray:
    """Some rows at each end, as copies."""
    count = len(population)
    return np.concatenate([population.rows(0, min(_ENDS, count)), population.rows(max(0, count - _ENDS), count)]).copy()
