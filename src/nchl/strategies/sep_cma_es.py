"""Separable CMA-ES: a step size and a variance for each coordinate (Ros & Hansen, PPSN 2008; the library `cma`, see `cma_library`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.strategies.base import State, Strategy
from nchl.strategies.cma_library import Library
from nchl.strategies.population import MatrixPopulation, Population


class SepCMAES(Strategy):
    """CMA-ES with a diagonal matrix; O(size) memory and time, and a generation as a matrix of population times size.

    Args:
        size: numbers in a vector.
        population: individuals per generation, at least 4.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: initial standard deviation in every coordinate.
    """

    name: ClassVar[str] = "sep-cma-es"
    formerly: ClassVar[tuple[str, ...]] = ("cma-es",)  # with its setting `diagonal`

    def __init__(self, size: int, population: int, seed: int, *, centre: str | ArrayLike = "normal", sigma: float = 0.1) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        self._begin = {"sigma": self.sigma}
        self._search = Library(self.centre, self.sigma, population, seed, diagonal=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._begin)

    def _ask(self) -> MatrixPopulation:
        return self._search.ask(self.generation)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        self.centre, self.sigma = self._search.tell(population, scores)

    def _state(self) -> State:
        return self._search.state()

    def _before_restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._search.check_version(state)

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._search.restore(state)
