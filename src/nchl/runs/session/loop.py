"""One session of a run: generations until the run ends, a signal comes, or something fails; then the folder is ready to be continued."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import RunError
from nchl.evolve import Evolution, Generation
from nchl.runs.provenance import machine
from nchl.runs.session.recorder import Recorder
from nchl.runs.session.signals import Dropped, Signals
from nchl.runs.store.folder import RunFolder

OnGeneration = Callable[[Generation], None]
OnNote = Callable[[str], None]

_log = logging.getLogger("nchl")


@dataclass(frozen=True)
class RunResult:
    """The end of a run, or of one session of it. It stands wherever a run folder is read: `nchl.load(result)`.

    Attributes:
        folder: the run folder.
        generations: number of finished generations, those of earlier sessions included.
        reason: generations, target, max_steps or max_minutes; None if a signal ended the session.
        exit_code: 0, or 128 plus the signal's number: 130 after Ctrl-C, 143 after SIGTERM.
        summary: the content of `summary.json`, also if a signal ended the session.
    """

    folder: Path
    generations: int
    reason: str | None
    exit_code: int
    summary: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def resume_command(self) -> str | None:
        """The command that continues the run; None if it has reached its end."""
        return None if self.reason is not None else f"nchl resume {self.folder}"


def play(folder: RunFolder, evolution: Evolution, *, begun: bool, on_generation: OnGeneration | None, on_note: OnNote | None) -> RunResult:
    """Run generations until the end of the session; `begun`: whether the run was begun in an earlier one.

    Raises:
        RunError: something cannot be written; the last good checkpoint remains.
    """

    def finishing() -> None:
        tell(on_note, ["finishing this generation (Ctrl-C again drops it)"])

    with Signals(finishing) as signals, contextlib.ExitStack() as stack:
        dropped = False
        told = set(evolution.workers.notes)

        def tell_new() -> None:
            notes = [*evolution.workers.notes, *recorder.notes]
            tell(on_note, [note for note in notes if note not in told])
            told.update(notes)

        with signals.held():
            recorder = Recorder(folder, evolution, begun=begun, clock=time.monotonic)
            stack.callback(recorder.close)
        tell_new()
        try:
            for generation in evolution:
                with signals.held():
                    recorder.keep(generation)
                if on_generation is not None:
                    on_generation(generation)
                tell_new()
                if signals.received is not None:
                    break
            signals.settle()
        except Dropped:
            dropped = True
        except BaseException:
            signals.settle()
            # The state after the last whole generation. The error is reported, not a second failure to write.
            with contextlib.suppress(RunError):
                recorder.checkpoint()
            raise
        reason = None if dropped else evolution.reason
        summary = recorder.finish(reason)
        tell_new()
        return RunResult(folder.path, summary["generations"], reason, 0 if reason else signals.exit_code, summary)


def same_bits(evolution: Evolution) -> dict[str, str]:
    """The properties of this machine on which the bits of a run depend."""
    workers = evolution.workers
    return machine.same_bits(backend=workers.backend, simulator=workers.simulator, strategy=evolution.strategy.name)


def tell(on_note: OnNote | None, lines: Iterable[str]) -> None:
    """Call `on_note` with each line; without it, the logger `nchl` warns, which by default prints to stderr."""
    for line in lines:
        if on_note is None:
            _log.warning("%s", line)
        else:
            on_note(line)
