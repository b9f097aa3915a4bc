"""Strategies by name, and which settings each of them takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.strategies.base import Strategy
from nchl.strategies.cma_es import CMAES
from nchl.strategies.elite import Elite
from nchl.strategies.lm_ma_es import LMMAES, AdaptedPopulation
from nchl.strategies.openai_es import OpenAIES
from nchl.strategies.population import GaussianPopulation, MatrixPopulation, Population

STRATEGIES: dict[str, type[Strategy]] = {each.name: each for each in (OpenAIES, CMAES, LMMAES, Elite)}
_POPULATIONS: dict[str, type[Population]] = {
    population.kind: population for population in (GaussianPopulation, AdaptedPopulation, MatrixPopulation)
}


def settings(name: str) -> dict[str, Any]:
    """The settings that a strategy takes, with their defaults; what is not among them has no meaning for it.

    Raises:
        UnknownName: there is no such strategy.
    """
    parameters = inspect.signature(_find(name).__init__).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY and each.name != "centre"}


def make(name: str, size: int, population: int, seed: int, *, centre: Any = "normal", **given: Any) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `STRATEGIES`.
        size: numbers in a vector.
        population: individuals per generation.
        seed: seed of the run.
        centre: where to begin: `"normal"`, `"zeros"`, `"uniform"`, or a vector (size,).
        given: settings of that strategy, see `settings(name)`.

    Raises:
        UnknownName: there is no such strategy.
        InvalidArgument: a setting that this strategy does not have, or a value that it cannot use.
    """
    strategy, known = _find(name), settings(name)
    unknown = [setting for setting in given if setting not in known]
    if unknown:
        others = sorted(other for other in STRATEGIES if all(setting in settings(other) for setting in unknown))
        hint = f"; {' and '.join(others)} would take it" if others else ""
        raise InvalidArgument(f"{name} has no setting {', '.join(map(repr, unknown))}{hint}; its settings are {', '.join(known)}")
    return strategy(size, population, seed, centre=centre, **given)


def population_from(description: Mapping[str, Any]) -> Population:
    """The population whose `describe()` this is, for example in another process.

    Raises:
        UnknownName: no population is of this kind.
    """
    kind = str(description.get("kind"))
    if kind not in _POPULATIONS:
        raise UnknownName("kind of population", kind, _POPULATIONS)
    return _POPULATIONS[kind].from_description(description)


def _find(name: str) -> type[Strategy]:
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name]
