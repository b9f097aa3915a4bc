"""How a run ends when it is asked to: the first Ctrl-C finishes the generation, the second drops it, SIGTERM drops it.

SIGTERM is what a cluster's scheduler sends, SIGHUP what a lost terminal does. Whatever comes while a file is being
written waits until it is whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Dropped(BaseException):
    """The generation under way is to be dropped, now. Not an `Exception`: nothing on the way may catch it by accident."""


class Signals:
    """While it is entered, turns signals into requests; outside of the main thread it does nothing.

    Attributes:
        received: number of the signal that asked for the end, or None.
        on_first_interrupt: called when the first Ctrl-C comes, for example to say that the generation is being finished.
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
                # What whoever started us chose to ignore (nohup) stays ignored.
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        # Ctrl-C's own last: from then on another one raises here, and must not leave the rest undone.
        for number, handler in reversed(self._before.items()):
            signal.signal(number, handler)
        self._before.clear()

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it: 130 after Ctrl-C, 143 after SIGTERM; 0 without a signal."""
        return 0 if self.received is None else 128 + self.received

    @contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait until the block is left."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        self._raise_if_due()

    def drop_if_asked(self) -> None:
        """A place to stop at once: any signal that has come, a first Ctrl-C too, ends the work here."""
        if self.received is not None:
            self._drop = True
            self._raise_if_due()

    def settle(self) -> None:
        """From now on nothing is dropped: what is left to do is to write and to leave."""
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
            self._settled = True  # once: what catches it must not be interrupted in turn
            raise Dropped


@contextmanager
def ended_by_signals() -> Iterator[Signals]:
    """For work that leaves its state behind by itself: a signal leaves the block as an exception that ends the program.

    Ctrl-C as KeyboardInterrupt, the others as SystemExit with the exit code that shells have for them. A first Ctrl-C waits
    for `drop_if_asked`.
    """
    with Signals() as signals:
        try:
            yield signals
        except Dropped:
            if signals.received == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(signals.exit_code) from None
