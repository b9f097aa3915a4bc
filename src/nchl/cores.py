"""The processors that this process may use: fewer than the machine has where somebody has limited it (taskset, a scheduler, a sweep)."""

from __future__ import annotations

import os


def available() -> list[int]:
    """Their numbers, in order; one for each that there is where the system does not say which are allowed."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
