"""What a run writes while it goes on: a row and events per generation, checkpoints, and its results.

A checkpoint is written after each generation or every five seconds, whichever is rarer, and at the end. Everything in it is
taken right after a generation, so that it is whole whenever it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nchl.errors import RunError
from nchl.evolve import CONSTANT, Evolution, Generation
from nchl.networks.base import PlasticNetwork
from nchl.rollout import ObservationStatistics
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.sinks.trackers import Trackers
from nchl.runs.store.checkpoints import write_checkpoint
from nchl.runs.store.files import cannot_write, write_json, write_tensors
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import COLUMNS, MetricsFile, resident_mb

CHECKPOINT_SECONDS = 5.0
NOT_RECORDED = (
    "this run is from a version that did not record the network's constants (biases, BatchNorm statistics): they are drawn anew "
    "under the run's seed and are not those that it was evolved with"
)
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
        folder: where.
        evolution: what is recorded.
        begun: whether the run was begun in an earlier session; its files are then cut back to the generation reached.
        clock: seconds that only ever grow.
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
                try:
                    folder.summary.unlink(missing_ok=True)  # it speaks of an earlier end
                except OSError as error:
                    raise cannot_write(folder.summary, error) from error
            else:
                self.checkpoint()
            undo.pop_all()
        self._trackers = Trackers.of_run(folder)
        self._last_written = clock()

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files and the trackers; there may be more after a generation."""
        return [*self._metrics.notes, *self._trackers.notes]

    def keep(self, generation: Generation) -> None:
        """Record a generation that has just ended.

        Raises:
            RunError: something cannot be written; the last good checkpoint stays.
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
        """The centre's numbers by block and parameter, in the first generation and every tenth: that depends on nothing else."""
        if generation.generation != 1 and generation.generation % _BLOCKS_EVERY:
            return {}
        layout = self._evolution.workers.layout
        names = [f"{block.name}.{name}" if name else block.name for block in layout.blocks for name in block.parameters or ("",)]
        return {f"genome/{name}": generation.centre[layout[name]] for name in names}

    def checkpoint(self) -> None:
        """Write the state after the last whole generation, unless it is written already."""
        if self._written == self._generation:
            return
        self._metrics.sync()
        write_checkpoint(self._folder.checkpoints, self._generation, *self._state)
        self._written = self._generation
        self._write_results()
        self._last_written = self._clock()

    def finish(self, reason: str | None) -> dict[str, Any]:
        """Write what is left to write; with a reason, the run has ended and `summary.json` says so. Returns the summary."""
        self.checkpoint()
        self._write_results()
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
            # What could not be written has been told already.
            with contextlib.suppress(RunError):
                file.close()

    def _write_results(self) -> None:
        """`centre.safetensors` and `best.safetensors`: nothing in them differs between two equal runs."""
        tensors, about = self._state
        common = {"format": 1, "strategy": about["strategy"]}
        centre, constants = tensors["strategy.centre"], _renamed(tensors, CONSTANT, CONSTANT)
        write_tensors(
            self._folder.centre,
            {"genome": centre, **_renamed(tensors, "statistics.", "statistics."), **constants},
            {**common, "kind": "centre", "generation": self._generation},
        )
        if about["best"] is not None:
            write_tensors(
                self._folder.best,
                {"genome": tensors["best.genome"], **_renamed(tensors, "best.statistics.", "statistics."), **constants},
                {**common, "kind": "best", **about["best"]},
            )


def statistics_from(tensors: dict[str, np.ndarray], shape: tuple[int, ...]) -> ObservationStatistics | None:
    """The observation statistics that lie beside a genome, or None where observations are not normalised."""
    state = _renamed(tensors, "statistics.", "")
    if not state:
        return None
    statistics = ObservationStatistics(shape)
    statistics.load_state_dict(state)
    return statistics


def recorded_constants(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The network's constants in a checkpoint or beside a genome; None where none were recorded."""
    return _renamed(tensors, CONSTANT, "") or None


def unrecorded(network: PlasticNetwork, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """A line for the user where the network has constants that a run of an earlier version did not record."""
    return [NOT_RECORDED] if network.constants() and recorded_constants(tensors) is None else []


def _renamed(tensors: Mapping[str, np.ndarray], prefix: str, new: str) -> dict[str, np.ndarray]:
    return {new + name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
