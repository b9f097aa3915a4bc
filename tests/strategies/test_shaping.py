"""Ranks: counted by hand, ties, failures, and the laws of their mean and spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nchl.strategies import shaping
from reference.openai_es import shaped

SCORES = arrays(
    np.float64, st.integers(2, 30), elements=st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 500.0])
)


def test_average_ranks_by_hand():
    np.testing.assert_array_equal(shaping.average_ranks(np.array([5.0, 1.0, 5.0, 9.0])), [1.5, 0, 1.5, 3])
    np.testing.assert_array_equal(shaping.average_ranks(np.array([np.nan, 1.0, -np.inf, np.inf])), [1, 3, 1, 1])


def test_order_by_hand():
    np.testing.assert_array_equal(shaping.order(np.array([5.0, np.nan, 5.0, 9.0, np.inf, -1e308])), [3, 0, 2, 5, 1, 4])


@pytest.mark.parametrize("tied", [[3.0] * 8, [np.nan] * 8, [0.0, -0.0] * 4])
def test_all_tied_give_zeros(tied):
    np.testing.assert_array_equal(shaping.centred_ranks(np.array(tied)), np.zeros(8))


@given(SCORES)
def test_centred_ranks_equal_a_count(scores):
    np.testing.assert_allclose(shaping.centred_ranks(scores), shaped(scores.tolist()), atol=1e-13)


@given(SCORES)
def test_mean_zero_deviation_one_and_ties_alike(scores):
    u = shaping.centred_ranks(scores)
    assert abs(u.sum()) < 1e-11
    assert u.std() == pytest.approx(1) or not u.any()
    for value in scores[np.isfinite(scores)]:
        assert np.ptp(u[scores == value]) == 0


@given(SCORES, st.randoms(use_true_random=False))
def test_ranks_follow_their_rows(scores, random):
    shuffled = list(range(len(scores)))
    random.shuffle(shuffled)
    np.testing.assert_array_equal(shaping.centred_ranks(scores[shuffled]), shaping.centred_ranks(scores)[shuffled])
