"""Processes on this machine, each with pipes of its own to this one.

They are started anew (no fork: torch's and EnvPool's threads would not survive it), are called `nchl-worker`, and end when
this process does, however suddenly. A thread for each writes and reads, so that one who is suspended holds up nobody.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading

from nchl.errors import WorkerError
from nchl.workers.supervisor import Crew, Event, Hand, Job
from nchl.workers.wire import Message, Rubbish, receive, send

_PROGRAM = "from nchl.workers.process import main; main()"
_SECONDS_TO_LEAVE = 2.0


class _Process(Hand):
    """A process and the thread that talks to it."""

    def __init__(self, number: int, crew: Processes, environment: dict[str, str]) -> None:
        # A session of its own: Ctrl-C and a lost terminal are this process's affair, which then sends the workers home.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), str(int(threading.current_thread() is threading.main_thread()))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        super().__init__(f"worker {number} (process {self.process.pid})")
        self.inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._crew = crew
        self._key = -1
        self.thread = threading.Thread(target=self._talk, name=self.name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # no thread more
            self.process.kill()
            self.process.communicate()
            raise

    def _talk(self) -> None:
        crew = self._crew
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self._send(crew.recipe)
            while True:
                message, size = receive(self.process.stdout)
                crew.count(received=size)
                crew.events.put(Event(self, message))
                job = self.inbox.get()
                if job is None:
                    return
                if (key := job.request.header["shared"]) != self._key:
                    self._send(crew.shared)
                    self._key = key
                self._send(job.request)
        except Rubbish as error:
            crew.events.put(Event(self, None, str(error)))
        except (EOFError, OSError, ValueError):  # ValueError: the pipe was closed on this side
            crew.events.put(Event(self, None, self._how_it_ended()))

    def _send(self, message: Message) -> None:
        assert self.process.stdin is not None
        self._crew.count(sent=send(self.process.stdin, *message))

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=1)
            return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        return "it closed its pipe"

    def end(self, *, kill: bool) -> None:
        """Close the pipes, or kill; does not wait."""
        self.inbox.put(None)
        if kill:
            self.process.kill()
        else:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # type: ignore[union-attr]

    def reap(self, seconds: float) -> None:
        """Wait until it is gone; kill it where it does not go."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.thread.join(timeout=1)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


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
        # The child finds what this process finds, even where that was not installed.
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}  # noqa: PTH100
        self._environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))

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
                self.hands.append(_Process(self._started, self, self._environment))
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
