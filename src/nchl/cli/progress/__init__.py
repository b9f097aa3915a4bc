"""Progress on stderr: bars that stay in place on a terminal, plain lines elsewhere.

Results go to stdout, so that `nchl evolve ... --json > result.json` works.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import Self

SECONDS_BETWEEN_LINES = 10.0
OnTerminal = TypeVar("OnTerminal")
Elsewhere = TypeVar("Elsewhere")


def say(line: str) -> None:
    """Print one line to stderr."""
    from nchl.cli import harmless

    # A terminal that is gone, or a Ctrl-C in the middle of another line, must not end the work.
    with contextlib.suppress(OSError, RuntimeError):
        print(harmless(line), file=sys.stderr, flush=True)


def choose(bars: Callable[[], OnTerminal], lines: Callable[[], Elsewhere]) -> OnTerminal | Elsewhere:
    """Call `bars` on a terminal with rich installed, `lines` elsewhere."""
    if sys.stderr.isatty():
        try:
            return bars()
        except ImportError:  # rich comes with the extra sim
            pass
    return lines()


class Lines:
    """Progress in plain lines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Print one line."""
        say(line)


class Bars:
    """Progress in bars by rich.

    Args:
        columns: rich's columns.
        per_second: refreshes per second.
    """

    def __init__(self, *columns: Any, per_second: float = 4) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.bars = Progress(*columns, console=Console(stderr=True), refresh_per_second=per_second)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone
            self.bars.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        with contextlib.suppress(OSError):
            self.bars.console.print(line, markup=False, highlight=False)


class Rarely:
    """Decides when a line is due: one per pause.

    Args:
        seconds: length of a pause.
        clock: seconds that only grow.
        first_at_once: whether the first line is due at once, not after a pause.
    """

    def __init__(
        self, seconds: float = SECONDS_BETWEEN_LINES, clock: Callable[[], float] = time.monotonic, *, first_at_once: bool = False
    ) -> None:
        self._seconds, self._clock = seconds, clock
        self._next = clock() + (0.0 if first_at_once else seconds)

    def due(self) -> bool:
        """Whether the pause is over; if so, the next one begins."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
