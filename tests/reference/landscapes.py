"""Functions with a known optimum, as scores to maximise: (rows, n) -> (rows,), 0 at the optimum and below it elsewhere."""

from __future__ import annotations

import numpy as np


def sphere(x: np.ndarray) -> np.ndarray:
    return -np.sum(np.square(x, dtype=np.float64), axis=1)


def ellipsoid(x: np.ndarray) -> np.ndarray:
    """Condition number 10^6."""
    n = x.shape[1]
    return -np.sum(10 ** (6 * np.arange(n) / (n - 1)) * x.astype(np.float64) ** 2, axis=1)


def rosenbrock(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return -np.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, axis=1)
