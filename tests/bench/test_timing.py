"""`median_seconds`, with a clock of the tests' own, so that results do not depend on the machine."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import pytest

from nchl.bench.timing import median_seconds


class Clock:
    """A clock that only calls advance: each by the next of `durations`."""

    def __init__(self, durations: Iterable[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.calls, self._durations = 0.0, 0, iter(durations)
        monkeypatch.setattr("nchl.bench.timing.time.perf_counter", lambda: self.now)

    def call(self) -> None:
        self.calls += 1
        self.now += next(self._durations)


def test_calls_before_and_in_each_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(repeat(0.25), monkeypatch)
    assert median_seconds(clock.call, 4, warm=2) == 0.25
    assert clock.calls == 2 + 4
    clock = Clock(repeat(0.25), monkeypatch)
    assert median_seconds(clock.call, 3, warm=0, at_least_s=0.7) == 0.25
    assert clock.calls == 3 * 3


def test_warm_up_calls_and_a_single_slow_call_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert median_seconds(Clock((9.0, 9.0, 1.0, 2.0, 5.0, 3.0, 1.0), monkeypatch).call, 5, warm=2) == 2.0
