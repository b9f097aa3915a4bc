"""Progress of a run: its generations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nchl.cli.progress import Bars, Lines, Rarely, choose
from nchl.report.formatting import duration, figure, size

if TYPE_CHECKING:
    from nchl.evolve import Generation


def progress(total: int | None, limit_minutes: float | None = None) -> RunBar | RunLines:
    """A bar or lines.

    Args:
        total: generations of the run, those of earlier sessions included; None: no limit.
        limit_minutes: minutes after which the run ends anyway; None: no limit.
    """
    pace = Pace(total, limit_minutes)
    return choose(lambda: RunBar(pace), lambda: RunLines(pace))


class Pace:
    """The time left, estimated from the duration of the last generations, and a generation as a line of text."""

    def __init__(self, total: int | None, limit_minutes: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._limit_minutes = limit_minutes
        self._clock = clock
        self._last: float | None = None
        self._seconds_each = 0.0

    def tick(self, record: Generation) -> None:
        """Record the end of a generation."""
        now = self._clock()
        if self._last is None:  # the time before it was not spent on a generation
            self._seconds_each = record.evaluate_seconds + record.search_seconds
        else:
            self._seconds_each = 0.5 * self._seconds_each + 0.5 * (now - self._last)
        self._last = now

    def left_s(self, record: Generation) -> float | None:
        """Seconds to the end at the present pace, if the target is not reached; None without a limit."""
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


class RunLines(Lines):
    """A line for the first generation, then one every few seconds, and one for the last."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._rarely = pace, Rarely(clock=clock, first_at_once=True)
        self._unsaid: str | None = None

    def __exit__(self, *_: object) -> None:
        if self._unsaid:
            self.say(self._unsaid)

    def show(self, record: Generation) -> None:
        """Print the generation's line if it is due; otherwise keep it, because it may be the last."""
        self._pace.tick(record)
        self._unsaid = self._pace.line(record)
        if self._rarely.due():
            self.say(self._unsaid)
            self._unsaid = None


class RunBar(Bars):
    """A bar with the last generation's figures."""

    def __init__(self, pace: Pace) -> None:
        from rich.progress import BarColumn, TextColumn

        super().__init__(BarColumn(bar_width=10), TextColumn("{task.description}", markup=False), per_second=8)
        self._pace = pace
        self._task = self.bars.add_task("waiting for the first generation ...", total=pace.total)

    def show(self, record: Generation) -> None:
        """Move the bar and renew the line."""
        self._pace.tick(record)
        self.bars.update(self._task, completed=record.generation, description=self._pace.line(record))
