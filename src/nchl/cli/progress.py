"""How a run is followed: one line that stays in place on a terminal, or a plain line every few seconds elsewhere.

Progress goes to stderr, results go to stdout, so that `nchl evolve ... --json > result.json` works.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from nchl.report.formatting import duration, figure, size

if TYPE_CHECKING:
    from nchl.evolve import Generation

_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """What shows the generations as they come."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def show(self, record: Generation) -> None:
        """Take in one finished generation."""

    def say(self, line: str) -> None:
        """Show one line that stays."""


def progress(total: int | None, limit_minutes: float | None = None) -> Progress:
    """The progress that suits where stderr goes.

    Args:
        total: generations that the run will have done at the end.
        limit_minutes: minutes after which it ends anyway, or None.
    """
    pace = Pace(total, limit_minutes)
    if sys.stderr.isatty():
        try:
            return TerminalProgress(pace)
        except ImportError:  # rich comes with the extra sim; plain lines do without it
            pass
    return PlainProgress(pace)


class Pace:
    """Time left, from the last generations' own duration; and a generation as a line of text."""

    def __init__(self, total: int | None, limit_minutes: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._limit_minutes = limit_minutes
        self._clock = clock
        self._last: float | None = None
        self._seconds_each = 0.0

    def tick(self, record: Generation) -> None:
        """Take in that a generation has ended."""
        now = self._clock()
        if self._last is None:  # what came before it was not a generation
            self._seconds_each = record.evaluate_seconds + record.search_seconds
        else:
            self._seconds_each = 0.5 * self._seconds_each + 0.5 * (now - self._last)
        self._last = now

    def left_s(self, record: Generation) -> float | None:
        """Seconds to the end, if the pace stays what it is and the target is not reached; None where nothing ends it."""
        ends = []
        if self.total is not None:
            ends.append(self._seconds_each * max(self.total - record.generation, 0))
        if self._limit_minutes is not None:
            ends.append(max(60 * self._limit_minutes - record.seconds, 0.0))
        return min(ends, default=None)

    def line(self, record: Generation) -> str:
        """One generation as a line of text."""
        parts = [
            f"generation {record.generation}" + (f"/{self.total}" if self.total else ""),
            f"best {figure(record.best)}",
            f"mean {figure(record.mean)}",
            f"{record.steps_per_s:,.0f} steps/s",
        ]
        if record.non_finite:
            parts.append(f"{record.non_finite} not finite")
        if record.sent_mb:
            parts.append(f"{size(record.sent_mb)} to workers, {size(record.received_mb)} back")
        if (left := self.left_s(record)) is not None and record.reason is None:
            parts.append(f"{duration(left)} left")
        return " · ".join(parts)


class PlainProgress:
    """A line for the first generation, then one every few seconds, and one for the last."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._clock = clock
        self._said: float | None = None
        self._unsaid: str | None = None

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._unsaid:
            self.say(self._unsaid)

    def show(self, record: Generation) -> None:
        """Write the generation's line if enough time has passed; keep it otherwise, for it may be the last."""
        self._pace.tick(record)
        self._unsaid = self._pace.line(record)
        if self._said is None or self._clock() - self._said >= _SECONDS_BETWEEN_LINES:
            self.say(self._unsaid)
            self._said, self._unsaid = self._clock(), None

    def say(self, line: str) -> None:
        """Write one line."""
        # A terminal that is gone, or a Ctrl-C in the middle of another line, must not end the run.
        with contextlib.suppress(OSError, RuntimeError):
            print(line, file=sys.stderr, flush=True)


class TerminalProgress:
    """A bar with the last generation's figures, by rich."""

    def __init__(self, pace: Pace) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._pace = pace
        self._bar = Bar(
            BarColumn(bar_width=10), TextColumn("{task.description}", markup=False), console=Console(stderr=True), refresh_per_second=8
        )
        self._task = self._bar.add_task("the first generation is on its way ...", total=pace.total)

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone
            self._bar.stop()

    def show(self, record: Generation) -> None:
        """Move the bar and renew the line."""
        self._pace.tick(record)
        self._bar.update(self._task, completed=record.generation, description=self._pace.line(record))

    def say(self, line: str) -> None:
        """Write one line above the bar."""
        with contextlib.suppress(OSError):
            self._bar.console.print(line, markup=False, highlight=False)
