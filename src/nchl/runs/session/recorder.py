"""The files that a run writes while it goes on: a row and events per generation, checkpoints, and results.

A checkpoint is written after each generation or every five seconds, whichever is rarer, and at the end. Its state is taken right after a
generation, so that it is consistent whenever it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from nchl.errors import RunError
from nchl.evolve import Evolution, Generation
from nchl.runs.files.writing import write_json, writing_to
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.sinks.trackers import Trackers
from nchl.runs.store.checkpoints import write_checkpoint
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import COLUMNS, MetricsFile, resident_mb
from nchl.runs.store.results import write_results

CHECKPOINT_SECONDS = 5.0
_BLOCKS_EVERY = 10  # generations between two histograms of each block of the genome
_SCALARS = {
    "fitness": ("best", "mean", "std", "best_so_far"),
    "search": ("sigma", "lr", "non_finite", "length"),
    "validation": ("validation_best", "validation_centre"),
    "machine": ("steps_per_s", "evaluate_seconds", "search_seconds", "sent_mb", "received_mb", "resident_mb"),
}


class Recorder:
    """Writes into the folder of a run.

    Args:
        folder: of the run.
        evolution: its loop.
        begun: whether the run was begun in an earlier session; its files are then truncated to the generation reached.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, folder: RunFolder, evolution: Evolution, *, begun: bool, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._evolution = evolution
        self._clock = clock
        self._state = evolution.state()
        self._generation = evolution.generation
        self._written = evolution.generation if begun else -1
        self._metrics = MetricsFile(folder.metrics, keep=self._generation)
        with contextlib.ExitStack() as undo:
            undo.callback(self._metrics.close)
            self._events = EventFile(folder.tensorboard, keep=self._generation)
            undo.callback(self._events.close)
            if begun:
                with writing_to(folder.summary):
                    folder.summary.unlink(missing_ok=True)  # of an earlier end
            else:
                self.checkpoint()
            undo.pop_all()
        self._trackers = Trackers.of_run(folder)
        self._last_written = clock()

    @property
    def notes(self) -> list[str]:
        """Lines for the user about the files and the trackers; each generation may add some."""
        return [*self._metrics.notes, *self._trackers.notes]

    def keep(self, generation: Generation) -> None:
        """Record a generation that has just ended.

        Raises:
            RunError: something cannot be written; the last good checkpoint remains.
        """
        self._state = self._evolution.state()
        self._generation = generation.generation
        row: dict[str, Any] = {name: getattr(generation, name, None) for name in COLUMNS}
        row["resident_mb"] = resident_mb()
        self._metrics.write(row)
        scalars = {f"{group}/{name}": float(row[name]) for group, names in _SCALARS.items() for name in names}
        histograms = {"fitness/all": generation.fitness, "search/centre": generation.centre, **self._blocks(generation)}
        self._events.write(generation.generation, scalars, histograms)
        self._trackers.write(generation.generation, scalars, histograms)
        if self._clock() - self._last_written >= CHECKPOINT_SECONDS:
            self.checkpoint()

    def _blocks(self, generation: Generation) -> dict[str, np.ndarray]:
        """The centre's numbers by block and parameter, in the first generation and every tenth, independent of resumes."""
        if generation.generation != 1 and generation.generation % _BLOCKS_EVERY:
            return {}
        layout = self._evolution.workers.layout
        names = [f"{block.name}.{name}" if name else block.name for block in layout.blocks for name in block.parameters or ("",)]
        return {f"genome/{name}": generation.centre[layout[name]] for name in names}

    def checkpoint(self) -> None:
        """Write the state after the last whole generation, unless that was done already."""
        if self._written == self._generation:
            return
        self._metrics.sync()
        write_checkpoint(self._folder.checkpoints, self._generation, *self._state)
        self._written = self._generation
        write_results(self._folder, self._generation, *self._state)
        self._last_written = self._clock()

    def finish(self, reason: str | None) -> dict[str, Any]:
        """Write the last checkpoint and results and, if the run has ended for a reason, `summary.json`. Returns the summary."""
        self.checkpoint()
        write_results(self._folder, self._generation, *self._state)
        about = self._state[1]
        summary = {
            "reason": reason,
            "generations": self._generation,
            **{name: about[name] for name in ("evaluations", "env_steps", "seconds", "best_so_far", "best")},
        }
        if reason is not None:
            write_json(self._folder.summary, summary)
        self._trackers.finish(summary if reason is not None else None)
        return summary

    def close(self) -> None:
        """Close the files."""
        self._trackers.finish(None)
        for file in (self._metrics, self._events):
            # A failure to write was reported already.
            with contextlib.suppress(RunError):
                file.close()
