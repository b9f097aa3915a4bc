"""The strategy of a run: a registered one, one of evosax, or a class in a user's file, from the run's own copy of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from nchl import strategies
from nchl.errors import InvalidArgument, NchlError
from nchl.runs.store.code_copy import Code
from nchl.strategies import Strategy
from nchl.strategies.trial import check_strategy
from nchl.user_code import is_place, load_object, using

_INIT = """
    def __init__(self, size, population, seed, *, centre="normal", sigma=0.1):
        super().__init__(size, population, seed, centre=centre, sigma=sigma)

    @property
    def settings(self):
        return {"sigma": self.sigma}
"""


def make_strategy(
    name: str, size: int, population: int, seed: int, centre: str | np.ndarray, settings: Mapping[str, Any], code: Code
) -> Strategy:
    """A strategy before its first generation; `name` is registered, `evosax:NAME`, or `FILE.py:NAME`.

    Raises:
        NchlError: it cannot be made, or breaks the contract of strategies.
    """
    if not is_place(name):
        return strategies.make(name, size, population, seed, centre=centre, **settings)
    with using(code.texts):
        make = load_object(code.places.get("strategy", name), "a strategy")

    def made() -> Strategy:
        try:
            inspect.signature(make).bind(size, population, seed, centre=centre, **settings)
        except TypeError as error:
            hint = ""
            if getattr(make, "__init__", None) is Strategy.__init__:
                hint = f"; the class has no __init__ of its own, write one, as in:\n{_INIT}"
            raise InvalidArgument(
                f"{name}: {error}; a strategy is called with (size, population, seed, *, centre, and the settings that are given"
                f"{': ' + ', '.join(settings) if settings else ''}){hint}"
            ) from error
        try:
            found = make(size, population, seed, centre=centre, **settings)
        except NchlError:
            raise
        except Exception as error:
            raise InvalidArgument(f"{name} failed when it was made ({type(error).__name__}: {error})") from error
        if not isinstance(found, Strategy):
            raise InvalidArgument(f"{name}: expected a nchl.strategies.Strategy, got {type(found).__name__}; inherit from that class")
        if (found.size, found.population, found.generation) != (size, population, 0):
            raise InvalidArgument(
                f"{name}: expected a strategy for {population} individuals of {size} numbers before its first generation, got one for "
                f"{found.population} of {found.size} after {found.generation}; pass size, population and seed on to Strategy.__init__"
            )
        return found

    check_strategy(made, name)
    return made()
