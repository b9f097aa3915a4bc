"""Checks a user's strategy before a run begins, in four generations with random scores.

Checked are the shape of its populations, that its arguments and the scores alone decide them, that `tell` does not change a population
that `ask` has returned, and that its state is complete.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nchl.errors import InvalidArgument
from nchl.strategies.base import Strategy
from nchl.strategies.population import Population
from nchl.strategies.registry import population_kinds

GENERATIONS = 4
_ENDS = 2  # rows compared, at each end


def check_strategy(make: Callable[[], Strategy], place: str) -> None:
    """Check a strategy.

    Args:
        make: returns a new strategy, with equal arguments at each call.
        place: its name in errors.

    Raises:
        InvalidArgument: one of the checks fails; says which.
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
                f"{place}: two instances with the same arguments and scores return different individuals in generation {generation + 1}; "
                "draw noise from nchl.seeds.generator(self.seed, nchl.seeds.Purpose.NOISE, self.generation, row)"
            )
        if restored is not None and not np.array_equal(before, _rows(restored.ask())):
            raise InvalidArgument(
                f"{place}: restored from its state it returns other individuals, so a run could not be resumed; "
                "save all that it learns beyond centre, sigma and lr in _state and _restore"
            )
        told = scores.normal(size=one.population)
        for each in (one, other) if restored is None else (one, other, restored):
            each.tell(told)
        if not np.array_equal(before, _rows(asked)):
            raise InvalidArgument(
                f"{place}: _tell has changed the population that _ask had returned: it writes into an array of it; make a new array instead"
            )
        if restored is None:
            restored = make()
            restored.restore({name: array.copy() for name, array in one.state().items()})


def _rows(population: Population) -> np.ndarray:
    """Some rows at each end, as copies."""
    count = len(population)
    return np.concatenate([population.rows(0, min(_ENDS, count)), population.rows(max(0, count - _ENDS), count)]).copy()
