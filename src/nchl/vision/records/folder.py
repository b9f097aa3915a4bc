"""The folder of a SoftHebb run: settings, metrics, checkpoints, summary. A kill at any time loses at most the last steps.

config.json · metrics.csv · checkpoints/step-000001234.safetensors (the newest two) · tensorboard/ · network.safetensors ·
summary.json · filters.png, curves.png, confusion.png · code/ where the network is the user's own
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import CheckpointError, RunError
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.tensors import read_tensors
from nchl.runs.files.writing import cannot_write, write_atomically, write_json, writing_to
from nchl.runs.provenance.machine import commit, versions
from nchl.runs.provenance.sessions import session, with_this_one
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.store import trust
from nchl.runs.store.checkpoints import Series
from nchl.runs.store.code_copy import Code, collect_places, complete, differences, read
from nchl.user_code import is_place
from nchl.vision.settings import SoftHebbSettings, layers_method

KIND = "softhebb"
COLUMNS = ("row", "phase", "epoch", "images", "loss", "train_accuracy", "validation_accuracy", "lr", "norm_distance", "seconds")


@dataclass
class Position:
    """The position of a run: the counters of a checkpoint, as plain JSON.

    Attributes:
        phase: index of the current phase.
        epoch: finished epochs of the phase.
        batch: finished steps of the epoch.
        steps: steps of the whole run.
        rows: rows of metrics.csv.
        loss: sum over the epoch's images so far.
        correct: number of correctly classified images of the epoch so far.
        images: number of images of the epoch so far.
        seconds: by phase; no result depends on it.
        head_epoch: the epoch whose head is scored, once it is known, counted from 1.
        validation_accuracy: its accuracy on the validation images, if there are any.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    rows: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    head_epoch: int | None = None
    validation_accuracy: float | None = None


@contextlib.contextmanager
def timed(position: Position, name: str) -> Iterator[None]:
    """Add the duration of the block to the seconds of a phase."""
    began = time.perf_counter()
    yield
    position.seconds[name] = position.seconds.get(name, 0.0) + time.perf_counter() - began


