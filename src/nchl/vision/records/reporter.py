"""What an experiment says while it goes on, and to whom: the command line shows bars, programs may want silence."""

from __future__ import annotations


class Reporter:
    """Who is told how the experiment goes. This one is silent; the command line has one that shows bars."""

    def say(self, line: str) -> None:
        """One line that stays."""

    def start(self, name: str, total: int) -> None:
        """A new bar of so many images."""

    def advance(self, done: int, text: str = "") -> None:
        """So many images of it are done."""
