"""Progress of a sweep: its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nchl.cli.progress import Bars, Lines, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from nchl.runs.sweep.cell_states import CellState


def progress(states: Sequence[CellState]) -> SweepBars | SweepLines:
    """Bars or lines; both are a `Watcher` of the sweep."""
    return choose(lambda: SweepBars(states), lambda: SweepLines(states))


class SweepLines(Lines):
    """A line for each run that begins and each that ends."""

    def __init__(self, states: Sequence[CellState]) -> None:
        self._total, self._done = len(states), sum(state.state == "done" for state in states)

    def started(self, state: CellState) -> None:
        """Print that a run has begun or goes on."""
        self.say(f"{state.cell.name}: {'begins' if state.state == 'new' else 'goes on'}")

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """Print how a run has ended."""
        self._done += outcome == "done"
        self.say(f"{state.cell.name}: {outcome}{f', {message}' if message else ''} · {self._done}/{self._total} done")

    def tick(self, generations: dict[str, int]) -> None:
        """Print nothing: the generations change all the time."""


class SweepBars(Bars):
    """A bar for the sweep, and one for each run in progress."""

    def __init__(self, states: Sequence[CellState]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        super().__init__(text, BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
        self._whole = self.bars.add_task("runs", total=len(states), completed=sum(state.state == "done" for state in states))
        self._tasks: dict[str, TaskID] = {}

    def started(self, state: CellState) -> None:
        """Add a bar that counts the run's generations."""
        name = state.cell.name
        self._tasks[name] = self.bars.add_task(f"  {name}", total=state.cell.config.generations)

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """Remove the run's bar, and print a line if it has failed."""
        self.bars.remove_task(self._tasks.pop(state.cell.name))
        self.bars.advance(self._whole, outcome == "done")
        if outcome == "failed":
            self.say(f"{state.cell.name}: failed, {message}")

    def tick(self, generations: dict[str, int]) -> None:
        """Move the bars."""
        for name, done in generations.items():
            if name in self._tasks:
                self.bars.update(self._tasks[name], completed=done)
