"""Statistics for a handful of runs, by scipy: interquartile means, bootstrap intervals, rank tests.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021), who recommend the
interquartile mean with an interval, the probability of improvement, and the performance profile. Their bootstrap is stratified by task;
a comparison here has one task, so the runs of a group are the only stratum.

All intervals are 95 % percentile bootstrap intervals. With five runs they contain the true value less often than that
(`docs/compare.md` has measured shares).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from nchl.errors import InvalidArgument, require

CONFIDENCE = 0.95
RESAMPLES = 10_000
RESAMPLES_OF_A_BAND = 2_000  # a band is drawn, not quoted
_MOST_FOR_EXACT = 5_000  # runs of both groups by those of the smaller one: 50 against 50
_MOST_SIGNS_FOR_EXACT = 50
_ROUNDING = 1e-12  # relative: float64 has nearly 16 digits, of which sums of a thousand rewards may lose 3
_LARGEST_BATCH = 1 << 22  # resampled values in memory at once

Statistic = Callable[..., Any]


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval; NaN ends for a single run."""

    value: float
    low: float
    high: float


def iqm(values: Float[np.ndarray, "*shape"], axis: int = -1) -> Any:
    """Interquartile mean: the mean without the lowest and the highest quarter, each rounded down to whole values."""
    return _scipy().trim_mean(values, 0.25, axis=axis)


def estimate(values: Float[np.ndarray, " n"], statistic: Statistic, seed: int) -> Interval:
    """A statistic of the runs of one group with its bootstrap interval.

    Args:
        values: one finite score per run.
        statistic: a function of an array and `axis`, for example `iqm` or `numpy.median`.
        seed: seed of the bootstrap.

    Raises:
        InvalidArgument: there are no values, or one is not finite.
    """
    values = _finite(values)
    low, high = _interval((values,), statistic, seed, RESAMPLES)
    return Interval(float(statistic(values, axis=-1)), float(low), float(high))


def improvement(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"], seed: int) -> Interval:
    """Probability that a run of the first group scores higher than one of the second; a tie counts one half.

    It is the Mann-Whitney statistic divided by n m.
    """
    first, second = _finite(first), _finite(second)
    low, high = _interval((first, second), share_higher, seed, RESAMPLES_OF_A_BAND)
    return Interval(float(share_higher(first, second)), float(low), float(high))


def share_higher(first: Float[np.ndarray, "*shape n"], second: Float[np.ndarray, "*shape m"], axis: int = -1) -> Any:
    """Share of all pairs of a value of the first and one of the second of which the first is higher, a tie counting one half."""
    x, y = np.moveaxis(first, axis, -1)[..., :, None], np.moveaxis(second, axis, -1)[..., None, :]
    return np.mean((x > y) + 0.5 * (x == y), axis=(-2, -1))


def mann_whitney(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """U of the first group and the two-sided p-value: exact, also with ties, up to 50 against 50 runs and sizes of that cost."""
    stats = _scipy()
    first, second = _finite(first), _finite(second)
    count, fewer = len(first) + len(second), min(len(first), len(second))
    exact, tied = count * fewer <= _MOST_FOR_EXACT, len(np.unique(np.concatenate([first, second]))) < count
    method: Any = "exact" if exact and not tied else "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all scores are equal: scipy divides by a spread of 0
        result = stats.mannwhitneyu(first, second, alternative="two-sided", method=method)
    if tied and exact:  # scipy would take the normal approximation
        return float(result.statistic), exact_p(first, second)
    return float(result.statistic), float(result.pvalue) if np.isfinite(result.pvalue) else 1.0


def exact_p(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> float:
    """Two-sided p-value of the first group's rank sum among all choices of as many of the values, which may be tied.

    Twice the smaller tail, as of scipy's exact test.
    """
    first, second = sorted([first, second], key=len)
    doubled = np.rint(2 * _scipy().rankdata(np.concatenate([first, second]))).astype(np.int64)  # tied values share half a rank
    own, most = doubled[: len(first)].sum(), np.sort(doubled)[-len(first) :].sum()
    ways = np.zeros((len(first) + 1, most + 1))  # [k, s]: choices of k values with the doubled rank sum s
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, : most + 1 - rank]
    tails = ways[-1, : own + 1].sum(), ways[-1, own:].sum()
    return float(min(1.0, 2 * min(tails) / ways[-1].sum()))


def signed_rank(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test, number by number: exact, also with ties, up to 50 pairs that differ.

    Numbers that are equal in about 12 significant digits of the pair are equal: equal pairs say nothing, equal differences are tied.
    """
    first, second = _finite(first), _finite(second)
    differences, rounding = first - second, _ROUNDING * np.maximum(np.abs(first), np.abs(second))
    differing = np.abs(differences) > rounding
    differences, rounding = differences[differing], rounding[differing]
    if not len(differences):
        return 1.0
    order = np.argsort(np.abs(differences))
    apart = np.diff(np.abs(differences)[order]) > np.maximum(rounding[order][1:], rounding[order][:-1])
    sizes = np.empty(len(order))
    sizes[order] = np.cumsum([1, *apart])  # whole numbers in the order of the differences' sizes, equal for ties
    if len(sizes) <= _MOST_SIGNS_FOR_EXACT:
        return _exact_p_of_signs(sizes, differences > 0)
    return float(_scipy().wilcoxon(np.sign(differences) * sizes, alternative="two-sided").pvalue)


def _exact_p_of_signs(sizes: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Twice the smaller tail of the rank sum of the positive differences, among all choices of signs."""
    doubled = np.rint(2 * _scipy().rankdata(sizes)).astype(np.int64)
    own = doubled[positive].sum()
    ways = np.zeros(doubled.sum() + 1)  # [s]: choices of signs with the doubled rank sum s
    ways[0] = 1
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    return float(min(1.0, 2 * min(ways[: own + 1].sum(), ways[own:].sum()) / ways.sum()))


def paired_improvement(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], seed: int) -> Interval:
    """Share of the pairs of which the first is higher, a tie counting one half; the bootstrap resamples pairs."""
    first, second = _finite(first), _finite(second)
    return estimate((first > second) + 0.5 * (first == second), np.mean, seed)


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the order given.

    The k-th smallest of m (from 0) is multiplied by m - k and is at least as large as the one before it. With `tests`, m is this number:
    of so many, those given were chosen by the data, and the others count as larger.
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    count = len(p) if tests is None else tests
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (count - np.arange(len(p)))))
    return [float(value) for value in adjusted]


