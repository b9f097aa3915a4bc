"""Gymnasium environments in several processes; `gym_worker` is the other end.

A process that fails ends the run: the environments in it have a state, so its work cannot be done again elsewhere as a worker's can.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nchl.child import Child
from nchl.errors import TaskError
from nchl.simulators.flatten import Packing
from nchl.simulators.host import Rows
from nchl.wire import ProtocolError

PATIENCE = "NCHL_ENVIRONMENT_SECONDS"
NOT_AS_GYMNASIUM = "the environment does not answer as Gymnasium's do"


class Processes:
    """Environments in several processes; row `i` is in process `i % processes`, so that those that end early spread.

    Attributes:
        size: environments.
        whole: whether every request has been answered; after an interruption a process may still owe an answer.
    """

    def __init__(self, recipe: Mapping[str, Any], size: int, pack: Packing, processes: int) -> None:
        self.size, self._pack, self.whole = size, pack, False
        self._asked = "make", 0.0  # the request, and the time until which its answers are waited for
        self._children: list[Child] = []
        self._finalizer = weakref.finalize(self, _end, self._children)
        try:
            for _ in range(processes):
                self._children.append(Child("nchl.simulators.gym_worker"))
            make = {"do": "make", "recipe": dict(recipe)}
            self._exchange({k: ({**make, "count": len(range(k, size, processes))}, {}) for k in range(processes)})
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
        parts = self._exchange({k: ({"do": "reset"}, {"seeds": np.array(seeds[k::count], dtype=np.int64)}) for k in busy})
        return self._pack.put_together(_merged(parts, [np.arange(k, len(seeds), count) for k in busy], len(seeds)))

    def step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """Step some environments."""
        count = len(self._children)
        places = [np.flatnonzero(rows % count == k) for k in range(count)]
        busy = [k for k in range(count) if len(places[k])]
        parts = self._exchange({k: ({"do": "step"}, {"rows": rows[places[k]] // count, "actions": actions[places[k]]}) for k in busy})
        *seen, rewards, terminated, truncated = _merged(parts, [places[k] for k in busy], len(rows))
        return Rows(self._pack.put_together(seen), rewards, terminated, truncated)

    def _exchange(self, requests: Mapping[int, tuple[dict[str, Any], dict[str, np.ndarray]]]) -> list[list[np.ndarray]]:
        """Send all requests, by the number of the process, before waiting for the first answer; returns the arrays of the answers."""
        self.whole = False
        for header, _ in requests.values():
            self._asked = str(header["do"]), time.monotonic() + patience()
        for k, (header, arrays) in requests.items():
            self._ask(k, header, arrays)
        answers = [self._answer(k) for k in requests]
        self.whole = True
        return answers

    def _ask(self, k: int, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        try:
            self._children[k].send(header, arrays)
        except OSError as error:
            raise self._gone(k) from error

    def _answer(self, k: int) -> list[np.ndarray]:
        asked, deadline = self._asked
        if not self._children[k].answers_within(deadline - time.monotonic()):
            for child in self._children:  # one that hangs would not notice the end of its input
                child.kill()
            self.close()
            raise TaskError(
                f"an environment has not come back from {asked} within {patience():g} seconds, and was ended; if it needs longer, set "
                f"{PATIENCE}=SECONDS in the environment"
            )
        try:
            (header, arrays), _ = self._children[k].receive()
        except (EOFError, ProtocolError) as error:
            raise self._gone(k) from error
        if "unexpected" in header:
            self.close()
            raise TaskError(f"{NOT_AS_GYMNASIUM}: {header['unexpected']}")
        if "error" in header:
            self.close()
            raise TaskError(f"an environment failed in its process: {header['error']}\n{header['traceback']}")
        return list(arrays.values())

    def _gone(self, k: int) -> TaskError:
        child = self._children[k]
        self.close()
        return TaskError(f"a process of environments ended unexpectedly ({child.how_it_ended()}); its last words are above")

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
    """Puts arrays of several processes together: row `places[k][i]` is row i of process k.

    The type holds the numbers of all, so that it does not depend on which process answers first.
    """
    merged = []
    for arrays in zip(*parts, strict=True):
        whole = np.empty((size, *arrays[0].shape[1:]), dtype=np.result_type(*arrays))
        for place, array in zip(places, arrays, strict=True):
            whole[place] = array
        merged.append(whole)
    return merged


def _end(children: list[Child]) -> None:
    """Close the pipes of each child, then wait for its end; kill a child that takes longer than five seconds."""
    for child in children:
        child.close_pipes()
    for child in children:
        child.reap(5)
