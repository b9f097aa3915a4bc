"""CMA-ES: learns a step size and the covariance of all coordinates (Hansen, arXiv 1604.00772; the library `cma`, see `cma_library`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.errors import InvalidArgument
from nchl.strategies.base import State, Strategy
from nchl.strategies.cma_library import Library
from nchl.strategies.population import MatrixPopulation, Population

LARGEST_FULL = 3000


class CMAES(Strategy):
    """CMA-ES; O(size^2) memory, and O(size^3) time in some generations.

    Args:
        size: numbers in a vector, at most 3,000.
        population: individuals per generation, at least 4.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: initial standard deviation in every coordinate.
    """

    name: ClassVar[str] = "cma-es"

    def __init__(self, size: int, population: int, seed: int, *, centre: str | ArrayLike = "normal", sigma: float = 0.1) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        if size > LARGEST_FULL:
            gigabytes = size * size * 8 / 1e9
            raise InvalidArgument(
                f"the full covariance matrix of {size:,} numbers takes {gigabytes:,.1f} GB, three times, and hours to decompose; "
                f"above {LARGEST_FULL:,} use sep-cma-es (variances only), lm-ma-es, snes, pgpe or openai-es"
            )
        self._begin = {"sigma": self.sigma}
        self._search = Library(self.centre, self.sigma, population, seed, diagonal=False)

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
