"""Pairs of rows that are tested: controls within a group, and groups as evolved, of each perturbation.

Controls of one group are the same runs, and of a single run the same episodes: they are compared by paired tests. Groups are different
individuals, and compared by tests of independent samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nchl.report.adaptation.recovery import paired_recovery_test, recovery_test
from nchl.report.adaptation.results import Pair, Row
from nchl.report.compare.statistics import Interval, holm, improvement, mann_whitney, paired_improvement, signed_rank
from nchl.runs.adaptation.trials import CONTROLS


class _Tested(NamedTuple):
    improvement: Interval
    p: float
    recovery_p: float | None


def compare_rows(rows: Sequence[Row], seed: int) -> tuple[Pair, ...]:
    """Every pair with its tests, corrected for all of them.

    Args:
        rows: of a study.
        seed: of the bootstrap.
    """
    chosen = [
        tuple(sorted((a, b), key=lambda row: -row.mean.value))
        for a, b in itertools.combinations(rows, 2)
        if a.perturbation == b.perturbation
        and (a.group == b.group or a.control == b.control == CONTROLS[0])
        and CONTROLS[0] in (a.control, b.control)
    ]
    of_chosen = [_in_order(a, b, seed) for a, b in chosen]
    chosen, tests = [rows for rows, _ in of_chosen], [test for _, test in of_chosen]
    corrected = holm([test.p for test in tests])
    recoveries = iter(holm([test.recovery_p for test in tests if test.recovery_p is not None]))
    return tuple(
        Pair(
            a.perturbation,
            (a.group, a.control),
            (b.group, b.control),
            a.group == b.group,
            test.improvement,
            test.p,
            p_holm,
            test.recovery_p,
            None if test.recovery_p is None else next(recoveries),
        )
        for (a, b), test, p_holm in zip(chosen, tests, corrected, strict=True)
    )


def _in_order(a: Row, b: Row, seed: int) -> tuple[tuple[Row, Row], _Tested]:
    """The rows and their tests, in the order in which the first is more probably higher."""
    test = _paired if a.group == b.group else _independent
    found = test(a, b, seed)
    return ((b, a), test(b, a, seed)) if found.improvement.value < 0.5 else ((a, b), found)


def _independent(a: Row, b: Row, seed: int) -> _Tested:
    recovered = recovery_test(a.recoveries, b.recoveries)
    first, second = (_comparable(row, several=max(len(a.recoveries), len(b.recoveries)) > 1) for row in (a, b))
    return _Tested(improvement(first, second, seed), mann_whitney(first, second)[1], recovered)


def _comparable(row: Row, several: bool) -> np.ndarray:
    """The returns of a row; a single run beside a group of several is one number, as each run of that group is."""
    return np.array([row.values.mean()]) if several and len(row.recoveries) == 1 else row.values


def _paired(a: Row, b: Row, seed: int) -> _Tested:
    recovered = paired_recovery_test(a.recoveries, b.recoveries)
    both = np.isfinite(a.returns) & np.isfinite(b.returns)
    if not both.any():
        return _Tested(Interval(0.5, float("nan"), float("nan")), 1.0, recovered)
    first, second = a.returns[both], b.returns[both]
    return _Tested(paired_improvement(first, second, seed), signed_rank(first, second), recovered)
