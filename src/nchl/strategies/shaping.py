"""Fitness shaping: ranks, with ties and failures treated alike for every strategy.

- `order`: rows from best to worst; a score that is not finite comes last.
- `average_ranks`: 0 for the worst; equal scores share the mean of their ranks; all failures share the lowest.
- `centred_ranks`: `u_i = (r_i - mean r) / std r`; all tied: zeros, hence no step.
- `half_ranks`: `r_i / (P - 1) - 1/2`, between -1/2 and 1/2; all tied: zeros.
- `shared`: the value of each rank from a table, best first; equal scores share the mean of theirs.

Each depends on the order of the scores only: monotone transformations of fitness change no bit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def order(scores: Float[np.ndarray, " population"]) -> Int[np.ndarray, " population"]:
    """Row numbers from best to worst; equal scores stay in the order of their rows, failures come last."""
    return np.argsort(-_with_failures_last(scores), kind="stable")


def average_ranks(scores: Float[np.ndarray, " population"]) -> Float[np.ndarray, " population"]:
    """Rank of each row, 0 for the worst; equal scores share the mean of the ranks that they occupy together."""
    _, group, sizes = np.unique(_with_failures_last(scores), return_inverse=True, return_counts=True)
    below = np.cumsum(sizes) - sizes
    shared: Float[np.ndarray, " population"] = (below + (sizes - 1) / 2)[group]
    return shared


def centred_ranks(scores: Float[np.ndarray, " population"]) -> Float[np.ndarray, " population"]:
    """Ranks with mean 0 and standard deviation 1; zeros where all scores are tied.

    Without averaged ranks, equal scores (CartPole's best is 500) would move the search along the order of the rows.
    """
    centred = average_ranks(scores) - (len(scores) - 1) / 2  # halves of integers: exact
    spread = np.sqrt(np.mean(centred * centred))
    return centred / spread if spread > 0 else np.zeros_like(centred)


def half_ranks(scores: Float[np.ndarray, " population"]) -> Float[np.ndarray, " population"]:
    """Ranks between -1/2 for the worst and 1/2 for the best; zeros where all scores are tied."""
    return (average_ranks(scores) - (len(scores) - 1) / 2) / (len(scores) - 1)


def shared(values: Float[np.ndarray, " population"], scores: Float[np.ndarray, " population"]) -> Float[np.ndarray, " population"]:
    """The value of each row, from a table with one value per rank, best first; equal scores share the mean of their values."""
    _, group, sizes = np.unique(-_with_failures_last(scores), return_inverse=True, return_counts=True)
    begins = np.cumsum(sizes) - sizes
    means: Float[np.ndarray, " groups"] = np.add.reduceat(values, begins) / sizes
    return means[group]


def _with_failures_last(scores: Float[np.ndarray, " population"]) -> Float[np.ndarray, " population"]:
    return np.where(np.isfinite(scores), scores, -np.inf)
