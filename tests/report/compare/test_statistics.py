"""The statistics against hand-computed values, plain loops and simulations with known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from nchl.errors import InvalidArgument
from nchl.report.compare import statistics
from nchl.report.compare.statistics import (
    band,
    estimate,
    exact_p,
    holm,
    improvement,
    iqm,
    mann_whitney,
    paired_improvement,
    performance_profile,
    signed_rank,
)
from nchl.runs.results.evaluate import interquartile_mean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1, 2, 6], 3.0),
        ([0, 1, 2, 100], 1.5),
        ([9, 1, 2, 3, -50], 2.0),
        (list(range(8)), 3.5),
        ([1, 1, 4, 4, 4, 9, 9, 9], 5.25),
    ],
)
def test_the_interquartile_mean(values: list[float], expected: float) -> None:
    assert iqm(np.array(values, dtype=float)) == pytest.approx(expected)
    assert iqm(np.array(values, dtype=float)) == pytest.approx(interquartile_mean(np.array(values, dtype=float)))


def test_an_interval_is_the_percentiles_of_resampled_estimates() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 9.0, 15.0, 16.0])
    found = estimate(values, np.median, seed=1)
    chance = np.random.default_rng(99)
    resampled = [np.median(chance.choice(values, len(values))) for _ in range(10_000)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert found.value == 8.0
    # The median of a resample is one of the values: the ends agree exactly, unless a percentile falls between two.
    assert found.low == pytest.approx(low, abs=1.0)
    assert found.high == pytest.approx(high, abs=1.0)


def test_equal_seeds_give_equal_intervals() -> None:
    values = np.random.default_rng(0).normal(size=9)
    assert estimate(values, iqm, seed=3) == estimate(values, iqm, seed=3)
    assert estimate(values, iqm, seed=3) != estimate(values, iqm, seed=4)


def test_one_run_has_no_interval() -> None:
    found = estimate(np.array([5.0]), iqm, seed=0)
    assert found.value == 5.0
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_scores_must_be_finite(values: list[float]) -> None:
    with pytest.raises(InvalidArgument, match="finite"):
        estimate(np.array(values), iqm, seed=0)


@pytest.mark.parametrize("statistic", [iqm, np.median])
def test_intervals_of_twenty_runs_cover_the_truth(statistic: statistics.Statistic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    chance = np.random.default_rng(7)
    found = [estimate(chance.normal(loc=3.0, size=20), statistic, seed) for seed in range(200)]
    covered = np.mean([each.low <= 3.0 <= each.high for each in found])
    # 95 % nominally, a little less at twenty runs; three standard errors of 200 draws are 4.6 points.
    assert 0.88 <= covered <= 0.995


def test_the_probability_of_improvement_counts_pairs() -> None:
    first, second = np.array([1.0, 5.0, 7.0]), np.array([5.0, 0.0])
    by_hand = sum((a > b) + 0.5 * (a == b) for a in first for b in second) / 6
    found = improvement(first, second, seed=0)
    assert found.value == pytest.approx(by_hand)
    assert improvement(second, first, seed=0).value == pytest.approx(1 - by_hand)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert mann_whitney(first, second)[0] / 6 == pytest.approx(by_hand)
    apart = improvement(first + 100, second, seed=0)
    assert apart == (1.0, 1.0, 1.0)


def p_by_enumeration(first: np.ndarray, second: np.ndarray) -> float:
    """Twice the share of the splits into two such groups with a U at least as low, or at least as high, whichever is smaller."""
    pooled = np.concatenate([first, second])
    wins = (pooled[:, None] > pooled) + 0.5 * (pooled[:, None] == pooled)
    u = []
    for chosen in itertools.combinations(range(len(pooled)), len(first)):
        others = [place for place in range(len(pooled)) if place not in chosen]
        u.append(wins[np.ix_(chosen, others)].sum())
    own = u[0]  # the first combination is the first group
    return min(1.0, 2 * float(min(np.mean(np.array(u) <= own), np.mean(np.array(u) >= own))))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]),
        ([1.0, 9.0, 3.0, 12.0], [6.0, 7.0, 8.0, 2.0, 10.0]),
        ([500.0, 500.0, 500.0, 480.0, 500.0], [500.0, 100.0, 20.0, 480.0, 9.0]),  # ties, as in tasks with a highest score
        ([10.0] * 2, [500.0] * 20),
        ([10.0] * 3, [500.0] * 10),
        ([500.0, 3.0, 500.0], [500.0] * 7 + [480.0, 480.0, 9.0]),
        ([500.0] * 9, [500.0, 10.0, 480.0]),
    ],
)
def test_groups_are_tested_exactly(first: list[float], second: list[float]) -> None:
    _, p = mann_whitney(np.array(first), np.array(second))
    assert p == pytest.approx(p_by_enumeration(np.array(first), np.array(second)), abs=1e-12)


@pytest.mark.parametrize(("count", "failed"), [(10, 4), (50, 5), (50, 20)])
def test_larger_groups_at_a_ceiling_are_tested_exactly(count: int, failed: int) -> None:
    """With two values, the number of failures in a group is hypergeometric."""
    first = np.where(np.arange(count) < failed, 10.0, 500.0)
    _, p = mann_whitney(first, np.full(count, 500.0))
    assert p == pytest.approx(2 * stats.hypergeom(2 * count, failed, count).sf(failed - 1), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 6), (5, 5), (7, 20), (12, 9), (40, 50)])
def test_the_exact_p_is_that_of_scipy_where_nothing_is_tied(n: int, m: int) -> None:
    first, second = np.random.default_rng(n).normal(0.5, 1, n), np.random.default_rng(m).normal(size=m)
    scipy_p = stats.mannwhitneyu(first, second, method="exact").pvalue
    assert exact_p(first, second) == pytest.approx(scipy_p, rel=1e-9)
    assert mann_whitney(first, second)[1] == pytest.approx(scipy_p, rel=1e-9)


def test_equal_scores_show_nothing() -> None:
    assert mann_whitney(np.full(3, 500.0), np.full(4, 500.0))[1] == pytest.approx(1.0)
    assert mann_whitney(np.full(30, 500.0), np.full(40, 500.0))[1] == pytest.approx(1.0)


def test_a_single_run_is_tested_exactly_with_ties_too() -> None:
    assert mann_whitney(np.array([5.0]), np.array([1.0, 1.0, 2.0]))[1] == pytest.approx(2 / 4)
    assert mann_whitney(np.array([1.0, 1.0, 2.0]), np.array([5.0]))[1] == pytest.approx(2 / 4)
    assert mann_whitney(np.array([1.0]), np.array([1.0, 1.0, 1.0, 2.0]))[1] == 1
    assert mann_whitney(np.array([1.0, 1.0]), np.array([1.0]))[1] == 1


def test_pairs_are_tested_by_their_signs_and_ranks() -> None:
    first = np.array([2.0, 3.0, 4.0, 9.0, 1.0])
    # Signed ranks 1.5, 1.5, 3, 4 of the differences 1, 1, 2, -5; the equal pair says nothing.
    second = np.array([1.0, 2.0, 2.0, 14.0, 1.0])
    sums = [sum(rank for rank, sign in zip((1.5, 1.5, 3, 4), signs, strict=True) if sign) for signs in itertools.product((0, 1), repeat=4)]
    extreme = [abs(each - 5) >= abs(6 - 5) for each in sums]
    assert signed_rank(first, second) == pytest.approx(np.mean(extreme))
    assert signed_rank(first, first) == 1
    assert signed_rank(np.arange(6.0), np.arange(6.0) + np.arange(1, 7)) == pytest.approx(2 / 2**6)
    assert signed_rank(np.arange(30.0), np.arange(30.0) + 1) < 1e-5
    found = paired_improvement(first, second, 0)
    assert found.value == pytest.approx((3 + 0.5) / 5)
    assert found.low < found.value < found.high


def p_by_all_signs(differences: np.ndarray) -> float:
    """Twice the share of the choices of signs with a rank sum at least as low, or at least as high, whichever is smaller."""
    differences = differences[differences != 0]
    size = np.abs(differences)
    ranks = [sum(size < each) + (sum(size == each) + 1) / 2 for each in size]
    sums = [sum(np.array(ranks)[list(signs)]) for signs in itertools.product((False, True), repeat=len(ranks))]
    own = sum(np.array(ranks)[differences > 0])
    return min(1.0, 2 * float(min(np.mean(np.array(sums) <= own), np.mean(np.array(sums) >= own))))


@pytest.mark.parametrize("count", range(1, 11))
def test_few_pairs_are_tested_by_all_signs(count: int) -> None:
    chance = np.random.default_rng(count)
    for levels in (2, 4, 1000):
        differences = chance.integers(-levels, levels + 1, count).astype(float)
        if differences.any():
            assert signed_rank(differences, np.zeros(count)) == pytest.approx(p_by_all_signs(differences), abs=1e-12)


def test_rounding_neither_breaks_ties_nor_makes_differences() -> None:
    first, second = np.array([0.3, 0.6, 0.9, 1.2, 0.1, 0.7, 0.4]), np.array([0.2, 0.5, 0.8, 1.3, 0.2, 0.6, 0.3])
    assert signed_rank(first, second) == pytest.approx(p_by_all_signs(np.rint(10 * (first - second))), abs=1e-12)
    assert signed_rank(first, second) == pytest.approx(0.453125)
    equal = np.array([0.1 + 0.2, 0.7, 0.0]), np.array([0.3, 0.1 + 0.6, 0.0])
    assert signed_rank(*equal) == 1
    assert signed_rank(np.append(first, equal[0]), np.append(second, equal[1])) == pytest.approx(0.453125)
    # The digits are those of each pair: a run with enormous scores does not make the others equal.
    enormous = np.array([3.0, 2.0, 5.0, 4.0, 8.0, 1e15])
    assert signed_rank(enormous, np.array([2.0, 0.0, 2.0, 0.0, 3.0, -1e15])) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("count", [14, 30, 50])
def test_up_to_fifty_pairs_are_tested_exactly_with_ties_too(count: int) -> None:
    differences = np.random.default_rng(count).integers(-3, 5, count).astype(float)
    differences[differences == 0] = 2.0
    ranks = stats.rankdata(np.abs(differences))
    ways = {0.0: 1}  # rank sum of the positive differences -> choices of signs
    for rank in ranks:
        longer: dict[float, int] = {}
        for total, number in ways.items():
            for with_this in (total, total + rank):
                longer[with_this] = longer.get(with_this, 0) + number
        ways = longer
    own = ranks[differences > 0].sum()
    low, high = (sum(number for total, number in ways.items() if way * total <= way * own) for way in (1, -1))
    expected = min(1.0, 2 * min(low, high) / 2**count)
    assert signed_rank(differences, np.zeros(count)) == pytest.approx(expected, rel=1e-12)
    assert signed_rank(np.zeros(count), differences) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [5, 20, 50, 51, 80])
def test_signed_ranks_without_ties_are_tested_as_by_scipy(count: int) -> None:
    first, second = np.random.default_rng(count).normal(size=(2, count))
    assert signed_rank(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # p.adjust(..., "holm") of R
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)


def test_holm_for_more_tests_is_that_with_larger_ones_beside() -> None:
    assert holm([0.03, 0.001], tests=10) == pytest.approx(holm([0.03, 0.001, *[1.0] * 8])[:2])


def test_a_profile_counts_runs_above() -> None:
    scores, thresholds = np.array([1.0, 2.0, 2.0, 10.0]), np.array([0.0, 1.0, 1.5, 2.0, 10.0])
    share, low, high = performance_profile(scores, thresholds, seed=0)
    assert share.tolist() == [1.0, 0.75, 0.75, 0.25, 0.0]
    assert (low <= share).all()
    assert (share <= high).all()


def test_a_band_is_an_interval_at_each_point() -> None:
    values = np.random.default_rng(5).normal(size=(6, 3))
    middle, low, high = band(values, seed=0)
    for point in range(3):
        alone = estimate(values[:, point], iqm, seed=1)
        assert middle[point] == pytest.approx(alone.value)
        assert (low[point], high[point]) == pytest.approx((alone.low, alone.high), abs=0.15)