class Tested(NamedTuple):
    """A pair of samples that were compared.

    Attributes:
        improvement: probability that a value of the first is higher, with its interval.
        u: Mann-Whitney statistic of the first.
        p: two-sided p-value.
        p_holm: p-value after Holm's correction for all pairs that were compared together.
    """

    improvement: Interval
    u: float
    p: float
    p_holm: float


def tested(pairs: Sequence[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]], seed: int) -> list[Tested]:
    """Each pair by `improvement` and `mann_whitney`, corrected for all of them by `holm`."""
    tests = [mann_whitney(first, second) for first, second in pairs]
    adjusted = holm([p for _, p in tests])
    return [
        Tested(improvement(first, second, seed), u, p, p_holm)
        for (first, second), (u, p), p_holm in zip(pairs, tests, adjusted, strict=True)
    ]


def performance_profile(
    values: Float[np.ndarray, " n"], thresholds: Float[np.ndarray, " t"], seed: int
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Share of the runs with a score above each threshold, and the ends of its interval at each."""
    above = (_finite(values)[:, None] > thresholds[None, :]).astype(np.float64)
    return _band(above, np.mean, seed)


def band(
    values: Float[np.ndarray, "n points"], seed: int
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Interquartile mean over the runs at each point, and the ends of its interval at each (point by point, not jointly)."""
    return _band(values, iqm, seed)


def mean_band(
    values: Float[np.ndarray, "n points"], seed: int
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """As `band`, of means."""
    return _band(values, np.mean, seed)


def ratio(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], seed: int) -> Interval:
    """The mean of the first by the mean of the second, number by number of one another's twins, with its bootstrap interval.

    No interval (NaN) if a resampled mean of the second is not above 0: quotients on both sides of 0 have no order.
    """
    first, second = _finite(first), _finite(second)
    twins = np.stack([first, second], axis=-1)  # resampled together
    mean, other = twins.mean(axis=0)
    low = high = float("nan")
    if len(twins) > 1:
        random = np.random.default_rng(seed)
        drawn = np.array([twins[random.integers(len(twins), size=len(twins))].mean(axis=0) for _ in range(RESAMPLES_OF_A_BAND)])
        if (drawn[:, 1] > 0).all():
            low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(mean / other), float(low), float(high))


def _band(values: np.ndarray, statistic: Statistic, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    by_point = np.ascontiguousarray(values.T)
    low, high = _interval((by_point,), statistic, seed, RESAMPLES_OF_A_BAND)
    return np.asarray(statistic(by_point, axis=-1)), np.asarray(low), np.asarray(high)


def _interval(samples: tuple[np.ndarray, ...], statistic: Statistic, seed: int, resamples: int) -> tuple[Any, Any]:
    """The percentile interval by `scipy.stats.bootstrap`; runs are the last axis, and all points share the resamples."""
    shape = samples[0].shape[:-1]
    if min(sample.shape[-1] for sample in samples) < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    size = max(1, int(np.prod(shape))) * int(np.prod([sample.shape[-1] for sample in samples]))
    result = _scipy().bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=max(1, min(resamples, _LARGEST_BATCH // size)),
        vectorized=True,
        axis=-1,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        raise InvalidArgument(f"scores must be finite numbers, at least one, got {values.tolist()}")
    return values


def _scipy() -> Any:
    """`scipy.stats`: an extra, and slow to import."""
    return require("scipy.stats", "report")