def _read_checkpoint(path: Path) -> tuple[Position, dict[str, np.ndarray]]:
    """The counters and arrays of a checkpoint; raises a CheckpointError if they are invalid."""
    tensors, about = read_tensors(path)
    try:
        position = Position(**about["position"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of `nchl softhebb` ({error})") from error
    for name in ("phase", "epoch", "batch", "steps", "rows", "correct", "images"):
        value = getattr(position, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise CheckpointError(f"{path}: {name} is {value!r}")
    if not isinstance(position.head_epoch, int | None) or not isinstance(position.validation_accuracy, float | int | None):
        raise CheckpointError(f"{path}: head_epoch and validation_accuracy must be numbers or null")
    seconds = position.seconds.values() if isinstance(position.seconds, dict) else [None]
    if not all(isinstance(value, (int, float)) for value in (position.loss, *seconds)):
        raise CheckpointError(f"{path}: the loss and the seconds must be numbers")
    return position, tensors


class VisionRun:
    """Paths and files of one run folder.

    Attributes:
        path: the folder.
        code: the user's code, if the network is the user's.
        notes: lines for the user about the code.
        layers_settings: the settings of the run that trained the layers of `--layers`; None without it, or where that is unknown.
    """

    def __init__(self, path: Path, code: Code | None = None, layers_settings: SoftHebbSettings | None = None) -> None:
        self.path = path
        self._checkpoints = Series(path / "checkpoints", "step", 9)
        self.code = Code() if code is None else code
        self.notes: list[str] = []
        self.layers_settings = layers_settings
        self._record: dict[str, Any] = {}
        self._images: str | None = None
        self._events: EventFile | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        settings: SoftHebbSettings,
        same_bits: Mapping[str, str],
        images: str,
        code: Code | None = None,
        layers_settings: SoftHebbSettings | None = None,
    ) -> VisionRun:
        """Create the folder of a new run, with `config.json` and `code/`.

        Args:
            path: the folder.
            settings: the run's settings.
            same_bits: properties of the machine on which the bits depend.
            images: the digest of the images.
            code: the user's code that the run uses.
            layers_settings: the settings of the run that trained the layers, with `--layers`.

        Raises:
            RunError: the folder exists already, or cannot be created.
        """
        run = cls(path, code, layers_settings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            (path / "checkpoints").mkdir()
        except FileExistsError as error:
            raise exists_already(path) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        began, started = versions() | commit(), time.strftime("%Y-%m-%d %H:%M:%S")
        record = {
            "kind": KIND,
            "settings": settings.to_json(),
            "layers_method": None if layers_settings is None else layers_method(layers_settings),
            "layers_settings": None if layers_settings is None else layers_settings.to_json(),
            "images": images,
            "same_bits": dict(same_bits),
            "versions": began,
            "code": run.code.record() if run.code.texts else None,
            "command": sys.argv,
            "started": started,
            "sessions": [session(started, began)],
        }
        write_json(path / "config.json", record)
        run.code.write(path)
        return run

    @classmethod
    def open(cls, path: Path, *, goes_on: bool = False) -> tuple[VisionRun, SoftHebbSettings, dict[str, str]]:
        """Open an existing run: its folder, its settings, and the properties of the machine on which its bits depend.

        Args:
            path: the folder.
            goes_on: whether the run is resumed; the user's files are then copied if a kill prevented that.

        Raises:
            RunError: no run folder of this kind, an altered one, or one with code that the user has not approved.
        """
        config = path / "config.json"
        if not config.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.json; give the folder that `nchl softhebb` made")
        data = read_json(read_text(config), file=config)
        if data.get("kind") != KIND or not isinstance(data.get("settings"), dict):
            raise RunError(f"{path} is no run of `nchl softhebb`; an evolved one goes on with: nchl resume {path}")
        settings, same_bits = SoftHebbSettings.from_json(data["settings"]), data.get("same_bits")
        if not isinstance(same_bits, dict):
            raise RunError(f"{config}: key 'same_bits' must be an object of texts, got {type(same_bits).__name__}")
        trained = data.get("layers_settings")
        if not isinstance(trained, dict | None):
            raise RunError(f"{config}: key 'layers_settings' must be an object or null, got {type(trained).__name__}")
        run = cls(path, layers_settings=None if trained is None else SoftHebbSettings.from_json(trained))
        run._images, run._record = data.get("images"), dict(data)
        run._read_code(data.get("code"), settings, goes_on)
        return run, settings, {str(key): str(value) for key, value in same_bits.items()}

    def _read_code(self, record: Any, settings: SoftHebbSettings, goes_on: bool) -> None:
        """Read the run's copy of the code; for a run of a version without copies, the present files."""
        places = named(settings)
        if record is None:
            trust.check(self.path, places.values())
            self.code = collect_places(places)
            return
        if not isinstance(record, dict):
            raise RunError(f"{self.path / 'config.json'}: key 'code' must be an object or null, got {str(record)[:100]!r}")
        if goes_on and not self._checkpoints.paths():
            self.notes += complete(self.path, record, places)
        self.code = read(self.path, record)
        trust.check(self.path, (), self.code.texts)
        self.notes += differences(places, self.code)

    def begin_session(self) -> list[str]:
        """Record the resumption and its versions; returns a line for the user if they differ from those before."""
        sessions, started, known = (self._record.get(key) for key in ("sessions", "started", "versions"))
        sessions = [each for each in sessions if isinstance(each, dict)] if isinstance(sessions, list) else None
        now, notes = with_this_one(sessions, str(started), known if isinstance(known, dict) else {})
        write_json(self.path / "config.json", self._record | {"sessions": now})
        return notes

    def check_images(self, images: str, data: str) -> None:
        """Refuse to resume with other images than those of the start; runs of older versions have no record of them.

        Raises:
            RunError: the digests differ.
        """
        if self._images not in (None, images):
            raise RunError(f"the images in {data} are not those that this run began with; restore the original images, or begin a new run")

    def save(self, position: Position, tensors: Mapping[str, np.ndarray]) -> None:
        """Write a checkpoint; see `Series.write`."""
        self._checkpoints.write(position.steps + position.phase, tensors, {"position": vars(position)})

    def newest(self) -> tuple[Position, dict[str, np.ndarray]] | None:
        """The newest readable checkpoint, or None if there is none yet.

        Raises:
            CheckpointError: all checkpoints are damaged.
        """
        return self._checkpoints.newest(_read_checkpoint)[0]

    def begin(self, rows: int) -> None:
        """Open the metrics for writing, truncated to `rows` rows."""
        path = self.path / "metrics.csv"
        kept = read_rows(self.path)[:rows] if path.exists() else []
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(path, text.getvalue().encode())
        self._events = EventFile(self.path / "tensorboard", keep=rows)

    def row(self, values: Mapping[str, Any]) -> None:
        """Append a row to metrics.csv and its numbers to TensorBoard."""
        cells = [values.get(name) for name in COLUMNS]
        with writing_to(self.path / "metrics.csv"), (self.path / "metrics.csv").open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
        numbers = {
            f"{values['phase']}/{name}": float(value) for name, value in values.items() if isinstance(value, float) and name != "seconds"
        }
        assert self._events is not None, "begin() comes first"
        self._events.write(int(values["row"]), numbers, {})

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()


def named(settings: SoftHebbSettings) -> dict[str, str]:
    """The options that name a file of the user, with their values."""
    return {"network": str(settings.network)} if is_place(settings.network) else {}


def exists_already(path: Path) -> RunError:
    """The error for a new run with an existing folder."""
    try:
        ours = read_json(read_text(path / "config.json"), file=path / "config.json").get("kind") == KIND
    except RunError:  # no run, or an unreadable one
        ours = False
    if not ours:
        return RunError(f"{path} exists already; name another folder with --out")
    if (path / "summary.json").exists():
        return RunError(f"{path} exists already, and its run is finished; name another folder with --out")
    return RunError(f"{path} exists already; continue it with: nchl softhebb --resume {path}, or name another folder with --out")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv as text, without an incomplete last line.

    Raises:
        RunError: the file cannot be read or is no table.
    """
    file = path / "metrics.csv"
    text = read_text(file)
    try:
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    except csv.Error as error:
        raise RunError(f"{file} was altered: it is no table ({error})") from error
    for number, row in enumerate(rows, start=1):
        if set(row) != set(COLUMNS) or None in row.values():
            raise RunError(f"{file} was altered: row {number} does not have the columns {', '.join(COLUMNS)}")
    return rows
