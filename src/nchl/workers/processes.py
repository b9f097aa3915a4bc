"""A pool of processes on this machine.

They are called `nchl-worker`, and end when this process does, however suddenly. Each has a thread here that writes and reads, so that a
suspended worker does not block the others.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from nchl.child import Child
from nchl.errors import WorkerError
from nchl.wire import Message, ProtocolError
from nchl.workers.supervisor import Event, Job, Pool, Worker

_SECONDS_TO_LEAVE = 2.0


class _Process(Worker):
    """A process, and the thread that exchanges messages with it."""

    def __init__(self, number: int, pool: Processes, variables: dict[str, str]) -> None:
        by_main_thread = threading.current_thread() is threading.main_thread()
        words = str(os.getpid()), str(int(by_main_thread))
        # A session of its own: on Ctrl-C or a lost terminal, this process decides and then ends the workers.
        self.child = Child("nchl.workers.process", *words, own_session=True, variables=variables)
        super().__init__(f"worker {number} (process {self.child.pid})")
        self.inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._pool = pool
        self._key = -1
        self.thread = threading.Thread(target=self._talk, name=self.name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # the system starts no more threads
            self.end(kill=True)
            self.reap(_SECONDS_TO_LEAVE)
            raise

    def _talk(self) -> None:
        pool = self._pool
        try:
            self._send(pool.recipe)
            while True:
                message, size = self.child.receive()
                pool.count(received=size)
                pool.events.put(Event(self, message))
                job = self.inbox.get()
                if job is None:
                    return
                if (key := job.request.header["shared"]) != self._key:
                    self._send(pool.shared)
                    self._key = key
                self._send(job.request)
        except ProtocolError as error:
            pool.events.put(Event(self, None, str(error)))
        except (EOFError, OSError, ValueError):  # ValueError: the pipe was closed on this side
            pool.events.put(Event(self, None, self.child.how_it_ended()))

    def _send(self, message: Message) -> None:
        self._pool.count(sent=self.child.send(*message))

    def end(self, *, kill: bool) -> None:
        """Kill it, or end its input; does not wait."""
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


class Processes(Pool):
    """A pool of processes; lost ones are replaced.

    Args:
        recipe: from `describe_recipe`.
        count: number of processes.
        threads: threads of each.
    """

    def __init__(self, recipe: Message, count: int, threads: int) -> None:
        self.workers: list[Worker] = []
        self.recipe, self.shared = recipe, Message({}, {})
        self.events: queue.Queue[Event] = queue.Queue()
        self._count, self._started = count, 0
        self._lock = threading.Lock()
        self._variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))

    @property
    def size(self) -> int:
        """See `Pool.size`."""
        return self._count

    def count(self, sent: int = 0, received: int = 0) -> None:
        """Add to the counted bytes; thread-safe."""
        with self._lock:
            self.sent_bytes += sent
            self.received_bytes += received

    def start_missing(self) -> None:
        """See `Pool.start_missing`.

        Raises:
            WorkerError: the system starts no more processes or threads.
        """
        while len(self.workers) < self._count:
            self._started += 1
            try:
                self.workers.append(_Process(self._started, self, self._variables))
            except (OSError, RuntimeError) as error:
                raise WorkerError(
                    f"{len(self.workers)} of {self._count} worker processes could be started, then the system refused ({error}); use fewer"
                ) from error

    def share(self, key: int, message: Message) -> None:
        """See `Pool.share`; each worker gets it with its first request of that key."""
        self.shared = message

    def assign(self, worker: Worker, job: Job) -> None:
        """See `Pool.assign`."""
        assert isinstance(worker, _Process)
        worker.inbox.put(job)

    def wait(self, seconds: float) -> list[Event]:
        """See `Pool.wait`."""
        events = []
        with contextlib.suppress(queue.Empty):
            events.append(self.events.get(timeout=seconds))
            while True:
                events.append(self.events.get_nowait())
        return [event for event in events if event.worker in self.workers]

    def remove_worker(self, worker: Worker) -> None:
        """See `Pool.remove_worker`."""
        assert isinstance(worker, _Process)
        self.workers.remove(worker)
        worker.end(kill=True)
        worker.reap(_SECONDS_TO_LEAVE)

    def exclude(self, worker: Worker) -> None:
        """See `Pool.exclude`."""
        self.remove_worker(worker)
        self._count -= 1

    def close(self) -> None:
        """See `Pool.close`."""
        leaving = [worker for worker in self.workers if isinstance(worker, _Process)]
        self.workers = []
        for worker in leaving:
            worker.end(kill=worker.job is not None or not worker.ready)
        for worker in leaving:
            worker.reap(_SECONDS_TO_LEAVE)
