"""Signals that end a run: the first Ctrl-C finishes the generation, the second drops it, SIGTERM drops it.

A cluster's scheduler sends SIGTERM, a lost terminal SIGHUP. A signal that comes while a file is being written waits until it is complete.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Dropped(BaseException):
    """The present generation must be dropped now. Not an `Exception`, so that no handler catches it by accident."""


class Signals:
    """A context in which signals become requests; outside of the main thread it does nothing.

    Attributes:
        received: number of the signal that requested the end, or None.
        on_first_interrupt: called at the first Ctrl-C, for example to report that the generation is being finished.
    """

    def __init__(self, on_first_interrupt: Any = None) -> None:
        self.received: int | None = None
        self.on_first_interrupt = on_first_interrupt
        self._holding = 0
        self._drop = False
        self._settled = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # A signal that the parent process ignores (nohup) stays ignored.
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        # Ctrl-C's handler last: from then on another Ctrl-C raises here, when the others are restored.
        for number, handler in reversed(self._before.items()):
            signal.signal(number, handler)
        self._before.clear()

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as in shells: 130 after Ctrl-C, 143 after SIGTERM; 0 without a signal."""
        return 0 if self.received is None else 128 + self.received

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay signals until the end of the block."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        self._raise_if_due()

    def drop_if_asked(self) -> None:
        """Stop here if any signal has come, a first Ctrl-C included."""
        if self.received is not None:
            self._drop = True
            self._raise_if_due()

    def settle(self) -> None:
        """From now on nothing is dropped: only writing is left."""
        self._settled = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        first = self.received is None
        self.received = number if first else self.received
        if number == signal.SIGINT and first:
            if self.on_first_interrupt is not None:
                self.on_first_interrupt()
            return
        if number != signal.SIGINT:
            self.received = number
        self._drop = True
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._drop and not self._holding and not self._settled:
            self._settled = True  # once: its handler must not be interrupted
            raise Dropped


@contextmanager
def ended_by_signals() -> Iterator[Signals]:
    """A block that a signal leaves by an exception that ends the program; for work that saves its own state.

    Ctrl-C raises KeyboardInterrupt, the others SystemExit with the exit code that shells use. A first Ctrl-C waits for `drop_if_asked`.
    """
    with Signals() as signals:
        try:
            yield signals
        except Dropped:
            if signals.received == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(signals.exit_code) from None
