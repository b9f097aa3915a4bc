"""The duration of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(call: Callable[[], object], repeats: int, *, warm: int = 3, at_least_s: float = 0.0) -> float:
    """Seconds for a call: the median of several measurements, each the mean of its calls.

    Args:
        call: the function to measure.
        repeats: number of measurements.
        warm: calls before the first measurement; they compile, allocate and start the threads.
        at_least_s: shortest duration of a measurement in seconds; short calls are repeated, so that the clock's resolution does not matter.
    """
    for _ in range(warm):
        call()
    times = []
    for _ in range(repeats):
        start, calls = time.perf_counter(), 0
        while not calls or time.perf_counter() - start < at_least_s:
            call()
            calls += 1
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)
