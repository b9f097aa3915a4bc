"""Weights & Biases and MLflow get what TensorBoard gets, where the user asks for them with `--wandb` or `--mlflow`.

Promise: a tracker changes no result and stops no run. One that fails is dropped, and the user is told once. A run that is resumed
goes on under the same name there: `tracking.json` in the run folder keeps it. Where a service is, this machine's own variables say:
a folder may be somebody else's, and must not choose whom this machine talks to.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nchl.errors import NchlError, RunError, require
from nchl.runs.config import EvolveConfig
from nchl.runs.files import read_json, read_text, write_json
from nchl.runs.folder import RunFolder

# Option -> (package, the module here that speaks to it).
KNOWN = {"wandb": ("wandb", "nchl.runs.tracking_wandb"), "mlflow": ("mlflow", "nchl.runs.tracking_mlflow")}


class Tracker(Protocol):
    """One service, for one session of a run.

    Attributes:
        state: plain values by which a later session finds the same record.
        where: for the user: where to look.
    """

    state: dict[str, str]
    where: str

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Figures of one generation; all are finite."""

    def film(self, step: int, path: Path) -> None:
        """The film of an individual of that generation."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """The end of the session; with a summary, that of the run."""


class Trackers:
    """The trackers that a run has asked for, and what went wrong with them.

    Args:
        folder: of the run.
        names: which; keys of `KNOWN`.
        about: what repeats the run, for their tables of settings.

    Attributes:
        notes: lines that the user should see once; there may be more after each call.
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
        """Those that the run's configuration asks for."""
        record = folder.read_record()
        return cls(folder, wanted(record.settings), {**record.settings.to_json(), **record.versions})

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Figures of one generation; what is not finite is left out."""
        finite = {name: value for name, value in scalars.items() if np.isfinite(value)}
        whole = {name: array[np.isfinite(array)] for name, array in histograms.items()}
        whole = {name: array for name, array in whole.items() if array.size}
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.write, step, finite, whole))

    def film(self, step: int, path: Path) -> None:
        """Show a film to all of them."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.film, step, path))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """End the session; with a summary, the run has ended too. Further calls do nothing."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.finish, summary))
        self._open.clear()

    def _guarded(self, name: str, what: Callable[[], None]) -> None:
        """Whatever a tracker's library raises must not end a run of days; it is told, and the tracker asked no more."""
        try:
            what()
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.notes.append(f"{name} failed and gets nothing more in this session ({reason}); the run goes on, its folder has everything")


def wanted(config: EvolveConfig) -> list[str]:
    """The trackers that a configuration asks for."""
    return [name for name in KNOWN if getattr(config, name)]


def check(config: EvolveConfig) -> None:
    """Refuse, before a run begins, a tracker whose package is not there.

    Raises:
        MissingExtra: names the package and the extra that brings it.
    """
    for name in wanted(config):
        require(KNOWN[name][0], "tracking")


def read_states(folder: RunFolder) -> dict[str, dict[str, str]]:
    """What `tracking.json` holds; nothing where there is none, or where it was damaged: the tracker then begins a new record."""
    if not folder.tracking.exists():
        return {}
    try:
        data = read_json(read_text(folder.tracking), file=folder.tracking)
    except RunError:
        return {}
    return {name: state for name, state in data.items() if name in KNOWN and isinstance(state, dict)}


def show_film(folder: RunFolder, step: int, path: Path) -> list[str]:
    """Show a film to the trackers that the run asks for and that know it; lines for the user."""
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
