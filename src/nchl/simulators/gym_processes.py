"""Gymnasium environments in several processes, which answer over pipes; see `gym_worker` for the other end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import TaskError
from nchl.simulators import gym_worker
from nchl.simulators.flatten import Packing
from nchl.simulators.host import Rows

PATIENCE = "NCHL_ENVIRONMENT_SECONDS"
NOT_AS_GYMNASIUM = "the environment does not answer as Gymnasium's do"


class Processes:
    """Environments in several processes; row `i` is in process `i % processes`, so that those that end early spread.

    Attributes:
        size: environments.
        whole: whether each process has answered what it was asked; one that a signal kept from it would be a message behind.
    """

    def __init__(self, recipe: Mapping[str, Any], size: int, pack: Packing, processes: int) -> None:
        self.size, self._pack, self.whole = size, pack, False
        self._asked = "make", 0.0  # what was asked, and until when the answers are waited for
        self._children: list[subprocess.Popen[bytes]] = []
        self._finalizer = weakref.finalize(self, _end, self._children)
        # -P: the script's folder must not hide packages of the same names as its neighbours.
        command = [sys.executable, "-P", str(Path(gym_worker.__file__))]
        try:
            for _ in range(processes):
                self._children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            make = {"do": "make", "recipe": dict(recipe), "path": sys.path}
            self._exchange({k: ({**make, "count": len(range(k, size, processes))}, []) for k in range(processes)})
        except OSError as error:
            self.close()
            started = len(self._children)
            raise TaskError(f"only {started} of {processes} processes of environments could be started ({error}); use fewer") from error
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin an episode in the first `len(seeds)` rows."""
        count = len(self._children)
        busy = [k for k in range(count) if seeds[k::count]]
        parts = self._exchange({k: ({"do": "reset"}, [np.array(seeds[k::count], dtype=np.int64)]) for k in busy})
        return self._pack.put_together(_merged(parts, [np.arange(k, len(seeds), count) for k in busy], len(seeds)))

    def step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """Step some environments."""
        count = len(self._children)
        places = [np.flatnonzero(rows % count == k) for k in range(count)]
        busy = [k for k in range(count) if len(places[k])]
        parts = self._exchange({k: ({"do": "step"}, [rows[places[k]] // count, actions[places[k]]]) for k in busy})
        *seen, rewards, terminated, truncated = _merged(parts, [places[k] for k in busy], len(rows))
        return Rows(self._pack.put_together(seen), rewards, terminated, truncated)

    def _exchange(self, questions: Mapping[int, tuple[dict[str, Any], list[np.ndarray]]]) -> list[list[np.ndarray]]:
        """Ask some of the processes, all before the first answer is waited for; their answers."""
        self.whole = False
        for header, _ in questions.values():
            self._asked = str(header["do"]), time.monotonic() + patience()
        for k, (header, arrays) in questions.items():
            self._ask(k, header, arrays)
        answers = [self._answer(k) for k in questions]
        self.whole = True
        return answers

    def _ask(self, k: int, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
        try:
            gym_worker.send(self._children[k].stdin, header, arrays)  # type: ignore[arg-type]
        except (BrokenPipeError, OSError) as error:
            raise self._gone(k) from error

    def _answer(self, k: int) -> list[np.ndarray]:
        pipe, (asked, deadline) = self._children[k].stdout, self._asked
        assert pipe is not None
        # Looked at before the read: an answer comes whole, so nothing of the next one waits in the pipe's own buffer.
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            for child in self._children:  # one that hangs would not see that its input ends
                child.kill()
            self.close()
            raise TaskError(
                f"an environment has not come back from {asked} within {patience():g} seconds, and was ended; if it needs longer, set "
                f"{PATIENCE}=SECONDS in the environment"
            )
        try:
            header, arrays = gym_worker.receive(self._children[k].stdout)  # type: ignore[arg-type]
        except EOFError as error:
            raise self._gone(k) from error
        if "unexpected" in header:
            self.close()
            raise TaskError(f"{NOT_AS_GYMNASIUM}: {header['unexpected']}")
        if "error" in header:
            self.close()
            raise TaskError(f"an environment failed in its process: {header['error']}\n{header['traceback']}")
        return arrays

    def _gone(self, k: int) -> TaskError:
        child = self._children[k]
        self.close()
        return TaskError(f"a process of environments ended unexpectedly (exit status {child.returncode}); its last words are above")

    def close(self) -> None:
        """End the processes."""
        self._finalizer()


def patience() -> float:
    """Seconds that environments in processes may take for one answer.

    Raises:
        TaskError: the variable that sets it holds no positive number.
    """
    told = os.environ.get(PATIENCE, "")
    try:
        seconds = float(told or 600)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 1e9:
        raise TaskError(f"{PATIENCE} must be a number of seconds above 0, got {told!r}")
    return seconds


def _merged(parts: Sequence[Sequence[np.ndarray]], places: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Arrays of several processes as one each, whose row `places[k][i]` is row i of process k.

    The type holds the numbers of all, so that it does not depend on which process answers first.
    """
    merged = []
    for arrays in zip(*parts, strict=True):
        whole = np.empty((size, *arrays[0].shape[1:]), dtype=np.result_type(*arrays))
        for place, array in zip(places, arrays, strict=True):
            whole[place] = array
        merged.append(whole)
    return merged


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Close the input of each child and wait; one that does not go is killed."""
    for child in children:
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # the child went first
                pass
    for child in children:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
