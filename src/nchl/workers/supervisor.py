"""Assigns jobs to workers, checks their answers, and repeats lost jobs on other workers; for processes and for Ray.

A worker that ends, that exceeds its time limit, or that sends a malformed reply is removed, and its job goes to the next idle worker.
Workers that join late are used. Scores depend on none of this. If workers are lost again and again without a finished job in between,
a `WorkerError` ends the run.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nchl.errors import InvalidArgument, WorkerError
from nchl.wire import Message, ProtocolError
from nchl.workers.timeouts import Timeouts

_TICK_SECONDS = 1.0
_ASLEEP_SECONDS = 5.0
_ATTEMPTS = 8


@dataclass
class Job:
    """A request that any worker can answer.

    Attributes:
        request: the message to send; its header holds the job's own `id`.
        most_steps: upper bound of its environment steps.
        name: for messages.
        attempts: number of times it was assigned.
    """

    request: Message
    most_steps: int
    name: str
    attempts: int = 0

    @property
    def id(self) -> int:
        """Number of the job, unique within a run."""
        return int(self.request.header["id"])


@dataclass(eq=False)
class Worker:
    """A worker, as the supervisor sees it.

    Attributes:
        name: for messages, for example "worker 2 (process 4711)".
        ready: whether it has reported its identity.
        job: its present job; None: idle.
        since: time of its start, or of its present job's.
        deadline: time until which it must answer.
    """

    name: str
    ready: bool = False
    job: Job | None = None
    since: float = 0.0
    deadline: float = float("inf")


@dataclass
class Event:
    """A message of a worker, or (with `message` None) its end, with the reason."""

    worker: Worker
    message: Message | None
    reason: str = ""


class Pool(ABC):
    """Starts, feeds and ends workers. Only `wait` blocks.

    Attributes:
        workers: the present workers, those that are still starting included.
        sent_bytes: bytes sent to workers so far.
        received_bytes: bytes received from workers so far.
    """

    workers: list[Worker]
    sent_bytes: int = 0
    received_bytes: int = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Wanted number of workers."""

    @abstractmethod
    def start_missing(self) -> None:
        """Begin to start missing workers, and add those that have joined."""

    @abstractmethod
    def share(self, key: int, message: Message) -> None:
        """Keep the message that requests with this key need; it replaces the one before."""

    @abstractmethod
    def assign(self, worker: Worker, job: Job) -> None:
        """Send a job to an idle worker."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Event]:
        """The events until now, or the first within so many seconds; an empty list if there is none."""

    @abstractmethod
    def remove_worker(self, worker: Worker) -> None:
        """End a worker; no further event of it is reported."""

    @abstractmethod
    def exclude(self, worker: Worker) -> None:
        """Remove a worker that cannot be used, and reduce `size` by one."""

    @abstractmethod
    def close(self) -> None:
        """End all workers, idle ones first."""


class Supervisor:
    """Runs jobs on a pool.

    Args:
        pool: the workers.
        identity: the values that a worker must report, so that its results are bit-identical.
        timeouts: the time limits of workers.
        clock: seconds that only grow.

    Attributes:
        notes: lines for the user on lost and excluded workers.
    """

    def __init__(
        self,
        pool: Pool,
        identity: Mapping[str, Any],
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool, self.timeouts, self.notes = pool, timeouts or Timeouts(), list[str]()
        self._identity, self._clock = dict(identity), clock
        self._losses = 0  # since the last finished job
        self._last_tick = clock()
        self._alone_since: float | None = None

    def run(self, jobs: list[Job], parse: Callable[[Job, Message], tuple[Any, int]]) -> list[Any]:
        """Run jobs; returns their results in the same order.

        Args:
            jobs: the jobs.
            parse: returns an answer's result and its environment steps; raises `ProtocolError`.

        Raises:
            WorkerError: workers were lost again and again, or a worker reports that a job cannot be done.
        """
        results: dict[int, Any] = {}
        waiting = deque(jobs)
        mine = {job.id: job for job in jobs}
        now = self._clock()
        for worker in self.pool.workers:  # between two calls no answers are received
            worker.deadline += now - self._last_tick
        self._last_tick = now
        while len(results) < len(jobs):
            self.pool.start_missing()
            for worker in self.pool.workers:
                if worker.ready and worker.job is None and waiting:
                    self._assign(worker, waiting.popleft())
            for event in self.pool.wait(self._until_next_deadline()):
                if event.worker not in self.pool.workers:  # removed because of an earlier event
                    continue
                job = event.worker.job
                if event.message is None:
                    self._lost(event.worker, event.reason, waiting, mine)
                elif not event.worker.ready:
                    self._accept(event.worker, event.message)
                elif job is None or event.message.header.get("id") != job.id:
                    self._lost(event.worker, "it answered another request", waiting, mine)
                elif job.id not in mine:
                    _idle(event.worker)  # the answer belongs to an interrupted generation
                else:
                    self._finish(event.worker, job, event.message, parse, results, waiting, mine)
            self._look_at_the_clock(waiting, mine)
        return [results[job.id] for job in jobs]

    def _assign(self, worker: Worker, job: Job) -> None:
        job.attempts += 1
        worker.job, worker.since = job, self._clock()
        worker.deadline = worker.since + self.timeouts.allowed(job.most_steps)
        self.pool.assign(worker, job)

    def _accept(self, worker: Worker, message: Message) -> None:
        if "error" in message.header:
            raise WorkerError(f"{worker.name} cannot start: {message.header['error']}")
        said = message.header.get("hello", {})
        other = [
            f"{name} is {said.get(name, 'absent') if isinstance(said, dict) else 'absent'}, not {value}"
            for name, value in self._identity.items()
            if not isinstance(said, dict) or said.get(name) != value
        ]
        if other:
            self.notes.append(f"{worker.name} would not be bit-identical ({'; '.join(other)}) and is not used")
            self.pool.exclude(worker)
            if self.pool.size == 0:
                raise WorkerError(f"no worker is bit-identical to this process: {'; '.join(other)}. {_RESUME}")
            return
        worker.ready, worker.deadline = True, float("inf")

    def _finish(
        self,
        worker: Worker,
        job: Job,
        message: Message,
        parse: Callable[[Job, Message], tuple[Any, int]],
        results: dict[int, Any],
        waiting: deque[Job],
        mine: Mapping[int, Job],
    ) -> None:
        if "error" in message.header:
            _idle(worker)
            if message.header.get("known"):
                raise WorkerError(f"{worker.name}, {job.name}: {message.header['error']}")
            self._again(job, f"{worker.name} failed: {message.header['error']}", waiting)
            return
        try:
            results[job.id], steps = parse(job, message)
        except ProtocolError as error:
            self._lost(worker, f"it sent a malformed reply: {error}", waiting, mine)
            return
        self.timeouts.record(self._clock() - worker.since, steps)
        self._losses = 0
        _idle(worker)

    def _lost(self, worker: Worker, reason: str, waiting: deque[Job], mine: Mapping[int, Job]) -> None:
        job = worker.job
        self.pool.remove_worker(worker)
        if job is not None and job.id in mine:
            self.notes.append(f"{worker.name} is lost ({reason}); {job.name} is evaluated again elsewhere")
            self._again(job, f"{worker.name} was lost: {reason}", waiting)
        else:
            self.notes.append(f"{worker.name} is lost ({reason})")
        self._count_loss(f"{worker.name} was lost: {reason}")

    def _again(self, job: Job, reason: str, waiting: deque[Job]) -> None:
        if job.attempts >= _ATTEMPTS:
            raise WorkerError(f"{job.name} was tried {job.attempts} times without success; the last time {reason}. {_RESUME}")
        waiting.appendleft(job)

    def _count_loss(self, reason: str) -> None:
        self._losses += 1
        if self._losses > 3 + 3 * self.pool.size:
            raise WorkerError(f"{self._losses} workers were lost without a finished job in between; the last: {reason}. {_RESUME}")

    def _look_at_the_clock(self, waiting: deque[Job], mine: Mapping[int, Job]) -> None:
        now = self._clock()
        slept, self._last_tick = now - self._last_tick, now
        for worker in list(self.pool.workers):
            if not worker.ready and worker.deadline == float("inf"):
                worker.since, worker.deadline = now, now + self.timeouts.start
            if slept > _ASLEEP_SECONDS:  # this process was suspended, not the workers
                worker.deadline += slept
            if now > worker.deadline:
                if worker.ready:
                    self.timeouts.extend()
                self._lost(worker, f"no answer within {now - worker.since:.0f} s", waiting, mine)
        if self.pool.workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self.timeouts.start:
            raise WorkerError(f"there has been no worker for {self.timeouts.start:.0f} s. {_RESUME}")

    def _until_next_deadline(self) -> float:
        left = min((worker.deadline for worker in self.pool.workers), default=float("inf")) - self._clock()
        return min(_TICK_SECONDS, max(0.0, left))


def _idle(worker: Worker) -> None:
    """Mark a worker as idle."""
    worker.job, worker.deadline = None, float("inf")


_RESUME = "Earlier generations are saved: `nchl resume RUN` continues from them"


def check_count(name: str, value: int) -> int:
    """Check a number of workers or threads.

    Raises:
        InvalidArgument: it is below 1.
    """
    if value < 1:
        raise InvalidArgument(f"{name} must be at least 1, got {value}")
    return value
