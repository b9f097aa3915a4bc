"""The runs of a sweep as processes: one after another or several side by side, each with its share of the cores.

A run that fails does not affect the others. A process of a sweep ends with the sweep (its input ends), however suddenly. No two processes
ever write into one folder: the sweep's lock is held until the last of them has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from nchl.cores import available
from nchl.errors import RunError
from nchl.runs.files.lock import try_lock
from nchl.runs.files.writing import writing_to
from nchl.runs.session.signals import Dropped, Signals
from nchl.runs.store.folder import RunFolder
from nchl.runs.sweep.cell_states import CellState

LOCK, LOGS = ".sweep.lock", "logs"
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 30.0  # for processes that were asked to end
_TAIL = 1 << 13
_TRACEBACK = "Traceback (most recent call last)"

Command = Callable[[CellState, Sequence[int]], list[str]]


class Watcher(Protocol):
    """Receives the events of a sweep."""

    def started(self, state: CellState) -> None:
        """A run has begun or continues."""

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """A run has ended: `done`, `failed` or `stopped`; the message is the reason of a failure."""

    def tick(self, generations: dict[str, int]) -> None:
        """Several times a second: the running cells' names and their numbers of finished generations."""

    def say(self, line: str) -> None:
        """A line for the user."""


@dataclass
class _Job:
    state: CellState
    process: subprocess.Popen[bytes]
    log: Path
    began: int  # size of the log when this attempt began
    slot: int
    told: int | None = None  # the last signal that it was sent

    def tell(self, number: int) -> None:
        if self.told != number:
            self.told = number
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


def run_cells(
    states: Sequence[CellState], out: Path, *, jobs: int, lock: int, command: Command, watcher: Watcher
) -> tuple[dict[str, str], int]:
    """Run the cells that are not done.

    Args:
        states: the cells of the sweep.
        out: the folder that holds their folders.
        jobs: processes side by side, at least 1; no result depends on it.
        lock: from `only_sweep` for the folder.
        command: gives the words that begin or continue a cell on the given cores.
        watcher: receives events.

    Returns:
        Name of each cell that ended here or was never begun -> `done`, `failed`, `stopped` or `waiting`; and the exit code for a signal, 0
        without one.
    """
    outcomes = {state.cell.name: "waiting" for state in states if state.state != "done"}
    waiting = deque(state for state in states if state.state != "done")
    running: list[_Job] = []
    (out / LOGS).mkdir(parents=True, exist_ok=True)

    def finishing() -> None:
        watcher.say("finishing the present generations (Ctrl-C again drops them)")

    def reap() -> None:
        for job in [job for job in running if job.process.poll() is not None]:
            running.remove(job)
            if job.process.stdin is not None:
                job.process.stdin.close()
            outcome, message = _outcome(job)
            outcomes[job.state.cell.name] = outcome
            watcher.ended(job.state, outcome, message)

    with Signals(finishing) as signals:
        try:
            while running or (waiting and signals.received is None):
                with signals.held():
                    while waiting and len(running) < jobs and signals.received is None:
                        free = min(set(range(jobs)) - {job.slot for job in running})
                        running.append(_start(waiting.popleft(), out, lock, command, free, share_of_cores(free, jobs)))
                        watcher.started(running[-1].state)
                    if signals.received is not None:
                        for job in running:
                            job.tell(signal.SIGINT)
                    reap()
                watcher.tick({job.state.cell.name: generations_done(job.state.folder) for job in running})
                time.sleep(POLL_SECONDS)
        except Dropped:
            pass
        finally:
            signals.settle()
            _end(running, reap)
        return outcomes, signals.exit_code


@contextlib.contextmanager
def only_sweep(out: Path, say: Callable[[str], None], patience_s: float = PATIENCE_SECONDS) -> Iterator[int]:
    """Hold the folder, so that no second sweep runs in it; yields the lock, which the processes of the runs inherit.

    The folder is free when the last of them has ended. The last processes of an earlier sweep are waited for.

    Raises:
        RunError: another sweep runs there, or the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"cannot keep runs in {out}: {error.strerror or error}; name another folder with --out") from error
    try:
        deadline = time.monotonic() + patience_s
        while try_lock(descriptor, out / LOCK) is False:
            if time.monotonic() > deadline:
                raise RunError(f"another sweep runs in {out}; wait for it, or name another folder with --out")
            say(f"waiting for the processes of another sweep in {out} to end")
            time.sleep(min(2.0, patience_s))
        yield descriptor
    finally:
        os.close(descriptor)


def share_of_cores(slot: int, jobs: int) -> list[int]:
    """The cores of one of `jobs` processes side by side: equal shares, at least one each."""
    cores = available()
    share = max(1, len(cores) // jobs)
    return [cores[(slot * share + place) % len(cores)] for place in range(share)]


def generations_done(folder: Path) -> int:
    """Generations in a run's metrics, read cheaply from the end of the file."""
    try:
        with RunFolder(folder).metrics.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return 0
    first = lines[-1].split(b",")[0] if lines else b""
    return int(first) if first.isdigit() else 0


def _start(state: CellState, out: Path, lock: int, command: Command, slot: int, cores: list[int]) -> _Job:
    log = out / LOGS / f"{state.cell.name}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(len(cores)))}
    with writing_to(log):
        if state.state == "new":
            _remove_torn(state.folder)
        with log.open("ab") as file:
            began = file.tell()
            process = _popen(command(state, cores), file, environment, lock)
    return _Job(state, process, log, began, slot)


def _popen(words: list[str], log: IO[bytes], environment: dict[str, str], lock: int) -> subprocess.Popen[bytes]:
    # Its input stays open and empty while this process lives. It has its own session, so that Ctrl-C reaches it only from here, once.
    more = {} if os.name == "nt" else {"pass_fds": (lock,), "start_new_session": True}
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment, **more)  # type: ignore[call-overload, no-any-return]


def _remove_torn(folder: Path) -> None:
    """Remove a folder whose process was killed before it was filled."""
    if folder.is_dir():
        for torn in folder.glob(".*.tmp"):
            torn.unlink(missing_ok=True)
        folder.rmdir()


def _end(running: list[_Job], reap: Callable[[], None]) -> None:
    """Ask the running processes to drop their generation and end; kill them after `PATIENCE_SECONDS`."""
    for job in running:
        job.tell(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while running and time.monotonic() < deadline:
        reap()
        time.sleep(POLL_SECONDS)
    for job in running:
        job.process.kill()
        job.process.wait()
    reap()


def _outcome(job: _Job) -> tuple[str, str]:
    code = job.process.returncode
    if code == 0 and RunFolder(job.state.folder).summary.exists():
        return "done", ""
    if job.told is not None and (code in (130, 143) or code in (-signal.SIGTERM, -signal.SIGINT)):
        return "stopped", ""
    return "failed", _reason(code, job.log, job.began)


def _reason(code: int, log: Path, began: int) -> str:
    """The reason of a failure: the signal, or the last error that the log has after its first `began` bytes, or the last line there."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (the system's memory may have run out)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}; see {log}"
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_bytes()[began:][-_TAIL:].decode(errors="replace").splitlines() if line.strip()]
        raised = max((place for place, line in enumerate(lines) if _TRACEBACK in line), default=0)
        told = [line.removeprefix("nchl: ") for line in lines[raised:] if line.startswith("nchl: ")]
        if told or lines:
            return f"{(told or lines)[-1]} (exit code {code}; see {log})"
    return f"it ended with exit code {code}; see {log}"
