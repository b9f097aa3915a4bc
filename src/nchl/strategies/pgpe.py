"""PGPE with symmetric sampling: a Gaussian with a sigma for each coordinate; centre and sigmas follow their gradients.

    d_k   = sigma noise_k;  individuals theta + d_k and theta - d_k, with centred ranks r+ and r- in [-1/2, 1/2];  K = P / 2 pairs
    g     = 1 / K sum_k (r+_k - r-_k) / 2 * d_k - weight_decay theta;              theta <- theta + step(g)   (`optimizers`)
    h     = 1 / K sum_k (r+_k + r-_k) / 2 * (d_k^2 - sigma^2) / sigma;             sigma <- sigma + sigma_lr h, by at most 0.2 sigma

Sehnke et al., Parameter-exploring policy gradients, Neural Networks 23 (2010), section 3.2; ranks, ClipUp and the bound of sigma's change
from Toklu et al., arXiv 2008.02387, algorithm 1 and section 3. A generation of equals changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.strategies import shaping
from nchl.strategies.base import State, Strategy
from nchl.strategies.decay import LR_FLOOR, schedule
from nchl.strategies.gradient_settings import gradient_settings, step_length
from nchl.strategies.optimizers import check_rate, check_weight_decay, make_optimizer
from nchl.strategies.population import GaussianPopulation, Population, check_pairs, weighted_noise_and_squares

MOST_CHANGE = 0.2


class PGPE(Strategy):
    """PGPE with mirrored pairs. Its attribute `sigma` is the mean of the sigmas, which are in `sigmas`.

    ClipUp's steps have the length `lr` however near the optimum is, so `lr` falls unless told otherwise.

    Args:
        size: numbers in a vector.
        population: individuals per generation, even.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: initial standard deviation in every coordinate; None: 0.3 for ClipUp, 0.1 for the others.
        sigma_lr: learning rate of the sigmas.
        lr: learning rate of the centre, for ClipUp the length of a step; None: sigma sqrt(size) / 4 for ClipUp, 0.15 for Adam, 20 for
            plain steps.
        lr_decay: factor of lr after each generation, where its schedule is exponential.
        lr_schedule: `constant`, `exponential` or `cosine:N` (N generations).
        optimizer: `clipup`, `adam` or `sgd`.
        weight_decay: how strongly the centre is drawn to 0; it has no unit, because g is in units of the genome, as theta is.
    """

    name: ClassVar[str] = "pgpe"

    def __init__(
        self,
        size: int,
        population: int,
        seed: int,
        *,
        centre: str | ArrayLike = "normal",
        sigma: float | None = None,
        sigma_lr: float = 0.1,
        lr: float | None = None,
        lr_decay: float = 0.995,
        lr_schedule: str = "exponential",
        optimizer: str = "clipup",
        weight_decay: float = 0.0,
    ) -> None:
        optimizer, sigma, lr = gradient_settings(PGPE.name, optimizer, sigma, lr)
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        check_pairs(population, "PGPE's noise", "")
        self.lr = check_rate("lr", step_length(self.sigma, size) if lr is None else lr)
        self.sigma_lr = check_rate("sigma_lr", sigma_lr)
        self.weight_decay = check_weight_decay(weight_decay)
        self.sigmas: Float[np.ndarray, " size"] = np.full(size, self.sigma)
        self._schedule = schedule("lr", lr_schedule, self.lr, lr_decay, LR_FLOOR)
        self._optimizer = make_optimizer(optimizer, size)
        self._settings = {
            "sigma": self.sigma,
            "sigma_lr": self.sigma_lr,
            "lr": self.lr,
            "lr_decay": float(lr_decay),
            "lr_schedule": lr_schedule,
            "optimizer": optimizer,
            "weight_decay": self.weight_decay,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._settings)

    def _ask(self) -> GaussianPopulation:
        return GaussianPopulation(self.centre, self.sigmas, self.population, self.seed, self.generation, antithetic=True)

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        assert isinstance(population, GaussianPopulation)
        ranks, pairs, sigmas = shaping.half_ranks(scores), self.population / 2, self.sigmas
        if ranks.any():
            plus, minus = ranks[0::2], ranks[1::2]
            weights = (plus + minus) / 2
            noise, squares = weighted_noise_and_squares(population, (plus - minus) / 2, weights)
            noise *= sigmas
            if self.weight_decay:
                noise -= (self.weight_decay * pairs) * self.centre
            self.centre = self.centre + self._optimizer.step(noise, pairs, self.lr)
            change = (self.sigma_lr / pairs) * sigmas * (squares - weights.sum())
            self.sigmas = sigmas + np.clip(change, -MOST_CHANGE * sigmas, MOST_CHANGE * sigmas)
            self.sigma = float(np.mean(self.sigmas))
        self.lr = self._schedule.after(self.lr, self.generation + 1)

    def _state(self) -> State:
        return {"sigmas": self.sigmas} | self._optimizer.state()

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.sigmas = state["sigmas"]
        self._optimizer.restore(state)
