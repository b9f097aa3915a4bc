"""The supervisor with workers that end, hang, send malformed replies, join late or are not bit-identical; its clock is the tests' own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from nchl.errors import WorkerError
from nchl.wire import Message, ProtocolError
from nchl.workers.messages import parse_scores
from nchl.workers.supervisor import Event, Job, Pool, Supervisor, Worker
from nchl.workers.timeouts import Timeouts

IDENTITY = {"torch": "1"}
Behaviour = Callable[[Job], Message | str | None]  # an answer, a reason for being gone, or silence


def honest(job: Job) -> Message:
    return Message({"id": job.id, "value": job.id * 10}, {})


class Actors(Pool):
    """Workers that follow a behaviour at once; silence advances the clock."""

    def __init__(self, *behaviours: Behaviour, hello: dict[str, str] | None = None) -> None:
        self.workers, self.now, self.behaviours, self.hello = [], 0.0, list(behaviours), hello or IDENTITY
        self.events: list[Event] = []
        self.started = self.removed = self.refused = 0
        self.given: list[tuple[str, int]] = []

    @property
    def size(self) -> int:
        return len(self.behaviours) - self.refused

    def start_missing(self) -> None:
        while len(self.workers) < self.size:
            worker = Worker(f"worker {self.started}")
            self.started += 1
            self.workers.append(worker)
            self.events.append(Event(worker, Message({"hello": self.hello}, {})))

    def share(self, key: int, message: Message) -> None: ...

    def assign(self, worker: Worker, job: Job) -> None:
        self.given.append((worker.name, job.id))
        said = self.behaviours[int(worker.name.split()[1]) % len(self.behaviours)](job)
        if said is not None:
            self.events.append(Event(worker, None, said) if isinstance(said, str) else Event(worker, said))

    def wait(self, seconds: float) -> list[Event]:
        self.now += 0.01 if self.events else max(seconds, 0.01)
        events, self.events = self.events, []
        return [event for event in events if event.worker in self.workers]

    def remove_worker(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.removed += 1

    def exclude(self, worker: Worker) -> None:
        self.remove_worker(worker)
        self.refused += 1

    def close(self) -> None: ...


def work(pool: Actors, jobs: int = 6, timeouts: Timeouts | None = None) -> tuple[list[int], Supervisor]:
    supervisor = Supervisor(pool, IDENTITY, timeouts or Timeouts(first=20, floor=2), clock=lambda: pool.now)
    return supervisor.run(numbered(range(jobs)), parse), supervisor


def numbered(ids: Iterable[int]) -> list[Job]:
    return [Job(Message({"id": k}, {}), 100, f"job {k}") for k in ids]


def parse(job: Job, answer: Message) -> tuple[int, int]:
    if "value" not in answer.header:
        raise ProtocolError("no value")
    return answer.header["value"], 100


def once(first: Message | str | None) -> Behaviour:
    """A behaviour whose first answer is given; later ones are honest."""
    told = [first]
    return lambda job: told.pop() if told else honest(job)


WANTED = [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("killed by signal 9", id="dies"),
        pytest.param(None, id="hangs"),
        pytest.param(Message({"id": 99, "value": 1}, {}), id="answers-another-request"),
        pytest.param(Message({"id": 0}, {}), id="sends-a-malformed-reply"),
    ],
)
def test_a_lost_job_is_evaluated_by_another_worker(first: Message | str | None) -> None:
    pool = Actors(once(first), honest)
    results, supervisor = work(pool)
    assert results == WANTED
    assert pool.removed == 1
    assert pool.started == 3  # one in the place of the lost one
    assert len([name for name, job in pool.given if job == 0]) == 2
    assert "job 0 is evaluated again elsewhere" in supervisor.notes[0]


def test_a_reported_failure_is_tried_elsewhere_and_a_mistake_of_the_user_is_not() -> None:
    def failing(job: Job) -> Message:
        return Message({"id": job.id, "error": "MemoryError: ", "known": False}, {})

    results, _ = work(Actors(once(failing(Job(Message({"id": 0}, {}), 1, ""))), honest))
    assert results == WANTED
    with pytest.raises(WorkerError, match=r"tried 8 times.*MemoryError.*resume"):
        work(Actors(failing, failing))
    with pytest.raises(WorkerError, match="no such rule"):
        work(Actors(lambda job: Message({"id": job.id, "error": "no such rule", "known": True}, {})))


def test_a_pool_whose_workers_all_end_raises_a_clear_error() -> None:
    with pytest.raises(WorkerError, match=r"(lost|tried 8 times).*resume"):
        work(Actors(lambda job: "killed by signal 9", lambda job: "killed by signal 9"))


def test_hands_that_join_late_are_used() -> None:
    pool = Actors(honest)
    first = pool.assign

    def assign(worker: Worker, job: Job) -> None:
        first(worker, job)
        if job.id == 1 and pool.size == 1:
            pool.behaviours.append(honest)

    pool.assign = assign  # type: ignore[method-assign]
    results, _ = work(pool)
    assert results == WANTED
    assert {name for name, _ in pool.given} == {"worker 0", "worker 1"}


def test_who_computes_other_digits_is_not_used() -> None:
    with pytest.raises(WorkerError, match="torch is 2, not 1"):
        work(Actors(honest, honest, hello={"torch": "2"}))


def test_half_of_the_hands_dying_at_random_changes_nothing() -> None:
    chance = random.Random(0)
    pool = Actors(*[lambda job: "gone" if chance.random() < 0.4 else honest(job)] * 4)
    for _ in range(20):
        results, _ = work(pool, 12)
        assert results == [10 * k for k in range(12)]


def test_a_suspension_of_this_process_is_no_delay_of_a_worker() -> None:
    pool = Actors(honest)
    wait = pool.wait

    def asleep(seconds: float) -> list[Event]:
        if pool.given and pool.now < 1000:
            pool.now += 3600  # Ctrl-Z, and fg an hour later
            return []
        return wait(seconds)

    pool.wait = asleep  # type: ignore[method-assign]
    results, supervisor = work(pool)
    assert results == WANTED
    assert supervisor.notes == []


def later(pool: Actors, seconds: float) -> Behaviour:
    """A behaviour that answers after so many seconds."""
    wait = pool.wait
    due: list[tuple[float, Event]] = []

    def waits(most: float) -> list[Event]:
        pool.events += [event for when, event in due if when <= pool.now]
        due[:] = [(when, event) for when, event in due if when > pool.now]
        return wait(most)

    def behaviour(job: Job) -> None:
        worker = next(worker for worker in pool.workers if worker.job is job)
        due.append((pool.now + seconds, Event(worker, honest(job))))

    pool.wait = waits  # type: ignore[method-assign]
    return behaviour


def test_who_has_told_of_a_failure_owes_nothing() -> None:
    pool = Actors(honest, once(Message({"id": 1, "error": "MemoryError: ", "known": False}, {})))
    timeouts = Timeouts(first=20, floor=30)
    supervisor = Supervisor(pool, IDENTITY, timeouts, clock=lambda: pool.now)
    assert supervisor.run(numbered([0, 1]), parse) == [0, 10]
    pool.behaviours[0] = later(pool, 25)
    assert supervisor.run(numbered([2]), parse) == [20]
    assert (pool.removed, supervisor.notes, timeouts.floor) == (0, [], 30)


@pytest.mark.parametrize("seconds", [0.0, 99.0, 101.0])
def test_what_an_interrupted_generation_has_left_behind_is_no_silence(seconds: float) -> None:
    """The answer comes at once, between two calls, or after the next generation has begun."""
    pool = Actors()
    pool.behaviours.append(later(pool, seconds))
    timeouts, wait = Timeouts(first=20, floor=30), pool.wait

    def interrupted(most: float) -> list[Event]:
        if pool.given:
            raise KeyboardInterrupt
        return wait(most)

    supervisor = Supervisor(pool, IDENTITY, timeouts, clock=lambda: pool.now)
    pool.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        supervisor.run(numbered([0]), parse)
    pool.wait, pool.now = wait, 100  # type: ignore[method-assign]
    pool.behaviours[:] = honest, honest
    assert supervisor.run(numbered([1, 2, 3]), parse) == [10, 20, 30]
    assert (pool.removed, supervisor.notes, timeouts.floor) == (0, [], 30)


def test_patience_follows_what_was_slow() -> None:
    timeouts = Timeouts(first=100, floor=2, factor=3)
    assert timeouts.allowed(1000) == 100
    timeouts.record(10, 1000)
    timeouts.record(1, 1000)
    assert timeouts.allowed(1000) == pytest.approx(2 + 3 * 10)
    timeouts.extend()
    assert timeouts.allowed(1000) == pytest.approx(4 + 6 * 10)


def scores(**other: object) -> Message:
    arrays = {"fitness": np.array([1.5, 3.0]), "returns": np.array([[1.0, 2.0], [3.0, 3.0]]), "lengths": np.array([[5, 6], [7, 8]])}
    return Message(
        {"id": 0, "non_finite": 0, **{k: v for k, v in other.items() if k == "non_finite"}},
        {**arrays, **{k: v for k, v in other.items() if k != "non_finite"}},
    )  # type: ignore[dict-item]


def test_scores_are_believed_only_where_they_can_be_true() -> None:
    def parse(message: Message) -> None:
        parse_scores(message, 2, 2, 8, None)

    parse(scores())
    malformed = [
        {"fitness": np.array([1.5])},
        {"fitness": np.array([1.5, 3.1])},
        {"fitness": np.array([1.5, 3.0], dtype=np.float32)},
        {"lengths": np.array([[5, 6], [7, 9]])},
        {"lengths": np.array([[5, 6], [7, -1]])},
        {"lengths": np.array([[5.0, 6.0], [7.0, 8.0]])},
        {"non_finite": 3},
        {"non_finite": "0"},
        {"more": np.zeros(2)},
    ]
    for other in malformed:
        with pytest.raises(ProtocolError):
            parse(scores(**other))
