"""How a sweep is followed: a bar for the whole and a line for each running run, or a plain line per event elsewhere."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from nchl.runs.sweep.cell_states import CellState


class SweepProgress(Protocol):
    """A `Watcher` of a sweep that is entered and left."""

    def __enter__(self) -> SweepProgress: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def started(self, state: CellState) -> None:
        """A run has begun or goes on."""

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """A run has ended."""

    def tick(self, generations: dict[str, int]) -> None:
        """The generations that each running run has done."""

    def say(self, line: str) -> None:
        """A line that stays."""


def sweep_progress(states: Sequence[CellState]) -> SweepProgress:
    """The progress that suits where stderr goes."""
    if sys.stderr.isatty():
        try:
            return TerminalSweep(states)
        except ImportError:  # rich comes with the extra sim; plain lines do without it
            pass
    return PlainSweep(states)


class PlainSweep:
    """A line for each run that begins and each that ends."""

    def __init__(self, states: Sequence[CellState]) -> None:
        self._total = len(states)
        self._done = sum(state.state == "done" for state in states)

    def __enter__(self) -> PlainSweep:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def started(self, state: CellState) -> None:
        """Say that a run has begun or goes on."""
        self.say(f"{state.cell.name}: {'begins' if state.state == 'new' else 'goes on'}")

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """Say how a run has ended."""
        self._done += outcome == "done"
        self.say(f"{state.cell.name}: {outcome}{f', {message}' if message else ''} · {self._done}/{self._total} done")

    def tick(self, generations: dict[str, int]) -> None:
        """Nothing: lines that stay are for what stays true."""

    def say(self, line: str) -> None:
        """Write one line."""
        # A terminal that is gone must not end the sweep.
        with contextlib.suppress(OSError, RuntimeError):
            print(line, file=sys.stderr, flush=True)


class TerminalSweep(PlainSweep):
    """Bars by rich: one for the sweep, one for each run under way."""

    def __init__(self, states: Sequence[CellState]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(states)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._whole = self._bars.add_task("runs", total=self._total, completed=self._done)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TerminalSweep:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def started(self, state: CellState) -> None:
        """Add a bar that counts the run's generations."""
        name = state.cell.name
        self._tasks[name] = self._bars.add_task(f"  {name}", total=state.cell.config.generations)

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """Take the bar away, and leave a line where the run has failed."""
        self._bars.remove_task(self._tasks.pop(state.cell.name))
        self._done += outcome == "done"
        self._bars.update(self._whole, completed=self._done)
        if outcome == "failed":
            self.say(f"{state.cell.name}: failed, {message}")

    def tick(self, generations: dict[str, int]) -> None:
        """Move the bars."""
        for name, done in generations.items():
            if name in self._tasks:
                self._bars.update(self._tasks[name], completed=done)

    def say(self, line: str) -> None:
        """Write one line above the bars."""
        with contextlib.suppress(OSError):
            self._bars.console.print(line, markup=False, highlight=False)
