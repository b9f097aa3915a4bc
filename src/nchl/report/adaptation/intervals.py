"""Bootstrap intervals of figures that pool the episodes of several units.

A unit is a run where a group has several, else an episode. A resample draws units with all of their episodes, and takes the figure of
these episodes together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from nchl.report.adaptation.recovery import Recovery
from nchl.report.compare.statistics import CONFIDENCE, RESAMPLES_OF_A_BAND, Interval

_ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def pooled_mean(units: Sequence[Float[np.ndarray, " values"]], seed: int) -> Interval | None:
    """The mean of all values of all units; None without any.

    Args:
        units: values of each; one that is NaN is left out.
        seed: of the resampling.
    """
    kept = [values[np.isfinite(values)] for values in units]
    sums, counts = (np.array([of(values) for values in kept if len(values)], dtype=np.float64) for of in (np.sum, len))
    if not len(sums):
        return None
    value = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(value, float("nan"), float("nan"))
    drawn = _drawn(len(sums), seed)
    low, high = np.quantile((drawn @ sums) / (drawn @ counts), _ENDS)
    return Interval(value, float(low), float(high))


def median_steps(units: Sequence[Recovery], seed: int) -> tuple[float | None, float | None]:
    """The ends of the interval of the median time to recover; None for one that lies where fewer than half recover.

    Args:
        units: times to recover of each.
        seed: of the resampling.
    """
    judged = [unit for unit in units if len(unit.steps)]
    if len(judged) < 2:
        return None, None
    steps, recovered = (np.concatenate([getattr(unit, name) for unit in judged]) for name in ("steps", "recovered"))
    unit_of = np.repeat(np.arange(len(judged)), [len(unit.steps) for unit in judged])
    medians = _medians(steps, recovered, _drawn(len(judged), seed)[:, unit_of])
    # Of two medians, never a number between them: one may be infinite.
    ends = float(np.quantile(medians, _ENDS[0], method="lower")), float(np.quantile(medians, _ENDS[1], method="higher"))
    low, high = (end if np.isfinite(end) else None for end in ends)
    return low, high


def episodes_of(recovery: Recovery) -> list[Recovery]:
    """Each judged episode alone."""
    return [Recovery(recovery.steps[k : k + 1], recovery.recovered[k : k + 1]) for k in range(len(recovery.steps))]


def _drawn(units: int, seed: int) -> Int[np.ndarray, "resamples units"]:
    """How often each unit is in each resample."""
    random = np.random.default_rng(seed)
    return random.multinomial(units, np.full(units, 1 / units), size=RESAMPLES_OF_A_BAND)


def _medians(
    steps: Int[np.ndarray, " episodes"], recovered: np.ndarray, weights: Int[np.ndarray, "resamples episodes"]
) -> Float[np.ndarray, " resamples"]:
    """`Recovery.median` of each resample; infinite where it is None."""
    order = np.argsort(steps, kind="stable")
    times, begins = np.unique(steps[order], return_index=True)
    gone = np.add.reduceat(weights[:, order], begins, axis=1)
    back = np.add.reduceat((weights * recovered)[:, order], begins, axis=1)
    looked_at = np.cumsum(gone[:, ::-1], axis=1)[:, ::-1]
    left = np.cumprod(1 - back / np.maximum(looked_at, 1), axis=1)
    reached = left <= 0.5 + 1e-12
    found = np.where(reached.any(1), times[np.argmax(reached, axis=1)], np.inf)
    half = 2 * back.sum(1) >= gone.sum(1)
    medians: np.ndarray = np.where(half, found, np.inf)
    return medians
