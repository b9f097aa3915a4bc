"""OpenAI-ES: a step along the gradient of the expected fitness under Gaussian noise.

    theta <- theta + lr / (P sigma) * sum_i u_i noise_i

with `u` the centred ranks of the scores (`shaping.centred_ranks`) and `noise_i` the standard normal noise of individual
`theta + sigma noise_i`; Salimans et al., arXiv 1703.03864, algorithm 1 and section 2.1 (rank shaping, mirrored noise).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.errors import InvalidArgument
from nchl.strategies import shaping
from nchl.strategies.base import Strategy
from nchl.strategies.decay import LR_FLOOR, SIGMA_FLOOR, check_decay, decayed
from nchl.strategies.population import GaussianPopulation, Population


class OpenAIES(Strategy):
    """OpenAI-ES; after each generation lr and sigma shrink, down to 0.001 and 0.01.

    Args:
        size: numbers in a vector.
        population: individuals per generation; even where noise is antithetic.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: standard deviation of the noise.
        sigma_decay: factor of sigma after each generation.
        lr: learning rate.
        lr_decay: factor of lr after each generation.
        antithetic: rows 2k and 2k + 1 share their noise with opposite signs.
    """

    name: ClassVar[str] = "openai-es"

    def __init__(
        self,
        size: int,
        population: int,
        seed: int,
        *,
        centre: str | ArrayLike = "normal",
        sigma: float = 0.1,
        sigma_decay: float = 0.999,
        lr: float = 0.2,
        lr_decay: float = 0.995,
        antithetic: bool = True,
    ) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        if antithetic and population % 2:
            raise InvalidArgument(
                f"population {population} is odd, but antithetic noise comes in pairs; "
                f"use {population + 1}, or antithetic=False (--no-antithetic)"
            )
        if not (np.isfinite(lr) and lr > 0):
            raise InvalidArgument(f"lr must be a finite number above 0; got {lr}")
        self.lr = float(lr)
        self.sigma_decay = check_decay("sigma_decay", sigma_decay)
        self.lr_decay = check_decay("lr_decay", lr_decay)
        self.antithetic = bool(antithetic)
        self._begin = {"sigma": self.sigma, "lr": self.lr}

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return self._begin | {"sigma_decay": self.sigma_decay, "lr_decay": self.lr_decay, "antithetic": self.antithetic}

    def _ask(self) -> GaussianPopulation:
        return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, self.generation, self.antithetic)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        assert isinstance(population, GaussianPopulation)
        step = weighted_noise(population, shaping.centred_ranks(scores))
        step *= self.lr / (self.population * self.sigma)
        self.centre = self.centre + step  # a new array: populations handed out keep the old one
        self.lr = decayed(self.lr, self.lr_decay, LR_FLOOR)
        self.sigma = decayed(self.sigma, self.sigma_decay, SIGMA_FLOOR)


def weighted_noise(population: GaussianPopulation, weights: Float[np.ndarray, " population"]) -> Float[np.ndarray, " size"]:
    """`sum_i weights_i noise_i` (size,), float64, made stream by stream in a fixed order.

    Elementwise only: a matrix product would be faster on small sums, but its bits depend on the number of threads.
    """
    if population.antithetic:
        weights = weights[0::2] - weights[1::2]
    streams = [int(stream) for stream in np.flatnonzero(weights)]
    total = np.zeros(population.size)
    term = np.empty(population.size)
    for stream, noise in zip(streams, population.noises(streams), strict=True):
        np.multiply(noise, weights[stream], out=term)
        total += term
    return total
