"""How the benchmarks take the time of a call."""

from __future__ import annotations

import time

from nchl.cli.timing import median_seconds


def test_calls_before_and_in_each_measurement() -> None:
    calls: list[float] = []
    assert median_seconds(lambda: calls.append(0.0), 4, warm=2) < 0.1
    assert len(calls) == 2 + 4
    calls.clear()
    median_seconds(lambda: calls.append(0.0), 1, warm=0, at_least_s=0.001)
    assert len(calls) > 1


def test_one_slow_call_does_not_count() -> None:
    waits = iter((0.0, 0.0, 0.05, 0.0, 0.0))
    assert median_seconds(lambda: time.sleep(next(waits)), 5, warm=0) < 0.04
