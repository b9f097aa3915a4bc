"""Adaptive time limits for workers, from the durations of finished jobs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Timeouts:
    """Time limits for workers.

    Attributes:
        start: seconds to start, import and compile.
        first: seconds for a job before any has finished.
        floor: seconds added to every later limit.
        factor: how many times slower per environment step a job may be than the slowest of the last 64.
    """

    start: float = 600.0
    first: float = 1200.0
    floor: float = 30.0
    factor: float = 5.0
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=64))

    def record(self, seconds: float, steps: int) -> None:
        """Record the duration of a finished job of so many environment steps."""
        self._rates.append(seconds / max(steps, 1))

    def allowed(self, most_steps: int) -> float:
        """Seconds for a job of at most so many environment steps."""
        return self.floor + self.factor * max(self._rates) * most_steps if self._rates else self.first

    def extend(self) -> None:
        """Double the limits after a timeout: the machine itself may have become slower."""
        self.factor *= 2
        self.floor *= 2
