"""LM-MA-ES: matrix adaptation with a memory of a few vectors, O(m size) per individual.

Loshchilov, Glasmachers, Beyer, arXiv 1705.06693, algorithm 2 (LM-MA-ES); `z` standard normal, `w` the weights of the mu best, m vectors
`m_j`, each an average of steps over its own time:

    d <- z;   for j = 1 .. min(t, m):  d <- (1 - c_d,j) d + c_d,j m_j (m_j . d)         an individual is theta + sigma d
    theta   <- theta + sigma sum_i w_i d_i
    p_sigma <- (1 - c_sigma) p_sigma + sqrt(mu_w c_sigma (2 - c_sigma)) sum_i w_i z_i
    m_j     <- (1 - c_c,j) m_j + sqrt(mu_w c_c,j (2 - c_c,j)) sum_i w_i z_i
    sigma   <- sigma exp(c_sigma / 2 (|p_sigma|^2 / n - 1))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl import seeds
from nchl.strategies import shaping
from nchl.strategies.base import State, Strategy
from nchl.strategies.population import Population

# Rows are made in blocks of about this many numbers, so that a block stays in the cache.
_BLOCK = 1 << 17


@dataclass(frozen=True, eq=False)
class AdaptedPopulation(Population):
    """Gaussian noise, stretched along a few vectors, around a centre; one Philox stream per row, float64.

    Attributes:
        centre: (size,) float64.
        sigma: step size.
        count: number of individuals.
        seed: seed of the run.
        generation: counted from 0.
        vectors: (k, size), the vectors `m_j` in use.
        rates: (k,), their `c_d,j`.
    """

    kind: ClassVar[str] = "adapted"

    centre: Float[np.ndarray, " size"]
    sigma: float
    count: int
    seed: int
    generation: int
    vectors: Float[np.ndarray, "k size"]
    rates: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        return self.count

    @property
    def size(self) -> int:
        """Numbers per individual."""
        return len(self.centre)

    def noise(self, row: int) -> Float[np.ndarray, " size"]:
        """`z` of one row: standard normal numbers."""
        return seeds.generator(self.seed, seeds.Purpose.NOISE, self.generation, row).standard_normal(self.size)

    def stretch(self, z: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, "rows size"]:
        """`d` of each row's `z`: the loop over j. Linear in `z`, so the mean of many `d` is that of the mean `z`."""
        d = z.copy()
        for vector, rate in zip(self.vectors, self.rates, strict=True):
            # A sum along the last axis is made row by row: its bits depend neither on the number of rows nor on threads.
            along = np.sum(d * vector, axis=-1, keepdims=True)
            d *= 1 - rate
            d += (rate * along) * vector
        return d

    def _rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        rows = np.empty((stop - start, self.size))
        block = max(1, _BLOCK // self.size)
        for begin in range(start, stop, block):
            end = min(begin + block, stop)
            z = np.stack([self.noise(row) for row in range(begin, end)])
            rows[begin - start : end - start] = self.centre + self.sigma * self.stretch(z)
        return rows


class LMMAES(Strategy):
    """LM-MA-ES: learns a step size and about 3 ln(size) directions; for genomes whose covariance matrix does not fit into memory.

    The paper's population is 4 + 3 ln(size). Its rates grow with the population and shrink with the size, so where the one is large and
    the other small they exceed 1 (above 2 the search would end in NaN), and the vectors `m_j` grow so long that it diverges. There, and
    there only, three things are ours: rates stop at 1, `m_j` counts at most `size` effective parents, and the step size is damped.

    Args:
        size: numbers in a vector.
        population: individuals per generation.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.
        sigma: initial step size.
    """

    name: ClassVar[str] = "lm-ma-es"

    def __init__(self, size: int, population: int, seed: int, *, centre: str | ArrayLike = "normal", sigma: float = 0.1) -> None:
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        n, lambda_ = size, population
        memory = 4 + int(3 * np.log(n))  # line 1: m
        index = np.arange(memory)
        self.mu = lambda_ // 2  # line 1, as all that follow
        raw = np.log(self.mu + 0.5) - np.log(np.arange(1, self.mu + 1))
        self.weights = raw / raw.sum()
        self.mu_w = float(1 / np.sum(self.weights**2))
        self.c_sigma = min(1.0, 2 * lambda_ / n)
        self.c_d = 1 / (1.5**index * n)
        self.c_c = np.minimum(1.0, lambda_ / (4.0**index * n))
        # Not in the paper; 1 while mu_w <= n + 2: Hansen, arXiv 1604.00772, equation 55, without its c_sigma.
        self.d_sigma = 1 + 2 * max(0.0, np.sqrt((self.mu_w - 1) / (n + 1)) - 1)
        # Not in the paper either; mu_w while that is at most n. It keeps |m_j|^2 from exceeding n by orders of magnitude.
        self.mu_m = min(self.mu_w, float(n))
        self._path = np.zeros(n)
        self._vectors = np.zeros((memory, n))
        self._begin = {"sigma": self.sigma}

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than the centre."""
        return dict(self._begin)

    def _ask(self) -> AdaptedPopulation:
        used = min(self.generation, len(self._vectors))
        return AdaptedPopulation(
            self.centre, self.sigma, self.population, self.seed, self.generation, self._vectors[:used].copy(), self.c_d[:used]
        )

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        assert isinstance(population, AdaptedPopulation)
        z = np.zeros(self.size)
        for weight, row in zip(self.weights, shaping.order(scores), strict=False):
            z += weight * population.noise(int(row))
        self.centre = self.centre + self.sigma * population.stretch(z)
        self._path = _moved(self._path, self.c_sigma, self.mu_w, z)
        for vector, c_c in zip(self._vectors, self.c_c, strict=True):
            vector[:] = _moved(vector, c_c, self.mu_m, z)
        excess = np.sum(self._path * self._path) / self.size - 1
        self.sigma *= float(np.exp(self.c_sigma / (2 * self.d_sigma) * excess))

    def _state(self) -> State:
        return {"path": self._path, "vectors": self._vectors}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._path, self._vectors = state["path"], state["vectors"]


def _moved(path: Float[np.ndarray, " size"], rate: float, mu_w: float, z: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
    moved: Float[np.ndarray, " size"] = (1 - rate) * path + np.sqrt(mu_w * rate * (2 - rate)) * z
    return moved
