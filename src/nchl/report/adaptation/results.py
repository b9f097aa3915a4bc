"""Rows of a study: one for each group, perturbation and control, and the pairs of rows that were tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl.report.adaptation.recovery import Recovery
from nchl.report.compare.statistics import Interval


@dataclass(frozen=True)
class Row:
    """A group of runs under one perturbation and one control.

    Attributes:
        group: its name.
        perturbation: its label.
        text: its text.
        control: one of `runs.adaptation.trials.CONTROLS`.
        mean: return, with its 95 % interval.
        intact: return of the intact twins, with its interval.
        retained: mean by intact mean, with its interval; None where that is not above 0.
        lost: mean of what each unit's return is below that of its twin, with its interval.
        recovery: times to recover of all episodes.
        recoveries: those of each run.
        recovered: share of the judged episodes that have recovered, with its interval; None where none is judged.
        median_low, median_high: the interval of `recovery.median`; None for an end that lies where fewer than half recover.
        before, after, late: mean reward per step with its interval, see `recovery.around`; None where there is no such step.
        returns: (units,) what `mean` and the tests are about: of episodes, or of runs where a group has several; NaN if not finite.
        curve: reward per step around the moment: offset, mean, low, high and intact (the twins'), lists of equal length.
        non_finite: episodes that were not finite and are in none of the figures.
    """

    group: str
    perturbation: str
    text: str
    control: str
    mean: Interval
    intact: Interval
    retained: Interval | None
    lost: Interval
    recovery: Recovery
    recoveries: tuple[Recovery, ...] = field(repr=False)
    recovered: Interval | None
    median_low: float | None
    median_high: float | None
    before: Interval | None
    after: Interval | None
    late: Interval | None
    returns: Float[np.ndarray, " units"] = field(repr=False)
    curve: dict[str, list[float]] = field(repr=False)
    non_finite: int = 0

    @property
    def values(self) -> Float[np.ndarray, " finite"]:
        """The finite returns."""
        values: np.ndarray = self.returns[np.isfinite(self.returns)]
        return values

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        told: dict[str, Any] = {
            "group": self.group,
            "perturbation": self.perturbation,
            "control": self.control,
            "mean": self.mean.value,
            "low": self.mean.low,
            "high": self.mean.high,
            "intact_mean": self.intact.value,
        }
        measured = {
            "retained": self.retained,
            "intact": self.intact,
            "lost": self.lost,
            "recovered": self.recovered,
            "reward_before": self.before,
            "reward_after": self.after,
            "reward_late": self.late,
        }
        for name, interval in measured.items():
            value, low, high = (None, None, None) if interval is None else interval
            if name != "intact":  # its mean is there under another name
                told[name] = value
            told |= {f"{name}_low": low, f"{name}_high": high}
        return {
            **told,
            "recovery_steps": self.recovery.median,
            "recovery_steps_low": self.median_low,
            "recovery_steps_high": self.median_high,
            "judged": len(self.recovery.steps),
            "non_finite": self.non_finite,
            "spec": self.text,
        }


@dataclass(frozen=True)
class Pair:
    """Two rows of one perturbation: how probably the first has the higher return, and whether the two recover alike.

    Attributes:
        perturbation: its label.
        first, second: group and control of each; the improvement is at least one half, and of equal ones the first has the higher mean.
        paired: whether the two are one group under two controls: then each run, or each episode of a single run, is compared with itself.
        improvement: probability that a return of the first is higher, with its interval; paired: that of the same run or episode.
        p, p_holm: of the two-sided Mann-Whitney test (paired: signed-rank test), and corrected for all pairs of the study.
        recovery_p, recovery_p_holm: of the times to recover, see `recovery.recovery_test` and `recovery.paired_recovery_test`; None where
            none can be judged.
    """

    perturbation: str
    first: tuple[str, str]
    second: tuple[str, str]
    paired: bool
    improvement: Interval
    p: float
    p_holm: float
    recovery_p: float | None
    recovery_p_holm: float | None

    def to_json(self) -> dict[str, Any]:
        """The pair as plain JSON values."""
        sides = {f"{side}_{what}": getattr(self, side)[k] for side in ("first", "second") for k, what in enumerate(("group", "control"))}
        tests = {name: getattr(self, name) for name in ("p", "p_holm", "recovery_p", "recovery_p_holm")}
        return {"perturbation": self.perturbation, **sides, "paired": self.paired, "improvement": self.improvement._asdict(), **tests}
