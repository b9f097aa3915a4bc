"""Test functions in place of a task: values to be minimised, 0 at the optimum.

sphere       sum x_i^2
ellipsoid    sum 10^(6 i / (n - 1)) x_i^2, i from 0
rosenbrock   sum 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from nchl.strategies.population import Population

Values = Float[np.ndarray, " rows"]
_BLOCK = 1 << 20  # numbers computed at once


def sphere(x: Float[np.ndarray, "rows size"]) -> Values:
    """sum x_i^2: the same in all directions."""
    return np.asarray(np.sum(x * x, axis=1))


def ellipsoid(x: Float[np.ndarray, "rows size"]) -> Values:
    """Condition number 10^6."""
    return np.asarray(np.sum(10.0 ** (6 * np.arange(x.shape[1]) / (x.shape[1] - 1)) * x * x, axis=1))


def rosenbrock(x: Float[np.ndarray, "rows size"]) -> Values:
    """A curved valley."""
    return np.asarray(np.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, axis=1))


FUNCTIONS: dict[str, Callable[[Float[np.ndarray, "rows size"]], Values]] = {
    "sphere": sphere,
    "ellipsoid": ellipsoid,
    "rosenbrock": rosenbrock,
}


def values(name: str, population: Population) -> Float[np.ndarray, " population"]:
    """The value of each individual, computed some rows at a time, so that a large generation need not exist at once."""
    block = max(1, _BLOCK // population.size)
    parts = [
        FUNCTIONS[name](population.rows(begin, min(begin + block, len(population))).astype(np.float64))
        for begin in range(0, len(population), block)
    ]
    return np.concatenate(parts)
