"""How long a call takes, as the benchmarks measure it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def median_seconds(call: Callable[[], object], repeats: int, *, warm: int = 3, at_least_s: float = 0.0) -> float:
    """Seconds of a call: the median of several measurements, each the mean of its calls.

    Args:
        call: what is measured.
        repeats: measurements.
        warm: calls before the first of them, which compile, allocate and wake the threads.
        at_least_s: a measurement goes on calling for so long, so that the clock's own steps do not count.
    """
    return medians_in_turn([call], repeats, warm=warm, at_least_s=at_least_s)[0]


def medians_in_turn(calls: Sequence[Callable[[], object]], repeats: int, *, warm: int = 3, at_least_s: float = 0.0) -> list[float]:
    """Seconds of each of several calls that are to be compared, as `median_seconds` has them.

    They are measured in turn, so that a machine that slows down for a while slows all of them.
    """
    for call in calls:
        for _ in range(warm):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, own in zip(calls, times, strict=True):
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < at_least_s:
                call()
                count += 1
            own.append((time.perf_counter() - start) / count)
    return [statistics.median(own) for own in times]
