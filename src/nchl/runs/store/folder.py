"""The run folder: what lies where, made for a new run or opened for an old one.

config.json          written first and whole: settings, versions, command, machine
metrics.csv          a row per generation
code/                the user's own files that the run uses, if it does
checkpoints/         generation-000040.safetensors: everything that continues the run; the newest two
best.safetensors     the best individual, with the observation statistics that it acted with
centre.safetensors   where the search is, likewise; neither holds anything that differs between equal runs
summary.json         written at the end
tensorboard/         the same figures, and histograms
tracking.json        where Weights & Biases or MLflow keep the same, if they do
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.errors import InvalidArgument, RunError
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.network_options import STATIC
from nchl.runs.store import trust
from nchl.runs.store.code_copy import FOLDER, Code, collect, differences, named, read
from nchl.runs.store.files import cannot_write, read_json, read_text, write_json

FORMAT = 1
_KEYS = ("format", "settings", "same_bits", "files", "versions", "command", "started")
# What older records lack, with its kind.
_LATER = {
    "task": (dict, "an object"),
    "environment": (dict, "an object"),
    "code": (dict, "an object"),
    "objects": (dict, "an object"),
    "plastic": (bool, "true, false"),
    "sessions": (list, "a list"),
}


@dataclass(frozen=True)
class Record:
    """What `config.json` holds.

    Attributes:
        settings: the options of the run.
        same_bits: what the bits of the results depend on besides the settings, see `machine.same_bits`.
        files: a user's own files that the run uses (and the genome that it began with): path -> SHA-256.
        versions: of nchl, Python and the packages; `nchl_commit` where nchl is a checkout of its repository.
        command: the words that began the run.
        started: local time, for people.
        task: its spaces and maps, see `tasks.recorded`; None in older records.
        environment: what a Gymnasium environment is made of, see `tasks.fingerprint`; None where a version says it, and in older records.
        code: what lies in `code/`, see `runs.store.code_copy`; None where the run uses no file of the user's, and in older records.
        objects: of a network, task or strategy that was given as an object, see `runs.search.objects`; None without, and in older records.
        plastic: whether the network rewires itself; None in older records.
        sessions: with which nchl and packages each session was played, see `runs.provenance.sessions`; None in older records.
    """

    settings: EvolveConfig
    same_bits: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]
    command: list[str]
    started: str
    task: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None
    objects: Mapping[str, Any] | None = None
    plastic: bool | None = None
    sessions: list[dict[str, Any]] | None = None

    @property
    def has_controls(self) -> bool:
        """Whether there is a rule that could be switched off; older records tell it by the network's name."""
        return self.settings.network not in STATIC if self.plastic is None else self.plastic


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        path: the folder.
        individual: its name in the zoo, whose folders are never written to; None for a run.
    """

    path: Path
    individual: str | None = None

    @property
    def config(self) -> Path:
        """`config.json`."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """`metrics.csv`."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """`best.safetensors`."""
        return self.path / "best.safetensors"

    @property
    def centre(self) -> Path:
        """`centre.safetensors`."""
        return self.path / "centre.safetensors"

    @property
    def start(self) -> Path:
        """The file with which another run begins: the centre; for a zoo individual, the individual."""
        return self.centre if self.individual is None else self.best

    @property
    def summary(self) -> Path:
        """`summary.json`."""
        return self.path / "summary.json"

    @property
    def tracking(self) -> Path:
        """`tracking.json`: by which names Weights & Biases and MLflow know the run."""
        return self.path / "tracking.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @classmethod
    def create(cls, path: Path, record: Record, code: Code | None = None) -> RunFolder:
        """Make the folder of a new run, with `config.json` and `code/` in it.

        Raises:
            RunError: the folder exists already, or cannot be made.
        """
        folder = cls(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            file = next((above for above in path.parents if above.is_file()), path.parent)
            raise RunError(f"{path} cannot be made: {file} is a file and no folder; name a folder of its own for the run") from error
        except OSError as error:
            raise cannot_write(path, error, of_a_run=False) from error
        try:
            path.mkdir()
        except FileExistsError as error:
            hint = f"continue it with: nchl resume {path}" if folder.config.exists() else "it is not a run folder"
            raise RunError(f"{path} exists already ({hint}); name another folder, or remove this one") from error
        except OSError as error:
            raise cannot_write(path, error, of_a_run=False) from error
        try:
            folder.write_record(record, of_a_run=False)
            (code or Code()).write(folder.path)
            folder.checkpoints.mkdir()
        except RunError:
            _remove_empty(folder)
            raise
        except OSError as error:
            _remove_empty(folder)
            raise cannot_write(folder.checkpoints, error, of_a_run=False) from error
        return folder

    @classmethod
    def open(cls, path: Path | str, *, to_write: bool = False) -> RunFolder:
        """The folder of a run that exists, or of the individual `zoo:NAME`.

        Args:
            path: the folder, or `zoo:NAME`.
            to_write: whether something will be written to it, which the zoo refuses.

        Raises:
            RunError: there is no such folder, it is not a run folder, a file of the zoo does not match its checksum, or would be written.
            UnknownName: no individual of that name.
        """
        if (name := zoo.name_of(path)) is not None:
            found = cls(zoo.checked_folder(name), name)
            if to_write:
                again = evolve_command(found.read_record().settings.replace(initial_genome=str(path)))
                raise RunError(f"{path} is finished, and nothing is written into the zoo; a run that goes on from it: {again}")
            return found
        folder = cls(Path(path))
        try:
            there, recorded = folder.path.is_dir(), folder.config.is_file()
        except OSError as error:  # a name that no folder can have
            raise RunError(f"there can be no run folder {str(folder.path)[:100]!r}: {error.strerror}") from error
        if not there:
            raise RunError(f"there is no run folder {folder.path}; give the folder that `nchl evolve` made (see its --out)")
        if not recorded:
            raise RunError(f"{folder.path} is not a run folder: it has no config.json; give the folder that `nchl evolve` made")
        return folder

    def output(self, file: str) -> Path:
        """Where a command writes a file that it makes: in the folder; for a zoo individual, `NAME-FILE` in the working directory."""
        return self.path / file if self.individual is None else Path(f"{self.individual}-{file}")

    def write_record(self, record: Record, *, of_a_run: bool = True) -> None:
        """Write `config.json`, whole; `of_a_run`: see `write_atomically`."""
        write_json(self.config, {"format": FORMAT, **vars(record), "settings": record.settings.to_json()}, of_a_run=of_a_run)

    def read_record(self) -> Record:
        """Read `config.json`, strictly.

        Raises:
            RunError: not readable, altered, or of another version (names the file and the key), or it names code that the
                user has never chosen (see `runs.store.trust`).
        """
        data = read_json(read_text(self.config), file=self.config)
        if data.get("kind") == "softhebb":
            raise RunError(f"{self.path} is a run of `nchl softhebb`, not of `nchl evolve`; go on with: nchl softhebb --resume {self.path}")
        for key in _KEYS:
            if key not in data:
                raise RunError(f"{self.config}: key {key!r} is missing; the file was altered or written by another version of nchl")
        for key in data:
            if key not in (*_KEYS, *_LATER):
                raise RunError(f"{self.config}: unknown key {key!r}; the file was altered or written by another version of nchl")
        if data["format"] != FORMAT:
            raise RunError(f"{self.config}: format {data['format']!r} is not {FORMAT}, the one that this version of nchl reads")
        for key in ("same_bits", "files", "versions"):
            _check(self.config, key, data[key], dict, "an object of texts")
        _check(self.config, "command", data["command"], list, "a list of texts")
        if not isinstance(data["started"], str):
            raise RunError(f"{self.config}: key 'started' must be text, got {data['started']!r}")
        for key, (kind, wanted) in _LATER.items():
            if data.get(key) is not None and not isinstance(data[key], kind):
                raise RunError(f"{self.config}: key {key!r} must be {wanted} or null, got {str(data[key])[:100]!r}")
        sessions = data.get("sessions")
        if sessions is not None and not all(isinstance(each, dict) for each in sessions):
            raise RunError(f"{self.config}: key 'sessions' must be a list of objects, got {str(sessions)[:100]!r}")
        settings = EvolveConfig.from_json(data["settings"], file=self.config)
        rest: dict[str, Any] = {key: data[key] for key in _KEYS if key not in ("format", "settings")}
        rest |= {key: data.get(key) for key in _LATER}
        return Record(settings, **rest)

    def read_code(self, record: Record) -> Code:
        """The user's code that the run uses: its own copy; for a run of a version that kept none, what lies on the disk now.

        Raises:
            RunError: the copy is damaged.
        """
        return collect(record.settings) if record.code is None else read(self.path, record.code)

    def read_record_to_run(self, *, plays: bool = True) -> tuple[Record, Code]:
        """`read_record` and `read_code`, for what then builds what they name.

        Args:
            plays: whether the task is built too, and not the network alone.

        Raises:
            RunError: it names code that the user has never chosen; see `trust`.
        """
        record = self.read_record()
        code = self.read_code(record)
        places = trust.chosen(record.settings) if plays else trust.chosen_network(record.settings)
        trust.check(self.path, places, None if record.code is None else code.texts)
        return record, code

    def notes_on_code(self, record: Record, code: Code) -> list[str]:
        """What the user should know of the code: that the files it was copied from have changed, or that there is no copy."""
        if record.code is not None:
            return differences(named(record.settings), code)
        with contextlib.suppress(InvalidArgument):
            changed = [path for path, now in own_files(record.settings).items() if record.files.get(path, now) != now]
            if changed:
                return [
                    f"{' and '.join(changed)} changed since the run began, and its version of nchl kept no copy: what lies there now is run"
                ]
        return []


def own_files(config: EvolveConfig, *others: Path) -> dict[str, str]:
    """The user's own files that a configuration names (`FILE.py:NAME`), and others -> SHA-256 of their content.

    Raises:
        InvalidArgument: such a file cannot be read.
    """
    own = [Path(place.rpartition(":")[0]) for place in named(config).values()]
    files = {}
    for path in (*own, *others):
        try:
            files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidArgument(f"cannot read {path}: {error.strerror or error}") from error
    return files


def _check(file: Path, key: str, value: Any, kind: type, wanted: str) -> None:
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(isinstance(item, str) for item in items):
        raise RunError(f"{file}: key {key!r} must be {wanted}, got {value!r}")


def _remove_empty(folder: RunFolder) -> None:
    """Take away a folder that was just made and could not be filled."""
    with contextlib.suppress(OSError):
        folder.config.unlink(missing_ok=True)
        shutil.rmtree(folder.path / FOLDER, ignore_errors=True)
        folder.path.rmdir()
