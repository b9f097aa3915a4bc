"""Elite: the individual in row 0, and the parents."""

from __future__ import annotations

import numpy as np
import pytest

from nchl.errors import InvalidArgument
from nchl.strategies import Elite


def test_row_zero_is_first_the_centre_and_then_the_best_ever():
    strategy = Elite(4, 6, 0, centre=np.array([0.1, 0.2, 0.3, 0.4]))
    rows = strategy.ask().rows()
    np.testing.assert_array_equal(rows[0], strategy.centre.astype(np.float32))
    strategy.tell([0, 0, 0, 9, 0, 0])
    best = rows[3]
    for scores in ([1, 2, 3, 4, 5, 6], [-5, np.nan, 3, 4, 5, 6], [0, 0, 0, 0, 0, 9]):  # equal is not better
        np.testing.assert_array_equal(strategy.ask().rows()[0], best)
        strategy.tell(scores)
    np.testing.assert_array_equal(strategy.best, best)
    newer = strategy.ask().rows()[2]
    strategy.tell([1, 2, 10, 4, 5, 6])
    np.testing.assert_array_equal(strategy.ask().rows()[0], newer)


def test_the_centre_is_the_mean_of_the_mu_best_of_this_generation():
    strategy = Elite(5, 8, 2, mu=3)
    for scores, parents in [
        ([3, 1, 2, 9, 8, 0, 0, 0], [3, 4, 0]),
        ([-1, np.inf, 2, 2, 2, 2, np.nan, 0], [2, 3, 4]),
        ([np.nan] * 6 + [1, np.nan], [6]),
    ]:
        rows = strategy.ask().rows().astype(np.float64)
        strategy.tell(scores)
        np.testing.assert_allclose(strategy.centre, rows[parents].mean(axis=0), atol=1e-12)


def test_mu_is_ten_or_the_population():
    assert Elite(3, 50, 0).mu == 10
    assert Elite(3, 4, 0).mu == 4
    for mu in (0, 5):
        with pytest.raises(InvalidArgument, match=f"mu must lie between 1 and the population of 4; got {mu}"):
            Elite(3, 4, 0, mu=mu)
