"""`trials` in several processes, each for some of the perturbations; the results are the same.

Ctrl-C reaches them as it reaches this process, and they end when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nchl.child import Child, end_with_parent, pipes_to_parent
from nchl.cores import available
from nchl.errors import NchlError, WorkerError
from nchl.runs.adaptation.trials import Asked, Episodes, Trial, trials
from nchl.wire import Message, ProtocolError, receive, send

_PARTS = ("rewards", "lengths", "returns")
_SECONDS_TO_LEAVE = 2.0  # after it was killed


def trials_in_processes(
    run: os.PathLike[str] | str,
    asked: Asked,
    *,
    workers: int = 1,
    on_note: Callable[[str], None] | None = None,
    **how: Any,
) -> list[Trial]:
    """The same as `trials`, in several processes.

    Args:
        run: the run folder.
        asked: the perturbations.
        workers: number of processes; 1: this one.
        on_note: called with lines for the user.
        **how: further arguments of `trials`.

    Raises:
        NchlError: as `trials`; a `WorkerError` if a process is lost.
    """
    labels = list(asked.perturbations)
    shares = [share for k in range(workers) if (share := labels[k::workers])]
    if workers == 1 or len(shares) == 1:
        return trials(run, asked, on_note=on_note, **how)
    threads = max(1, len(available()) // len(shares))
    children: list[Child] = []
    words = str(os.getpid()), str(int(threading.current_thread() is threading.main_thread()))
    try:
        for share in shares:
            children.append(Child(__name__, *words, variables={"OMP_NUM_THREADS": str(threads)}))
            named = {label: asked.perturbations[label] for label in share}
            children[-1].send({"run": os.fspath(run), "suite": asked.suite, "perturbations": named, "how": how})
        answers = [_answer(child) for child in children]
    finally:
        for child in children:
            child.kill()
            child.reap(_SECONDS_TO_LEAVE)
            child.close_pipes()
    found: dict[str, list[Trial]] = {}
    notes: dict[str, None] = {}
    for answer in answers:
        for trial in _read(answer):
            found.setdefault(trial.perturbation, []).append(trial)
        notes |= dict.fromkeys(answer.header["notes"])
    for note in notes:
        if on_note is not None:
            on_note(note)
    return [trial for label in labels for trial in found[label]]


def _answer(child: Child) -> Message:
    try:
        message, _ = child.receive()
    except (EOFError, ProtocolError) as error:
        raise WorkerError(
            f"a process that played perturbations ended unexpectedly ({child.how_it_ended()}); its output is above"
        ) from error
    if "error" in message.header:
        raise (NchlError if message.header["known"] else WorkerError)(str(message.header["error"]))
    return message


def _written(made: list[Trial], notes: list[str]) -> Message:
    """Trials as a message: plain data and arrays. `_read` is the inverse."""
    header = [{name: getattr(trial, name) for name in ("perturbation", "text", "control", "repeat")} for trial in made]
    arrays: dict[str, np.ndarray] = {}
    for k, trial in enumerate(made):
        arrays[f"{k}.moments"] = trial.moments.astype("<i8")
        for side in ("intact", "perturbed"):
            for part in _PARTS:
                arrays[f"{k}.{side}.{part}"] = getattr(getattr(trial, side), part)
    return Message({"trials": header, "notes": notes}, arrays)


def _read(message: Message) -> list[Trial]:
    arrays = message.arrays
    return [
        Trial(
            moments=arrays[f"{k}.moments"],
            intact=Episodes(*(arrays[f"{k}.intact.{part}"] for part in _PARTS)),
            perturbed=Episodes(*(arrays[f"{k}.perturbed.{part}"] for part in _PARTS)),
            **about,
        )
        for k, about in enumerate(message.header["trials"])
    ]


def main() -> None:
    """Play the request on standard input and answer on standard output; output of simulators goes to standard error.

    Arguments: the parent's process id, and 1 if its main thread has started this process.
    """
    end_with_parent(int(sys.argv[1]), sys.argv[2] == "1")
    requests, answers = pipes_to_parent()
    with contextlib.suppress(EOFError, BrokenPipeError):
        request, _ = receive(requests)
        asked = request.header
        notes: list[str] = []
        try:
            named = Asked(asked["suite"], "", asked["perturbations"])
            answer = _written(trials(asked["run"], named, on_note=notes.append, **asked["how"]), notes)
        except Exception as error:  # a user's own rule may raise anything
            known = isinstance(error, NchlError)
            answer = Message({"error": str(error) if known else f"{type(error).__name__}: {error}", "known": known}, {})
        send(answers, *answer)
    os._exit(0)  # threads of simulators may still hold locks
