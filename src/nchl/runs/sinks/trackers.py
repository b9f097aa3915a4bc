"""Experiment trackers, Weights & Biases and MLflow: with `--wandb` or `--mlflow` they get the figures that TensorBoard gets.

A tracker changes no result and stops no run: one that fails is dropped with a note. A resumed run continues its record there, which
`tracking.json` in the run folder names. The address of a service comes from environment variables alone, never from a run folder,
because the folder may come from another machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nchl.errors import NchlError, RunError, require
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.writing import write_json
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.folder import RunFolder

# Option -> (package, module that implements `Tracker` with it).
KNOWN = {"wandb": ("wandb", "nchl.runs.sinks.wandb_tracker"), "mlflow": ("mlflow", "nchl.runs.sinks.mlflow_tracker")}


class Tracker(Protocol):
    """One service during one session of a run.

    Attributes:
        state: strings by which a later session finds the same record.
        where: place of the record, as shown to the user.
    """

    state: dict[str, str]
    where: str

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Log the figures of one generation; all are finite."""

    def film(self, step: int, path: Path) -> None:
        """Log the film of an individual of generation `step`."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """End the session; with a summary, the run has ended too."""


class Trackers:
    """The trackers of one run; a failure of one becomes a note.

    Args:
        folder: the run folder.
        names: keys of `KNOWN`.
        about: settings and versions, for the trackers' tables.

    Attributes:
        notes: lines for the user; any call may add some.
    """

    def __init__(self, folder: RunFolder, names: list[str], about: Mapping[str, Any]) -> None:
        self.notes: list[str] = []
        self._open: dict[str, Tracker] = {}
        states = read_states(folder)
        for name in names:

            def begin(name: str = name) -> None:
                package, module = KNOWN[name]
                require(package, "tracking")
                tracker: Tracker = importlib.import_module(module).begin(folder.path, states.get(name, {}), about)
                self._open[name] = tracker
                self.notes.append(f"{name}: {tracker.where}")
                if states.get(name) != tracker.state:
                    states[name] = tracker.state
                    write_json(folder.tracking, states)

            self._guarded(name, begin)

    @classmethod
    def of_run(cls, folder: RunFolder) -> Trackers:
        """The trackers in the run's configuration."""
        record = folder.read_record()
        return cls(folder, wanted(record.settings), {**record.settings.to_json(), **record.versions})

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Log the figures of one generation; values that are not finite are left out."""
        finite = {name: value for name, value in scalars.items() if np.isfinite(value)}
        whole = {name: array[np.isfinite(array)] for name, array in histograms.items()}
        whole = {name: array for name, array in whole.items() if array.size}
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.write, step, finite, whole))

    def film(self, step: int, path: Path) -> None:
        """Log a film with every tracker."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.film, step, path))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """End the session; with a summary, the run has ended too. Further calls do nothing."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.finish, summary))
        self._open.clear()

    def _guarded(self, name: str, what: Callable[[], None]) -> None:
        """Call `what`; if it raises anything, drop the tracker with a note, because a run of days must not end with it."""
        try:
            what()
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.notes.append(f"{name} failed and gets nothing more in this session ({reason}); the run goes on, its folder has everything")


def wanted(config: EvolveConfig) -> list[str]:
    """Names of the trackers in a configuration."""
    return [name for name in KNOWN if getattr(config, name)]


def check(config: EvolveConfig) -> None:
    """Check, before a run begins, that TensorBoard and the packages of the trackers in a configuration are installed.

    Raises:
        MissingExtra: one is not; names the package and its extra.
    """
    require("tensorboard", "sim")
    for name in wanted(config):
        require(KNOWN[name][0], "tracking")


def read_states(folder: RunFolder) -> dict[str, dict[str, str]]:
    """Content of `tracking.json`; empty if it does not exist or is damaged, and trackers then begin new records."""
    if not folder.tracking.exists():
        return {}
    try:
        data = read_json(read_text(folder.tracking), file=folder.tracking)
    except RunError:
        return {}
    return {name: state for name, state in data.items() if name in KNOWN and isinstance(state, dict)}


def show_film(folder: RunFolder, step: int, path: Path) -> list[str]:
    """Log a film with the trackers that are in the run's configuration and have a record of it; returns notes for the user."""
    states = read_states(folder)
    if not states:
        return []
    try:
        record = folder.read_record()
    except NchlError as error:
        return [f"the trackers do not get the film: {error}"]
    names = [name for name in wanted(record.settings) if name in states]
    if not names:
        return []
    trackers = Trackers(folder, names, {**record.settings.to_json(), **record.versions})
    trackers.film(step, path)
    trackers.finish(None)
    return trackers.notes
