"""Lanes: threads of this process that play parts of a population side by side, each with a simulator and a network of its own.

With one lane, all of the simulator waits at each step for its slowest thread, then for the network, then for Python. With two,
one lane's simulator works while the other thinks. Four and six, on two processors, were no faster.
"""

from __future__ import annotations

import threading
import time
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
        stop: set while the jobs are to end at once: give it to what they play.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.stop = threading.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._busy = False
        self._over = threading.Event()  # of this call alone; once set, it stays so
        self._playing: set[object] = set()

    def run(self, jobs: Sequence[Callable[[], _T]]) -> list[_T]:
        """Do all jobs, at most `count` at the same time; a single one in the caller's own thread.

        Whatever ends a job, or the waiting for them (a signal), ends the others too, and goes on to the caller when all are still.
        """
        if self._busy:  # a signal came before the jobs of the last call could be ended
            self.close()
        if len(jobs) == 1:
            return [jobs[0]()]
        before = torch.get_num_threads()
        if self._threads is None:
            share = max(1, before // self.count)
            self._threads = ThreadPoolExecutor(self.count, "nchl-lane", torch.set_num_threads, (share,))
        try:
            self._busy = True
            futures = [self._threads.submit(self._watched, job, self._over) for job in jobs]
            # Looked up from now and then, because a signal that another thread received does not end the waiting.
            while wait(futures, timeout=0.2).not_done:
                pass
            self.stop.clear()  # a job that failed has set it
            self._busy = False
        except BaseException:
            self.close()
            raise
        finally:
            # Setting it for one thread also changes the default of threads that begin later.
            torch.set_num_threads(before)
        failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, Interrupted)):
            raise failure
        return [future.result() for future in futures]

    def close(self) -> None:
        """End what plays, and the threads; the next `run` begins new ones.

        Never leaves before all are still, because a job that goes on would step the simulators and networks of the next call. What comes
        in between (a second Ctrl-C) goes on to the caller afterwards.
        """
        came: BaseException | None = None
        self._over.set()
        self.stop.set()
        while self._playing or self._threads is not None:
            try:
                if self._playing:  # not by joining: after a Ctrl-C there, Python 3.11 takes a thread that goes on for one that has ended
                    time.sleep(0.01)
                elif self._threads is not None:
                    self._threads.shutdown()
                    self._threads = None
            except BaseException as signal:
                came = signal
        self.stop.clear()
        self._over, self._busy = threading.Event(), False
        if came is not None:
            raise came

    def _watched(self, job: Callable[[], _T], over: threading.Event) -> _T:
        me = object()
        self._playing.add(me)  # before the look at `over`: the thread that sets it sees this job, or this job sees it set
        try:
            if over.is_set():
                raise Interrupted
            return job()
        except BaseException:
            self.stop.set()
            raise
        finally:
            self._playing.discard(me)
