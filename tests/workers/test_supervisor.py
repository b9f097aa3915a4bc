"""The supervisor with hands that die, hang, answer nonsense, join late or compute other digits: a clock of our own, no process."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from nchl.errors import WorkerError
from nchl.wire import Message, ProtocolError
from nchl.workers.patience import Patience
from nchl.workers.requests import parse_scores
from nchl.workers.supervisor import Crew, Event, Hand, Job, Supervisor

IDENTITY = {"torch": "1"}
Behaviour = Callable[[Job], Message | str | None]  # an answer, a reason for being gone, or silence


def honest(job: Job) -> Message:
    return Message({"id": job.id, "value": job.id * 10}, {})


class Actors(Crew):
    """Hands that do at once what their behaviour says; silence lets the clock run."""

    def __init__(self, *behaviours: Behaviour, hello: dict[str, str] | None = None) -> None:
        self.hands, self.now, self.behaviours, self.hello = [], 0.0, list(behaviours), hello or IDENTITY
        self.events: list[Event] = []
        self.started = self.dismissed = self.refused = 0
        self.given: list[tuple[str, int]] = []

    @property
    def size(self) -> int:
        return len(self.behaviours) - self.refused

    def muster(self) -> None:
        while len(self.hands) < self.size:
            hand = Hand(f"hand {self.started}")
            self.started += 1
            self.hands.append(hand)
            self.events.append(Event(hand, Message({"hello": self.hello}, {})))

    def share(self, key: int, message: Message) -> None: ...

    def give(self, hand: Hand, job: Job) -> None:
        self.given.append((hand.name, job.id))
        said = self.behaviours[int(hand.name.split()[1]) % len(self.behaviours)](job)
        if said is not None:
            self.events.append(Event(hand, None, said) if isinstance(said, str) else Event(hand, said))

    def wait(self, seconds: float) -> list[Event]:
        self.now += 0.01 if self.events else max(seconds, 0.01)
        events, self.events = self.events, []
        return [event for event in events if event.hand in self.hands]

    def dismiss(self, hand: Hand) -> None:
        self.hands.remove(hand)
        self.dismissed += 1

    def refuse(self, hand: Hand) -> None:
        self.dismiss(hand)
        self.refused += 1

    def close(self) -> None: ...


def work(crew: Actors, jobs: int = 6, patience: Patience | None = None) -> tuple[list[int], Supervisor]:
    supervisor = Supervisor(crew, IDENTITY, patience or Patience(first=20, floor=2), clock=lambda: crew.now)
    return supervisor.run(numbered(range(jobs)), parse), supervisor


def numbered(ids: Iterable[int]) -> list[Job]:
    return [Job(Message({"id": k}, {}), 100, f"job {k}") for k in ids]


def parse(job: Job, answer: Message) -> tuple[int, int]:
    if "value" not in answer.header:
        raise ProtocolError("no value")
    return answer.header["value"], 100


def once(first: Message | str | None) -> Behaviour:
    """What a hand does the first time; honest from then on."""
    told = [first]
    return lambda job: told.pop() if told else honest(job)


WANTED = [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("killed by signal 9", id="dies"),
        pytest.param(None, id="hangs"),
        pytest.param(Message({"id": 99, "value": 1}, {}), id="answers-another-question"),
        pytest.param(Message({"id": 0}, {}), id="answers-nonsense"),
    ],
)
def test_what_was_lost_is_done_elsewhere(first: Message | str | None) -> None:
    crew = Actors(once(first), honest)
    results, supervisor = work(crew)
    assert results == WANTED
    assert crew.dismissed == 1
    assert crew.started == 3  # one in the place of the lost one
    assert len([name for name, job in crew.given if job == 0]) == 2
    assert "job 0 is evaluated again elsewhere" in supervisor.notes[0]


def test_a_failure_that_is_told_is_tried_elsewhere_and_a_mistake_of_the_users_is_not() -> None:
    def failing(job: Job) -> Message:
        return Message({"id": job.id, "error": "MemoryError: ", "known": False}, {})

    results, _ = work(Actors(once(failing(Job(Message({"id": 0}, {}), 1, ""))), honest))
    assert results == WANTED
    with pytest.raises(WorkerError, match=r"tried 8 times.*MemoryError.*resume"):
        work(Actors(failing, failing))
    with pytest.raises(WorkerError, match="no such rule"):
        work(Actors(lambda job: Message({"id": job.id, "error": "no such rule", "known": True}, {})))


def test_a_crew_that_only_dies_ends_with_a_clear_error() -> None:
    with pytest.raises(WorkerError, match=r"(lost|tried 8 times).*resume"):
        work(Actors(lambda job: "killed by signal 9", lambda job: "killed by signal 9"))


def test_hands_that_join_late_are_used() -> None:
    crew = Actors(honest)
    first = crew.give

    def give(hand: Hand, job: Job) -> None:
        first(hand, job)
        if job.id == 1 and crew.size == 1:
            crew.behaviours.append(honest)

    crew.give = give  # type: ignore[method-assign]
    results, _ = work(crew)
    assert results == WANTED
    assert {name for name, _ in crew.given} == {"hand 0", "hand 1"}


def test_who_computes_other_digits_is_not_used() -> None:
    with pytest.raises(WorkerError, match="torch is 2, not 1"):
        work(Actors(honest, honest, hello={"torch": "2"}))


def test_half_of_the_hands_dying_at_random_changes_nothing() -> None:
    chance = random.Random(0)
    crew = Actors(*[lambda job: "gone" if chance.random() < 0.4 else honest(job)] * 4)
    for _ in range(20):
        results, _ = work(crew, 12)
        assert results == [10 * k for k in range(12)]


def test_a_driver_that_was_itself_suspended_blames_nobody() -> None:
    crew = Actors(honest)
    wait = crew.wait

    def asleep(seconds: float) -> list[Event]:
        if crew.given and crew.now < 1000:
            crew.now += 3600  # Ctrl-Z, and fg an hour later
            return []
        return wait(seconds)

    crew.wait = asleep  # type: ignore[method-assign]
    results, supervisor = work(crew)
    assert results == WANTED
    assert supervisor.notes == []


def later(crew: Actors, seconds: float) -> Behaviour:
    """What a hand does who answers after so many seconds, and whom nobody reminds in the meantime."""
    wait = crew.wait
    due: list[tuple[float, Event]] = []

    def waits(most: float) -> list[Event]:
        crew.events += [event for when, event in due if when <= crew.now]
        due[:] = [(when, event) for when, event in due if when > crew.now]
        return wait(most)

    def behaviour(job: Job) -> None:
        hand = next(hand for hand in crew.hands if hand.job is job)
        due.append((crew.now + seconds, Event(hand, honest(job))))

    crew.wait = waits  # type: ignore[method-assign]
    return behaviour


def test_who_has_told_of_a_failure_owes_nothing() -> None:
    crew = Actors(honest, once(Message({"id": 1, "error": "MemoryError: ", "known": False}, {})))
    patience = Patience(first=20, floor=30)
    supervisor = Supervisor(crew, IDENTITY, patience, clock=lambda: crew.now)
    assert supervisor.run(numbered([0, 1]), parse) == [0, 10]
    crew.behaviours[0] = later(crew, 25)
    assert supervisor.run(numbered([2]), parse) == [20]
    assert (crew.dismissed, supervisor.notes, patience.floor) == (0, [], 30)


@pytest.mark.parametrize("seconds", [0.0, 99.0, 101.0])
def test_what_an_interrupted_generation_has_left_behind_is_no_silence(seconds: float) -> None:
    """The answer comes at once, while nobody listens, or when the next generation has begun."""
    crew = Actors()
    crew.behaviours.append(later(crew, seconds))
    patience, wait = Patience(first=20, floor=30), crew.wait

    def interrupted(most: float) -> list[Event]:
        if crew.given:
            raise KeyboardInterrupt
        return wait(most)

    supervisor = Supervisor(crew, IDENTITY, patience, clock=lambda: crew.now)
    crew.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        supervisor.run(numbered([0]), parse)
    crew.wait, crew.now = wait, 100  # type: ignore[method-assign]
    crew.behaviours[:] = honest, honest
    assert supervisor.run(numbered([1, 2, 3]), parse) == [10, 20, 30]
    assert (crew.dismissed, supervisor.notes, patience.floor) == (0, [], 30)


def test_patience_follows_what_was_slow() -> None:
    patience = Patience(first=100, floor=2, factor=3)
    assert patience.allowed(1000) == 100
    patience.learn(10, 1000)
    patience.learn(1, 1000)
    assert patience.allowed(1000) == pytest.approx(2 + 3 * 10)
    patience.missed()
    assert patience.allowed(1000) == pytest.approx(4 + 6 * 10)


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
    nonsense = [
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
    for other in nonsense:
        with pytest.raises(ProtocolError):
            parse(scores(**other))
