"""A copy of a run folder, so that the whole page describes one moment of a run in progress.

A run replaces its files as a whole, but one after the other: files that are read at different times may be of different generations.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import RunError
from nchl.report.formatting import reason
from nchl.runs.files.lock import in_use
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.tensors import read_tensors
from nchl.runs.store.code_copy import FOLDER
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import read_metrics
from nchl.runs.store.record import Record

_FRESH_SECONDS = 120.0  # after so recent a write the run may be in progress, even on a file system without locks


@dataclass(frozen=True)
class State:
    """A run at the time of the copy.

    Attributes:
        folder: the copy.
        source: the run folder itself.
        record: settings, versions, command.
        rows: rows of `metrics.csv`.
        status: "running ...", "stopped ..." or "ended ...".
        running: whether it seems to be in progress.
        best_generation: generation of the best individual, or None.
    """

    folder: RunFolder
    source: RunFolder
    record: Record
    rows: list[dict[str, str]]
    status: str
    running: bool
    best_generation: int | None


@contextlib.contextmanager
def snapshot(run: os.PathLike[str] | str) -> Iterator[State]:
    """A copy of the files that a report needs, in a temporary folder that is deleted at the end of the block.

    Raises:
        RunError: it is no run folder, a file was altered, or there is no best individual yet.
    """
    source = RunFolder.open(run)
    record = source.read_record()
    if not source.best.exists() or not source.metrics.exists():
        raise RunError(
            f"{source.path} has no best individual yet: wait until its first generation is saved "
            f"(if nothing is running, continue it with: nchl resume {source.path}), then ask for the report again"
        )
    about = read_tensors(source.best)[1]
    with tempfile.TemporaryDirectory(prefix="nchl-report-") as parent:
        copy = RunFolder(Path(parent) / (source.path.resolve().name or "run"))
        copy.path.mkdir()
        try:
            for path in (source.config, source.best, source.centre, source.metrics, source.summary):
                if path.exists():
                    shutil.copyfile(path, copy.path / path.name)
            if record.code is not None:
                shutil.copytree(source.path / FOLDER, copy.path / FOLDER)
        except OSError as error:
            raise RunError(f"cannot copy {source.path}: {error.strerror or error}") from error
        rows = read_metrics(copy.metrics)
        if not rows:
            raise RunError(f"{source.metrics} has no whole row yet: wait until the first generation is saved")
        status, running = _status(source, record, rows)
        generation = about.get("generation")
        yield State(copy, source, record, rows, status, running, generation if isinstance(generation, int) else None)


def _status(source: RunFolder, record: Record, rows: list[dict[str, str]]) -> tuple[str, bool]:
    done, total = rows[-1].get("generation") or "0", record.settings.generations
    reached = f"generation {done}" + (f" of {total}" if total else "")
    if in_use(source.path):
        return f"running, {reached}", True
    if source.summary.exists():
        summary: dict[str, Any] = dict(read_json(read_text(source.summary), file=source.summary))
        return f"ended after generation {done}: {reason(summary.get('reason'))}", False
    with contextlib.suppress(OSError):
        age = time.time() - source.metrics.stat().st_mtime
        if 0 <= age < _FRESH_SECONDS:
            return f"running or just stopped, {reached}", True
    return f"stopped at {reached}", False
