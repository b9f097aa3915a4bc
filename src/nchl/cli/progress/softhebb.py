"""Progress of `nchl softhebb`: images of the phase that runs."""

from __future__ import annotations

from typing import Any

from nchl.cli.progress import Bars, Lines, Rarely, choose
from nchl.vision.records.progress import Reporter


def progress() -> ImageBar | ImageLines:
    """A bar or lines."""
    return choose(ImageBar, ImageLines)


class ImageLines(Lines, Reporter):
    """A line every few seconds."""

    def start(self, name: str, total: int) -> None:
        """Begin a phase of `total` images."""
        self._name, self._total, self._rarely = name, total, Rarely()

    def advance(self, done: int, text: str = "") -> None:
        """Print the images that are done, if a line is due."""
        if self._rarely.due():
            self.say(" · ".join(part for part in (f"{self._name}: {done:,}/{self._total:,} images", text) if part))


class ImageBar(Bars, Reporter):
    """A bar with the images that are done and the time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        name, text = TextColumn("{task.fields[name]}"), TextColumn("{task.description}", markup=False)
        super().__init__(name, BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(), text)
        self._task: Any = None

    def start(self, name: str, total: int) -> None:
        """Replace the bar by one for a phase of `total` images."""
        if self._task is not None:
            self.bars.remove_task(self._task)
        self._task = self.bars.add_task("", total=total, name=name)

    def advance(self, done: int, text: str = "") -> None:
        """Move the bar."""
        self.bars.update(self._task, completed=done, description=text)
