"""Lanes: threads of this process that play parts of a population side by side, each with a simulator and a network of its own.

With one lane, all of the simulator waits at each step for its slowest thread, then for the network, then for Python. With two,
one lane's simulator works while the other thinks. More would only queue for Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from nchl.rollout.play import Interrupted

LANES = 2

_T = TypeVar("_T")


class Lanes:
    """Threads that live as long as this object, because simulators and torch's own threads are dear to begin.

    Args:
        count: lanes; torch's threads are divided among them.

    Attributes:
        stop: set while the lanes are to end at once: give it to what they play.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.stop = threading.Event()
        self._threads: ThreadPoolExecutor | None = None

    def run(self, jobs: Sequence[Callable[[], _T]]) -> list[_T]:
        """Do all jobs, at most `count` at the same time; a single one in the caller's own thread.

        Whatever ends a job, or the waiting for them (a signal), ends the others too, and goes on to the caller when all are still.
        """
        if len(jobs) == 1:
            return [jobs[0]()]
        before = torch.get_num_threads()
        if self._threads is None:
            share = max(1, before // self.count)
            self._threads = ThreadPoolExecutor(self.count, "nchl-lane", torch.set_num_threads, (share,))
        futures = [self._threads.submit(self._watched, job) for job in jobs]
        try:
            # Looked up from now and then, because a signal that another thread received does not end the waiting.
            while wait(futures, timeout=0.2).not_done:
                pass
        except BaseException:
            self.stop.set()
            wait(futures)
            raise
        finally:
            self.stop.clear()
            # Whoever sets it for his own thread also sets what threads that begin later will have.
            torch.set_num_threads(before)
        failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, Interrupted)):
            raise failure
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads; the next `run` begins new ones."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def _watched(self, job: Callable[[], _T]) -> _T:
        try:
            return job()
        except BaseException:
            self.stop.set()
            raise
