"""OpenAI-ES: a step along the gradient of the expected fitness under Gaussian noise.

    g     = 1 / (P sigma) * sum_i u_i noise_i - weight_decay theta
    theta <- theta + step(g), plain: lr g; or by Adam or ClipUp (`optimizers`)

with `u` the centred ranks of the scores (`shaping.centred_ranks`) and `noise_i` the standard normal noise of individual
`theta + sigma noise_i`; Salimans et al., arXiv 1703.03864, algorithm 1 and section 2.1 (rank shaping, mirrored noise). Weight decay is a
part of the gradient, as in their code. A generation of equals makes no step and leaves the optimiser as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.strategies import shaping
from nchl.strategies.base import State, Strategy
from nchl.strategies.decay import LR_FLOOR, SIGMA_FLOOR, schedule
from nchl.strategies.gradient_settings import gradient_settings, step_length
from nchl.strategies.optimizers import check_rate, check_weight_decay, make_optimizer
from nchl.strategies.population import GaussianPopulation, Population, check_pairs, weighted_noise


class OpenAIES(Strategy):
    """OpenAI-ES; after each generation lr and sigma shrink by their schedules, down to 0.001 and 0.01.

    Args:
        size: numbers in a vector.
        population: individuals per generation; even where noise is antithetic.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: standard deviation of the noise; None: 0.3 for ClipUp, 0.1 for the others.
        sigma_decay: factor of sigma after each generation, where its schedule is exponential.
        sigma_schedule: `constant`, `exponential` or `cosine:N` (N generations).
        lr: learning rate, for ClipUp the length of a step; None: 0.2 for plain steps, 0.15 for Adam, sigma sqrt(size) / 4 for ClipUp.
        lr_decay: factor of lr after each generation, where its schedule is exponential.
        lr_schedule: as `sigma_schedule`.
        optimizer: `sgd` (plain steps), `adam` or `clipup`.
        weight_decay: how strongly the centre is drawn to 0; in units of 1 / genome squared, because g is in units of 1 / genome.
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
        sigma: float | None = None,
        sigma_decay: float = 0.999,
        sigma_schedule: str = "exponential",
        lr: float | None = None,
        lr_decay: float = 0.995,
        lr_schedule: str = "exponential",
        optimizer: str = "sgd",
        weight_decay: float = 0.0,
        antithetic: bool = True,
    ) -> None:
        optimizer, sigma, lr = gradient_settings(OpenAIES.name, optimizer, sigma, lr)
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        self.antithetic = bool(antithetic)
        if self.antithetic:
            check_pairs(population, "antithetic noise", ", or antithetic=False (--no-antithetic)")
        self.lr = check_rate("lr", step_length(self.sigma, size) if lr is None else lr)
        self.weight_decay = check_weight_decay(weight_decay)
        self._schedules = (
            schedule("sigma", sigma_schedule, self.sigma, sigma_decay, SIGMA_FLOOR),
            schedule("lr", lr_schedule, self.lr, lr_decay, LR_FLOOR),
        )
        self._optimizer = make_optimizer(optimizer, size)
        self._settings = {
            "sigma": self.sigma,
            "sigma_decay": float(sigma_decay),
            "sigma_schedule": sigma_schedule,
            "lr": self.lr,
            "lr_decay": float(lr_decay),
            "lr_schedule": lr_schedule,
            "optimizer": optimizer,
            "weight_decay": self.weight_decay,
            "antithetic": self.antithetic,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._settings)

    def _ask(self) -> GaussianPopulation:
        return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, self.generation, self.antithetic)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        assert isinstance(population, GaussianPopulation)
        u = shaping.centred_ranks(scores)
        if u.any():
            total, divisor = weighted_noise(population, u), self.population * self.sigma
            if self.weight_decay:
                total -= (self.weight_decay * divisor) * self.centre
            # A new array: earlier populations keep a reference to the old one.
            self.centre = self.centre + self._optimizer.step(total, divisor, self.lr)
        of_sigma, of_lr = self._schedules
        self.lr = of_lr.after(self.lr, self.generation + 1)
        self.sigma = of_sigma.after(self.sigma, self.generation + 1)

    def _state(self) -> State:
        return self._optimizer.state()

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._optimizer.restore(state)
