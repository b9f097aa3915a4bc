"""How long a worker may take: learnt from those that were done, because nobody knows how fast a machine is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Patience:
    """How long a worker may take, learnt from the slices that were finished.

    Attributes:
        start: seconds to start, to import and to compile.
        first: seconds for a slice before any was finished.
        floor: seconds for any slice, on top of what was learnt.
        factor: by how much a slice may be slower than the slowest of the last ones, step by step of the longest possible lives.
    """

    start: float = 600.0
    first: float = 1200.0
    floor: float = 30.0
    factor: float = 5.0
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=64))

    def learn(self, seconds: float, steps: int) -> None:
        """Take in that so many environment steps took so long."""
        self._rates.append(seconds / max(steps, 1))

    def allowed(self, most_steps: int) -> float:
        """Seconds for a slice of at most so many steps."""
        return self.floor + self.factor * max(self._rates) * most_steps if self._rates else self.first

    def missed(self) -> None:
        """Somebody took longer: perhaps it was the machine, so everybody gets more time from now on."""
        self.factor *= 2
        self.floor *= 2
