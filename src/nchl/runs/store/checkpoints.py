"""Checkpoints: everything that continues a run, so that a resumed run ends with the bits of an uninterrupted one.

Each is one safetensors file with a checksum, written atomically; the newest two are kept. If one is truncated or altered, it is named and
the one before is used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nchl.errors import CheckpointError, RunError
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.files.writing import writing_to

FORMAT = 1
KEPT = 2

State = TypeVar("State")


@dataclass(frozen=True)
class Series:
    """Numbered checkpoints in one folder.

    Attributes:
        folder: of the checkpoints.
        prefix: of their names: `PREFIX-000040.safetensors`.
        digits: of the number, at least.
    """

    folder: Path
    prefix: str
    digits: int

    def write(self, number: int, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove all but the newest two.

        Those with higher numbers must have been unreadable, or the run would have continued from them. They are renamed, so that they never
        count among the newest.

        Raises:
            RunError: the disk is full, the folder is not writable or a link; the earlier checkpoints are untouched.
        """
        path = self.folder / f"{self.prefix}-{number:0{self.digits}d}.safetensors"
        with writing_to(self.folder):
            if self.folder.is_symlink():
                raise RunError(
                    f"{self.folder} is a symbolic link; a run must not remove old checkpoints elsewhere: put the folder itself here"
                )
            self.folder.mkdir(exist_ok=True)
        write_tensors(path, tensors, about)
        found = self.paths()
        here = found.index(path)
        with contextlib.suppress(OSError):  # one checkpoint too many does no harm
            for later in found[:here]:
                later.rename(later.with_suffix(".damaged"))
            for old in found[here + KEPT :]:
                old.unlink()
        for torn in self.folder.glob(f".{self.prefix}-*.tmp"):
            with contextlib.suppress(OSError):
                torn.unlink()
        return path

    def newest(self, read: Callable[[Path], State]) -> tuple[State | None, list[str]]:
        """The newest readable checkpoint, and a line for each newer one that is not; None if there are no checkpoints.

        Raises:
            CheckpointError: there are checkpoints and none is readable.
        """
        problems: list[str] = []
        for path in self.paths():
            try:
                return read(path), problems
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError(f"no checkpoint in {self.folder} can be used: {'; '.join(problems)}")
        return None, []

    def paths(self) -> list[Path]:
        """The checkpoints' paths, highest number first."""
        numbered = [(number, path) for path in self._files() if (number := self.number(path)) is not None]
        return [path for _, path in sorted(numbered, reverse=True)]

    def number(self, path: Path) -> int | None:
        """The number in a checkpoint's name; None if it is not one."""
        match = re.fullmatch(rf"{self.prefix}-([0-9]{{{self.digits},18}})\.safetensors", path.name)
        return None if match is None else int(match[1])

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        try:
            return list(self.folder.iterdir())
        except OSError as error:
            raise CheckpointError(f"cannot read {self.folder}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a generation.

    Attributes:
        generation: number of finished generations.
        tensors: arrays by name.
        about: counters and names, plain JSON.
    """

    generation: int
    tensors: dict[str, np.ndarray]
    about: dict[str, Any]


def write_checkpoint(folder: Path, generation: int, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a generation; see `Series.write`."""
    return _of_generations(folder).write(generation, tensors, {"format": FORMAT, "generation": generation, **about})


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest readable checkpoint, and a line for each newer one that is not; None if there are no checkpoints.

    Raises:
        CheckpointError: there are checkpoints and none is readable.
    """
    return _of_generations(folder).newest(read_checkpoint)


def read_checkpoint(path: Path) -> Checkpoint:
    """One checkpoint.

    Raises:
        CheckpointError: truncated, altered, of another version, or not a checkpoint.
    """
    tensors, about = read_tensors(path)
    generation = about.get("generation")
    if about.get("format") != FORMAT or not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}, the one that this version of nchl reads")
    if _of_generations(path.parent).number(path) not in (None, generation):
        raise CheckpointError(f"{path} is of generation {generation}, and its name of another one")
    return Checkpoint(about.pop("generation"), tensors, about)


def _of_generations(folder: Path) -> Series:
    return Series(folder, "generation", 6)
