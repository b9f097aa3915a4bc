"""Child processes that exchange messages with this one over pipes, see `nchl.wire`.

A child is a new interpreter (no fork: the threads of torch and EnvPool would not survive it) that runs `main()` of a module and
imports from the same places as this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from nchl import wire

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_SECONDS_BETWEEN_LOOKS = 0.5


def command(module: str, *words: str) -> list[str]:
    """The words that start a child."""
    return [sys.executable, "-P", "-c", f"from {module} import main; main()", *words]


def environment(**more: str) -> dict[str, str]:
    """The environment variables of a child: those of this process, the places that it imports from, and `more`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path), **more}


class Child:
    """A child process.

    Args:
        module: its `main()` is run.
        *words: arguments, as `sys.argv[1:]` of the child.
        own_session: keep Ctrl-C and a lost terminal from the child.
        variables: further environment variables.

    Raises:
        OSError: the system starts no more processes.
    """

    def __init__(self, module: str, *words: str, own_session: bool = False, variables: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(module, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(**(variables or {})),
            start_new_session=own_session,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._answers = self.process.stdin, self.process.stdout

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def send(self, header: Mapping[str, object], arrays: Mapping[str, np.ndarray] | None = None) -> int:
        """Send one message; returns its size in bytes.

        Raises:
            OSError: the child has ended.
        """
        return wire.send(self._requests, header, arrays)

    def receive(self) -> tuple[wire.Message, int]:
        """Wait for one message; returns it with its size in bytes.

        Raises:
            EOFError: the child has ended.
            ProtocolError: the bytes are not a message.
        """
        return wire.receive(self._answers)

    def answers_within(self, seconds: float) -> bool:
        """Wait until an answer begins, at most for some time; only for a child that answers one message with one."""
        return bool(select.select([self._answers], [], [], max(0.0, seconds))[0])

    def how_it_ended(self) -> str:
        """The exit status of a child whose pipes have closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=1)
            return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        return "it closed its pipe"

    def close_input(self) -> None:
        """End its input, so that it ends by itself."""
        with contextlib.suppress(OSError):  # it has ended
            self._requests.close()

    def kill(self) -> None:
        """Kill it; does not wait."""
        self.process.kill()

    def reap(self, seconds: float) -> None:
        """Wait for its end; kill it if that takes longer than so many seconds."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close_pipes(self) -> None:
        """Close both pipes; a child that reads or writes then ends by itself."""
        self.close_input()
        with contextlib.suppress(OSError):
            self._answers.close()


def pipes_to_parent() -> tuple[IO[bytes], IO[bytes]]:
    """In a child: the pipes of requests and answers. Afterwards all that the process prints goes to stderr, and its stdin is empty."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


def end_with_parent(parent: int, by_main_thread: bool) -> None:
    """In a child: end when the parent does, even if it is killed while this process is busy or suspended.

    Args:
        parent: its process id.
        by_main_thread: whether its main thread has started this process.
    """
    # The signal comes at the end of the thread that started this process; only the main thread certainly lasts.
    if by_main_thread and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
