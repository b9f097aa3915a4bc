"""Elite (mu, lambda): the mean of the best mu individuals, and noise around it.

    row 0 = the best individual ever, unperturbed;  row i = theta + sigma noise_i
    theta <- mean of the mu rows with the highest scores

The best ever is evaluated again in every generation and is a parent only where its new score is among the best mu: a score
that was luck keeps its place in row 0, but does not hold the mean. Before anything is best, row 0 is the centre itself.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.errors import InvalidArgument
from nchl.strategies import shaping
from nchl.strategies.base import Strategy
from nchl.strategies.decay import SIGMA_FLOOR, schedule
from nchl.strategies.population import GaussianPopulation, Population


class Elite(Strategy):
    """(mu, lambda) with one elite; after each generation sigma shrinks by its schedule, down to 0.01.

    Args:
        size: numbers in a vector.
        population: lambda, individuals per generation.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: standard deviation of the noise.
        sigma_decay: factor of sigma after each generation, where its schedule is exponential.
        sigma_schedule: `constant`, `exponential` or `cosine:N` (N generations).
        mu: parents, at most `population`; None: 10, or the population where that is smaller.
    """

    name: ClassVar[str] = "elite"

    def __init__(
        self,
        size: int,
        population: int,
        seed: int,
        *,
        centre: str | ArrayLike = "normal",
        sigma: float = 0.1,
        sigma_decay: float = 0.999,
        sigma_schedule: str = "exponential",
        mu: int | None = None,
    ) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        mu = min(10, population) if mu is None else mu
        if not 1 <= mu <= population:
            raise InvalidArgument(f"mu must lie between 1 and the population of {population}; got {mu}")
        self.mu = mu
        self._schedule = schedule("sigma", sigma_schedule, self.sigma, sigma_decay, SIGMA_FLOOR)
        self._settings = {"sigma": self.sigma, "sigma_decay": float(sigma_decay), "sigma_schedule": sigma_schedule, "mu": mu}

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._settings)

    def _ask(self) -> GaussianPopulation:
        first = self.centre if self.best is None else self.best
        return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, self.generation, first=first)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        total = np.zeros(self.size)
        # A failed individual is never a parent, even if fewer than mu remain.
        parents = [int(row) for row in shaping.order(scores)[: self.mu] if np.isfinite(scores[row])]
        for row in parents:
            total += population.rows(row, row + 1)[0]
        self.centre = total / len(parents)
        self.sigma = self._schedule.after(self.sigma, self.generation + 1)
