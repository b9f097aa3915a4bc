"""The run folder: its files, made for a new run or opened for an existing one.

config.json          written first and whole: settings, versions, command, machine
metrics.csv          a row per generation
code/                the user's files that the run uses
initial.safetensors  the initial genome, if it was given as an array or a file
checkpoints/         generation-000040.safetensors: everything that continues the run; the newest two
best.safetensors     the best individual, with its observation statistics
centre.safetensors   the centre of the search, likewise; neither contains anything that differs between equal runs
summary.json         written at the end
tensorboard/         the same figures, and histograms
tracking.json        the names of the run in Weights & Biases or MLflow
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from nchl import zoo
from nchl.errors import InvalidArgument, RunError
from nchl.runs.files.writing import cannot_write, write_atomically, write_json
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.places import code_places, own_files
from nchl.runs.store import trust
from nchl.runs.store.code_copy import FOLDER, Code, collect, differences, read
from nchl.runs.store.record import Record, read_record


class RunFolder:
    """The paths of one run; see the module for the content of each.

    Args:
        path: the folder.
        individual: its name in the zoo, whose folders are never written to; None for a run.

    Attributes:
        start: the file with which another run begins: the centre; for a zoo individual, the individual.
    """

    INITIAL = "initial.safetensors"

    def __init__(self, path: Path, individual: str | None = None) -> None:
        self.path = path
        self.individual = individual
        self.config = path / "config.json"
        self.metrics = path / "metrics.csv"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"
        self.centre = path / "centre.safetensors"
        self.initial = path / self.INITIAL
        self.start = self.centre if individual is None else self.best
        self.summary = path / "summary.json"
        self.tracking = path / "tracking.json"
        self.tensorboard = path / "tensorboard"

    def result(self, which: str) -> Path:
        """The file of a result: "best" or "centre"."""
        return self.best if which == "best" else self.centre

    @classmethod
    def create(cls, path: Path, record: Record, code: Code | None = None, initial: bytes | None = None) -> RunFolder:
        """Make the folder of a new run, with `config.json` and `code/` in it, and the content `initial` of its initial genome's file.

        Raises:
            RunError: the folder exists already, or cannot be made.
        """
        folder = cls(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            file = next((above for above in path.parents if above.is_file()), path.parent)
            raise RunError(f"{path} cannot be made: {file} is a file and not a folder; name another folder for the run") from error
        except OSError as error:
            raise cannot_write(path, error, of_a_run=False) from error
        try:
            path.mkdir()
        except FileExistsError as error:
            raise exists_already(path) from error
        except OSError as error:
            raise cannot_write(path, error, of_a_run=False) from error
        try:
            folder.write_record(record, of_a_run=False)
            (code or Code()).write(folder.path)
            if initial is not None:
                write_atomically(folder.initial, initial, of_a_run=False)
            folder.checkpoints.mkdir()
        except RunError:
            _remove(folder)
            raise
        except OSError as error:
            _remove(folder)
            raise cannot_write(folder.checkpoints, error, of_a_run=False) from error
        return folder

    @classmethod
    def open(cls, path: os.PathLike[str] | str, *, to_write: bool = False) -> RunFolder:
        """The folder of an existing run, or of the individual `zoo:NAME`.

        Args:
            path: the folder, `zoo:NAME`, or a `RunResult`.
            to_write: whether something will be written to it, which the zoo refuses.

        Raises:
            InvalidArgument: another object.
            RunError: no such folder, not a run folder, a file of the zoo that does not match its checksum, or writing to the zoo.
            UnknownName: no individual of that name.
        """
        if not isinstance(path, str | os.PathLike):
            raise InvalidArgument(
                f'expected a run as its folder, as "zoo:NAME" or as the result of nchl.run, got an object {type(path).__name__}'
            )
        if (name := zoo.name_of(path)) is not None:
            found = cls(zoo.checked_folder(name), name)
            if to_write:
                again = evolve_command(found.read_record().settings.replace(initial_genome=str(path)))
                raise RunError(f"{path} is finished, and nothing is written into the zoo; a run that goes on from it: {again}")
            return found
        folder = cls(Path(path))
        try:
            there, recorded = folder.path.is_dir(), folder.config.is_file()
        except OSError as error:  # an impossible name
            raise RunError(f"there can be no run folder {str(folder.path)[:100]!r}: {error.strerror}") from error
        if not there:
            raise RunError(f"there is no run folder {folder.path}; give the folder that `nchl evolve` made (see its --out)")
        if not recorded:
            raise RunError(f"{folder.path} is not a run folder: it has no config.json; give the folder that `nchl evolve` made")
        return folder

    def output(self, file: str) -> Path:
        """The path of a file that a command makes: in the folder; for a zoo individual, `NAME-FILE` in the working directory."""
        return self.path / file if self.individual is None else Path(f"{self.individual}-{file}")

    def to_repeat(self, settings: EvolveConfig) -> EvolveConfig:
        """The settings with which a command repeats the run: they name its copy of the initial genome, if it has one."""
        return settings.replace(initial_genome=str(self.initial)) if self.initial.is_file() else settings

    def write_record(self, record: Record, *, of_a_run: bool = True) -> None:
        """Write `config.json`, whole; `of_a_run`: see `write_atomically`."""
        write_json(self.config, record.to_json(), of_a_run=of_a_run)

    def read_record(self) -> Record:
        """Read `config.json`, strictly; see `read_record` of `store.record`."""
        return read_record(self.config)

    def read_trusted(self, *, with_task: bool = True) -> tuple[Record, Code]:
        """The record and the user's code, if the user has approved all code that the run, with or without its task, names.

        The code is the run's own copy; for a run of a version without copies, the present files.

        Raises:
            RunError: a damaged record or copy, or code that the user has not approved; see `trust`.
        """
        record = self.read_record()
        code = collect(record.settings) if record.code is None else read(self.path, record.code)
        places = trust.chosen(record.settings) if with_task else trust.chosen_network(record.settings)
        trust.check(self.path, places, None if record.code is None else code.texts)
        return record, code

    def notes_on_code(self, record: Record, code: Code) -> list[str]:
        """A line for the user if the originals of the code have changed, or changed files are used as there is no copy."""
        if record.code is not None:
            return differences(code_places(record.settings), code)
        with contextlib.suppress(InvalidArgument):
            changed = [path for path, now in own_files(record.settings).items() if record.files.get(path, now) != now]
            if changed:
                return [
                    f"{' and '.join(changed)} changed since the run began, and its version of nchl kept no copy: the present file is used"
                ]
        return []


def exists_already(path: Path) -> RunError:
    """The error for a new run with an existing folder."""
    hint = f"continue it with: nchl resume {path}" if RunFolder(path).config.exists() else "it is not a run folder"
    return RunError(f"{path} exists already ({hint}); name another folder, or remove this one")


def _remove(folder: RunFolder) -> None:
    """Remove a new folder that could not be filled."""
    with contextlib.suppress(OSError):
        folder.config.unlink(missing_ok=True)
        folder.initial.unlink(missing_ok=True)
        shutil.rmtree(folder.path / FOLDER, ignore_errors=True)
        folder.path.rmdir()


def remove(folder: RunFolder) -> None:
    """Remove the folder of a run that has no finished generation."""
    shutil.rmtree(folder.path, ignore_errors=True)
