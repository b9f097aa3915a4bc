"""How long a call takes, as the benchmarks measure it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(call: Callable[[], object], repeats: int, *, warm: int = 3, at_least_s: float = 0.0) -> float:
    """Seconds of a call: the median of several measurements, each the mean of its calls.

    Args:
        call: what is measured.
        repeats: measurements.
        warm: calls before the first of them, which compile, allocate and wake the threads.
        at_least_s: a measurement goes on calling for so long, so that the clock's own steps do not count.
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
