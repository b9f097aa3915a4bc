"""SNES: the natural gradient of a Gaussian with a sigma for each coordinate.

    u_k   = max(0, ln(P/2 + 1) - ln k) / sum_j max(0, ln(P/2 + 1) - ln j) - 1/P      of the k-th best; equal scores share their mean
    theta <- theta + sigma sum_i u_i noise_i
    sigma <- sigma exp(eta / 2 * sum_i u_i (noise_i^2 - 1)),   eta = (3 + ln n) / (5 sqrt n)

Schaul, Glasmachers, Schmidhuber, High dimensions and heavy tails for natural evolution strategies, GECCO 2011, algorithm 2 and table 1.
It has no learning rate of its own to set: that of the centre is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.strategies import shaping
from nchl.strategies.base import State, Strategy
from nchl.strategies.population import GaussianPopulation, Population, weighted_noise_and_squares


class SNES(Strategy):
    """SNES. Its attribute `sigma` is the mean of the sigmas, which are in `sigmas`.

    Args:
        size: numbers in a vector.
        population: individuals per generation; the paper's is 4 + 3 ln(size).
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: initial standard deviation in every coordinate.
    """

    name: ClassVar[str] = "snes"

    def __init__(self, size: int, population: int, seed: int, *, centre: str | ArrayLike = "normal", sigma: float = 0.1) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        self.sigmas: Float[np.ndarray, " size"] = np.full(size, self.sigma)
        self.eta = float((3 + np.log(size)) / (5 * np.sqrt(size)))
        raw = np.maximum(0.0, np.log(population / 2 + 1) - np.log(np.arange(1, population + 1)))
        self.utilities = raw / raw.sum() - 1 / population
        self._begin = {"sigma": self.sigma}

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._begin)

    def _ask(self) -> GaussianPopulation:
        return GaussianPopulation(self.centre, self.sigmas, self.population, self.seed, self.generation)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        assert isinstance(population, GaussianPopulation)
        u = shaping.shared(self.utilities, scores)
        noise, squares = weighted_noise_and_squares(population, u, u)
        self.centre = self.centre + self.sigmas * noise
        self.sigmas = self.sigmas * np.exp(self.eta / 2 * (squares - u.sum()))
        self.sigma = float(np.mean(self.sigmas))

    def _state(self) -> State:
        return {"sigmas": self.sigmas}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.sigmas = state["sigmas"]
