"""The processors that this process may use: fewer than the machine has under taskset, a scheduler or a sweep."""

from __future__ import annotations

import os


def available() -> list[int]:
    """Their numbers, in order; all processors on systems that do not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
