"""Work is handed out, answers are judged, and what was lost is done again elsewhere: one logic for processes and for Ray.

A worker that dies, that gives no answer within its time, or that answers nonsense is dismissed, and its slice goes to the
next who is free. What comes late is used. Scores do not depend on any of it. When the crew fails again and again without
a finished slice in between, a `WorkerError` ends it.
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
from nchl.workers.patience import Patience

_TICK_SECONDS = 1.0
_ASLEEP_SECONDS = 5.0
_ATTEMPTS = 8


@dataclass
class Job:
    """A request that any worker can answer.

    Attributes:
        request: what is asked; its header holds the job's own `id`.
        most_steps: environment steps that it can take at most.
        name: for messages.
        attempts: how often it was handed out.
    """

    request: Message
    most_steps: int
    name: str
    attempts: int = 0

    @property
    def id(self) -> int:
        """Number of the job, never used twice."""
        return int(self.request.header["id"])


@dataclass(eq=False)
class Hand:
    """A worker, as the supervisor sees it.

    Attributes:
        name: for messages, for example "worker 2 (process 4711)".
        ready: whether it has said what it is.
        job: what it does now.
        since: when it was started, or got its job.
        deadline: until when it must have answered.
    """

    name: str
    ready: bool = False
    job: Job | None = None
    since: float = 0.0
    deadline: float = float("inf")


@dataclass
class Event:
    """What was heard of a hand: a message, or (with `message` None) that it is gone, and why."""

    hand: Hand
    message: Message | None
    reason: str = ""


class Crew(ABC):
    """The hands, wherever they are. Nothing here waits, except `wait`.

    Attributes:
        hands: who is there, those who are still starting included.
        sent_bytes: sent to them so far.
        received_bytes: received from them so far.
    """

    hands: list[Hand]
    sent_bytes: int = 0
    received_bytes: int = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Hands that there are to be."""

    @abstractmethod
    def muster(self) -> None:
        """Begin to start the hands that are missing, and take in those that have joined."""

    @abstractmethod
    def share(self, key: int, message: Message) -> None:
        """What requests with this key will need; the last one stays valid."""

    @abstractmethod
    def give(self, hand: Hand, job: Job) -> None:
        """Hand a job to an idle hand."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Event]:
        """What was heard; an empty list if nothing came in time."""

    @abstractmethod
    def dismiss(self, hand: Hand) -> None:
        """Make sure that a hand does nothing any more; no further event of it comes."""

    @abstractmethod
    def refuse(self, hand: Hand) -> None:
        """Dismiss a hand that is of no use; `size` is smaller from now on."""

    @abstractmethod
    def close(self) -> None:
        """Dismiss everybody, those first who have nothing to do."""


class Supervisor:
    """Gets jobs done by a crew.

    Args:
        crew: the hands.
        identity: what a hand must be to compute the same bits.
        patience: how long they may take.
        clock: seconds that only ever grow.

    Attributes:
        notes: what happened, as lines for the user.
    """

    def __init__(
        self,
        crew: Crew,
        identity: Mapping[str, Any],
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.crew, self.patience, self.notes = crew, patience or Patience(), list[str]()
        self._identity, self._clock = dict(identity), clock
        self._losses = 0  # since something was last finished
        self._last_tick = clock()
        self._alone_since: float | None = None

    def run(self, jobs: list[Job], parse: Callable[[Job, Message], tuple[Any, int]]) -> list[Any]:
        """The jobs' results, in their order.

        Args:
            jobs: what to do.
            parse: an answer's result and the environment steps that it took; raises `ProtocolError`.

        Raises:
            WorkerError: workers were lost again and again.
            NchlError: a worker says that what it was asked for cannot be done.
        """
        results: dict[int, Any] = {}
        waiting = deque(jobs)
        mine = {job.id: job for job in jobs}
        now = self._clock()
        for hand in self.crew.hands:  # since the last call, nobody has listened to what they still do
            hand.deadline += now - self._last_tick
        self._last_tick = now
        while len(results) < len(jobs):
            self.crew.muster()
            for hand in self.crew.hands:
                if hand.ready and hand.job is None and waiting:
                    self._give(hand, waiting.popleft())
            for event in self.crew.wait(self._until_next_deadline()):
                if event.hand not in self.crew.hands:  # dismissed for what it said before
                    continue
                job = event.hand.job
                if event.message is None:
                    self._lost(event.hand, event.reason, waiting, mine)
                elif not event.hand.ready:
                    self._welcome(event.hand, event.message)
                elif job is None or event.message.header.get("id") != job.id:
                    self._lost(event.hand, "it answered what it was not asked", waiting, mine)
                elif job.id not in mine:
                    _idle(event.hand)  # what an interrupted generation has left behind
                else:
                    self._take(event.hand, job, event.message, parse, results, waiting, mine)
            self._look_at_the_clock(waiting, mine)
        return [results[job.id] for job in jobs]

    def _give(self, hand: Hand, job: Job) -> None:
        job.attempts += 1
        hand.job, hand.since = job, self._clock()
        hand.deadline = hand.since + self.patience.allowed(job.most_steps)
        self.crew.give(hand, job)

    def _welcome(self, hand: Hand, message: Message) -> None:
        if "error" in message.header:
            raise WorkerError(f"{hand.name} cannot begin: {message.header['error']}")
        said = message.header.get("hello", {})
        other = [
            f"{name} is {said.get(name, 'absent') if isinstance(said, dict) else 'absent'}, not {value}"
            for name, value in self._identity.items()
            if not isinstance(said, dict) or said.get(name) != value
        ]
        if other:
            self.notes.append(f"{hand.name} would compute other digits ({'; '.join(other)}) and is not used")
            self.crew.refuse(hand)
            if self.crew.size == 0:
                raise WorkerError(f"no worker computes the digits that this process does: {'; '.join(other)}. {_RESUME}")
            return
        hand.ready, hand.deadline = True, float("inf")

    def _take(
        self,
        hand: Hand,
        job: Job,
        message: Message,
        parse: Callable[[Job, Message], tuple[Any, int]],
        results: dict[int, Any],
        waiting: deque[Job],
        mine: Mapping[int, Job],
    ) -> None:
        if "error" in message.header:
            _idle(hand)
            if message.header.get("known"):
                raise WorkerError(f"{hand.name}, {job.name}: {message.header['error']}")
            self._again(job, f"{hand.name} failed: {message.header['error']}", waiting)
            return
        try:
            results[job.id], steps = parse(job, message)
        except ProtocolError as error:
            self._lost(hand, f"it answered nonsense: {error}", waiting, mine)
            return
        self.patience.learn(self._clock() - hand.since, steps)
        self._losses = 0
        _idle(hand)

    def _lost(self, hand: Hand, reason: str, waiting: deque[Job], mine: Mapping[int, Job]) -> None:
        job = hand.job
        self.crew.dismiss(hand)
        if job is not None and job.id in mine:
            self.notes.append(f"{hand.name} is lost ({reason}); {job.name} is evaluated again elsewhere")
            self._again(job, f"{hand.name} was lost: {reason}", waiting)
        else:
            self.notes.append(f"{hand.name} is lost ({reason})")
        self._count_loss(f"{hand.name} was lost: {reason}")

    def _again(self, job: Job, reason: str, waiting: deque[Job]) -> None:
        if job.attempts >= _ATTEMPTS:
            raise WorkerError(f"{job.name} was tried {job.attempts} times without success; the last time {reason}. {_RESUME}")
        waiting.appendleft(job)

    def _count_loss(self, reason: str) -> None:
        self._losses += 1
        if self._losses > 3 + 3 * self.crew.size:
            raise WorkerError(f"{self._losses} workers were lost and nothing was finished in between; the last: {reason}. {_RESUME}")

    def _look_at_the_clock(self, waiting: deque[Job], mine: Mapping[int, Job]) -> None:
        now = self._clock()
        slept, self._last_tick = now - self._last_tick, now
        for hand in list(self.crew.hands):
            if not hand.ready and hand.deadline == float("inf"):
                hand.since, hand.deadline = now, now + self.patience.start
            if slept > _ASLEEP_SECONDS:  # it was this process that was stopped, not the workers
                hand.deadline += slept
            if now > hand.deadline:
                if hand.ready:
                    self.patience.missed()
                self._lost(hand, f"no answer within {now - hand.since:.0f} s", waiting, mine)
        if self.crew.hands:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self.patience.start:
            raise WorkerError(f"for {self.patience.start:.0f} s there has been no worker. {_RESUME}")

    def _until_next_deadline(self) -> float:
        left = min((hand.deadline for hand in self.crew.hands), default=float("inf")) - self._clock()
        return min(_TICK_SECONDS, max(0.0, left))


def _idle(hand: Hand) -> None:
    """It has answered, and owes nothing until it gets another job."""
    hand.job, hand.deadline = None, float("inf")


_RESUME = "The generations before are kept: `nchl resume RUN` goes on with them"


def check_count(name: str, value: int) -> int:
    """A number of workers or threads.

    Raises:
        InvalidArgument: it is below 1.
    """
    if value < 1:
        raise InvalidArgument(f"{name} must be at least 1, got {value}")
    return value
