"""Measures of an individual after a perturbation: reward around the moment, and time to recover.

**Time to recover**: the first k at which the mean reward of the window of steps that begins at M + k is back to 90 % of the intact twin's
mean over the same steps (M the moment; 90 % of m is m - 0.1 |m|, so that negative rewards are judged alike). Only steps that the
individual has lived count. One that is never worse has recovered at k = 0. One that never gets there is censored at the last k that the
twin's episode has room for. An episode is not judged if its twin ends within a window of the moment, or was not finite; one that is itself
not finite has not recovered.

Shares of recovery over time are Kaplan and Meier's estimate. Two individuals are compared by the log-rank test over their episodes.
Episodes of one individual are not independent, so groups of several runs are compared by one number for each run: its restricted mean
time to recover. All by scipy.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from nchl.errors import require
from nchl.report.compare.statistics import mann_whitney, signed_rank
from nchl.runs.adaptation.trials import Trial

WINDOW = 50  # steps, where none is given
SHARE = 0.9


@dataclass(frozen=True)
class Recovery:
    """When the episodes of a trial have recovered.

    Attributes:
        steps: until then, of the network; of a censored episode, until it was last looked at.
        recovered: whether it has.
        left_out: episodes that cannot be judged.
        episodes: numbers of those that are, for pairs.
    """

    steps: Int[np.ndarray, " judged"]
    recovered: Bool[np.ndarray, " judged"]
    left_out: int = 0
    episodes: tuple[int, ...] = ()

    @property
    def share(self) -> float | None:
        """Of the judged episodes that have recovered."""
        return float(self.recovered.mean()) if len(self.recovered) else None

    @property
    def median(self) -> float | None:
        """Kaplan and Meier's median of the steps; None where fewer than half recover."""
        if self.share is None or self.share < 0.5:
            return None
        times, open_share = self.curve()
        below = np.flatnonzero(open_share <= 0.5 + 1e-12)  # a half, however it is rounded
        return float(times[below[0]]) if len(below) else None

    def curve(self) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, " times"]]:
        """Kaplan and Meier's estimate: steps after the moment, and the share that has not recovered by then."""
        if not len(self.steps):
            return np.zeros(0), np.zeros(0)
        survival = require("scipy.stats", "report").ecdf(self._censored()).sf
        return np.asarray(survival.quantiles, dtype=np.float64), np.asarray(survival.probabilities, dtype=np.float64)

    @property
    def last(self) -> float:
        """The last step that `curve` is known at; infinite if all have recovered by then."""
        _, left = self.curve()
        return float(self.steps.max()) if left[-1] > 0 else float("inf")

    def restricted_mean(self, horizon: float) -> float:
        """Mean time to recover within so many steps: the area under `curve`; one that has not recovered by then counts `horizon`."""
        times, left = self.curve()
        ends = np.concatenate([np.minimum(times, horizon), [horizon]])
        return float(np.diff(ends, prepend=0.0) @ np.concatenate([[1.0], left]))

    def _censored(self) -> Any:
        stats = require("scipy.stats", "report")
        return stats.CensoredData.right_censored(self.steps.astype(np.float64), ~self.recovered)


def recovery(trials: Sequence[Trial], window: int = WINDOW) -> Recovery:
    """The times to recover of all episodes of some trials, by the mean reward of so many steps."""
    found = [_episode(trial, episode, window) for trial in trials for episode in range(len(trial.moments))]
    judged = [(number, *each) for number, each in enumerate(found) if each is not None]
    steps, recovered = np.array([each[1] for each in judged], dtype=np.int64), np.array([each[2] for each in judged], dtype=np.bool_)
    return Recovery(steps, recovered, len(found) - len(judged), tuple(each[0] for each in judged))


def recovery_test(first: Sequence[Recovery], second: Sequence[Recovery]) -> float | None:
    """Two-sided p-value of equal times to recover of two groups of runs; None where there is nothing to compare.

    Two individuals: the log-rank test over their episodes. Else the Mann-Whitney test of one number for each run, its restricted mean time
    to recover up to the last step that all runs were looked at.
    """
    if len(first) == len(second) == 1:
        return log_rank(first[0], second[0])
    groups = [[run for run in runs if len(run.steps)] for runs in (first, second)]
    if not all(groups):
        return None
    means = _restricted_means([*groups[0], *groups[1]])
    return mann_whitney(means[: len(groups[0])], means[len(groups[0]) :])[1]


