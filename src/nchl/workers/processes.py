"""Processes on this machine, each with pipes of its own to this one.

They are started anew (no fork: torch's and EnvPool's threads would not survive it), are called `nchl-worker`, and end when
this process does, however suddenly. A thread for each writes and reads, so that one who is suspended holds up nobody.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from nchl.child import Child
from nchl.errors import WorkerError
from nchl.wire import Message, ProtocolError
from nchl.workers.supervisor import Crew, Event, Hand, Job

_SECONDS_TO_LEAVE = 2.0


class _Process(Hand):
    """A process and the thread that talks to it."""

    def __init__(self, number: int, crew: Processes, variables: dict[str, str]) -> None:
        by_main_thread = threading.current_thread() is threading.main_thread()
        words = str(os.getpid()), str(int(by_main_thread))
        # A session of its own: on Ctrl-C or a lost terminal, this process decides and then ends the workers.
        self.child = Child("nchl.workers.process", *words, own_session=True, variables=variables)
        super().__init__(f"worker {number} (process {self.child.pid})")
        self.inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._crew = crew
        self._key = -1
        self.thread = threading.Thread(target=self._talk, name=self.name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # the system starts no more threads
            self.end(kill=True)
            self.reap(_SECONDS_TO_LEAVE)
            raise

    def _talk(self) -> None:
        crew = self._crew
        try:
            self._send(crew.recipe)
            while True:
                message, size = self.child.receive()
                crew.count(received=size)
                crew.events.put(Event(self, message))
                job = self.inbox.get()
                if job is None:
                    return
                if (key := job.request.header["shared"]) != self._key:
                    self._send(crew.shared)
                    self._key = key
                self._send(job.request)
        except ProtocolError as error:
            crew.events.put(Event(self, None, str(error)))
        except (EOFError, OSError, ValueError):  # ValueError: the pipe was closed on this side
            crew.events.put(Event(self, None, self.child.how_it_ended()))

    def _send(self, message: Message) -> None:
        self._crew.count(sent=self.child.send(*message))

    def end(self, *, kill: bool) -> None:
        """Close the pipes, or kill; does not wait."""
        self.inbox.put(None)
        if kill:
            self.child.kill()
        else:
            self.child.close_input()

    def reap(self, seconds: float) -> None:
        """Wait for its end; kill it if that takes longer."""
        self.child.reap(seconds)
        if self.thread.ident is not None:
            self.thread.join(timeout=1)
        self.child.close_pipes()


class Processes(Crew):
    """A crew of processes; one that is lost is replaced.

    Args:
        recipe: from `describe_recipe`.
        count: how many.
        threads: of each.
    """

    def __init__(self, recipe: Message, count: int, threads: int) -> None:
        self.hands: list[Hand] = []
        self.recipe, self.shared = recipe, Message({}, {})
        self.events: queue.Queue[Event] = queue.Queue()
        self._count, self._started = count, 0
        self._lock = threading.Lock()
        self._variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))

    @property
    def size(self) -> int:
        """See `Crew.size`."""
        return self._count

    def count(self, sent: int = 0, received: int = 0) -> None:
        """Add to the bytes; called by the threads."""
        with self._lock:
            self.sent_bytes += sent
            self.received_bytes += received

    def muster(self) -> None:
        """See `Crew.muster`.

        Raises:
            WorkerError: the system gives no more processes or threads.
        """
        while len(self.hands) < self._count:
            self._started += 1
            try:
                self.hands.append(_Process(self._started, self, self._variables))
            except (OSError, RuntimeError) as error:
                raise WorkerError(
                    f"{len(self.hands)} of {self._count} worker processes could be started, then the system refused ({error}); use fewer"
                ) from error

    def share(self, key: int, message: Message) -> None:
        """See `Crew.share`; it is sent to each with his first request of that key."""
        self.shared = message

    def give(self, hand: Hand, job: Job) -> None:
        """See `Crew.give`."""
        assert isinstance(hand, _Process)
        hand.inbox.put(job)

    def wait(self, seconds: float) -> list[Event]:
        """See `Crew.wait`."""
        events = []
        with contextlib.suppress(queue.Empty):
            events.append(self.events.get(timeout=seconds))
            while True:
                events.append(self.events.get_nowait())
        return [event for event in events if event.hand in self.hands]

    def dismiss(self, hand: Hand) -> None:
        """See `Crew.dismiss`."""
        assert isinstance(hand, _Process)
        self.hands.remove(hand)
        hand.end(kill=True)
        hand.reap(_SECONDS_TO_LEAVE)

    def refuse(self, hand: Hand) -> None:
        """See `Crew.refuse`."""
        self.dismiss(hand)
        self._count -= 1

    def close(self) -> None:
        """See `Crew.close`."""
        leaving = [hand for hand in self.hands if isinstance(hand, _Process)]
        self.hands = []
        for hand in leaving:
            hand.end(kill=hand.job is not None or not hand.ready)
        for hand in leaving:
            hand.reap(_SECONDS_TO_LEAVE)
