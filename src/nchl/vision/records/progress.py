"""`Reporter`, the interface for the progress of an experiment."""

from __future__ import annotations


class Reporter:
    """Receives the progress of an experiment. This class ignores it; the command line's subclass shows bars."""

    def say(self, line: str) -> None:
        """Show a line."""

    def start(self, name: str, total: int) -> None:
        """Start a bar over `total` images."""

    def advance(self, done: int, text: str = "") -> None:
        """Move the bar to `done` images."""