def paired_recovery_test(first: Sequence[Recovery], second: Sequence[Recovery]) -> float | None:
    """As `recovery_test`, for the same runs under two controls.

    One individual: the sign test of its episodes, which of the two recovers earlier; an episode that tells nothing counts for neither. Else
    the signed-rank test of the runs' restricted means.
    """
    if len(first) == 1:
        return _sign_test(first[0], second[0])
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if len(a.steps) and len(b.steps)]
    if not pairs:
        return None
    means = _restricted_means([run for pair in pairs for run in pair])
    return signed_rank(means[::2], means[1::2])


def _restricted_means(runs: Sequence[Recovery]) -> Float[np.ndarray, " runs"]:
    horizon = min(run.last for run in runs)
    if not np.isfinite(horizon):
        horizon = float(max(run.steps.max() for run in runs))
    return np.array([run.restricted_mean(horizon) for run in runs])


def _sign_test(first: Recovery, second: Recovery) -> float | None:
    mine, other = (dict(zip(each.episodes, zip(each.steps, each.recovered, strict=True), strict=True)) for each in (first, second))
    both = [(mine[episode], other[episode]) for episode in mine if episode in other]
    if not both:
        return None
    earlier, later = (sum(_is_earlier(*pair[::way]) for pair in both) for way in (1, -1))
    return float(require("scipy.stats", "report").binomtest(earlier, earlier + later).pvalue) if earlier + later else 1.0


def _is_earlier(mine: tuple[int, bool], other: tuple[int, bool]) -> bool:
    """Whether the first has recovered before the second; one that is censored at a step recovers after it."""
    return mine[1] and (mine[0] < other[0] or (mine[0] == other[0] and not other[1]))


def log_rank(first: Recovery, second: Recovery) -> float | None:
    """Two-sided p-value of the log-rank test; None where there is nothing to compare, 1 where both are alike to the last step."""
    if not len(first.steps) or not len(second.steps):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        p = float(require("scipy.stats", "report").logrank(first._censored(), second._censored()).pvalue)
    return p if np.isfinite(p) else 1.0


def around(trial: Trial, window: int = WINDOW) -> dict[str, Float[np.ndarray, " episodes"]]:
    """Mean reward per step `before` the moment, just `after` it and `late` (the last steps of the twin's episode), a window of steps each.

    A step after the end of an episode counts 0. NaN where there is no such step, or where the episode or its twin was not finite.
    """
    found = {
        name: np.array([_mean(trial.perturbed.rewards[k], *_span(name, trial, k, window)) for k in range(len(trial.moments))])
        for name in ("before", "after", "late")
    }
    return {name: np.where(trial.sound, means, np.nan) for name, means in found.items()}


def _span(name: str, trial: Trial, episode: int, window: int) -> tuple[int, int]:
    moment, end = int(trial.moments[episode]), int(trial.intact.lengths[episode])
    if name == "before":
        return max(0, moment - window), min(moment, end)
    if name == "after":
        return moment, min(moment + window, end)
    return max(moment, end - window), end


def _mean(rewards: np.ndarray, begin: int, end: int) -> float:
    if end <= begin:
        return float("nan")
    kept = rewards[begin:end]
    return float(kept.sum() / (end - begin))


def _episode(trial: Trial, episode: int, window: int) -> tuple[int, bool] | None:
    moment, end = int(trial.moments[episode]), int(trial.intact.lengths[episode])
    room = end - moment - window + 1  # values of k that the twin's episode has room for
    if room < 1 or not np.isfinite(trial.intact.returns[episode]):
        return None
    twin, own = (_window_means(played.rewards[episode], moment, end, window) for played in (trial.intact, trial.perturbed))
    lived = int(trial.perturbed.lengths[episode]) - moment - window + 1
    good = own >= twin - (1 - SHARE) * np.abs(twin) - 1e-12
    good[max(0, lived) :] = False
    if not np.isfinite(trial.perturbed.returns[episode]):
        good[:] = False
    first = np.flatnonzero(good)
    return (int(first[0]), True) if len(first) else (room - 1, False)


def _window_means(rewards: np.ndarray, begin: int, end: int, window: int) -> np.ndarray:
    """Means of `window` steps that begin at `begin`, `begin` + 1, ... and end before `end`."""
    padded = np.zeros(end - begin)
    kept = rewards[begin:end]
    padded[: len(kept)] = kept
    sums = np.concatenate([[0.0], np.cumsum(padded)])
    means: np.ndarray = (sums[window:] - sums[:-window]) / window
    return means
