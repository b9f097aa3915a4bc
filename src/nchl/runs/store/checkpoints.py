"""Checkpoints: everything that continues a run, so that a resumed run ends with the bits of one that was never stopped.

Each is one safetensors file with a JSON object in its header and a checksum over both. It is written beside its place,
brought to the disk and renamed; the newest two stay. One that is truncated or altered is named, and the one before is used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import CheckpointError, RunError
from nchl.runs.store.files import cannot_write, read_tensors, write_tensors

FORMAT = 1
KEPT = 2
_NAME = re.compile(r"generation-([0-9]{6,18})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a generation.

    Attributes:
        generation: generations that are done.
        tensors: arrays by name.
        about: counters and names, plain JSON.
    """

    generation: int
    tensors: dict[str, np.ndarray]
    about: dict[str, Any]


def write_checkpoint(folder: Path, generation: int, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Path:
    """Write a checkpoint, then remove all but the newest two.

    Those of later generations could not be read, or the run would have gone on from them. They are set aside under another
    name, so that they never count among the newest.

    Raises:
        RunError: the disk is full, the folder not writable or a link; the earlier checkpoints are untouched.
    """
    path = folder / f"generation-{generation:06d}.safetensors"
    try:
        if folder.is_symlink():
            raise RunError(
                f"{folder} is a symbolic link; a run removes old checkpoints and must not do so elsewhere: put the folder itself here"
            )
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    write_tensors(path, tensors, {"format": FORMAT, "generation": generation, **about})
    found = _checkpoints(folder)
    here = found.index(path)
    with contextlib.suppress(OSError):  # one too many harms nobody
        for later in found[:here]:
            later.rename(later.with_suffix(".damaged"))
        for old in found[here + KEPT :]:
            old.unlink()
    for torn in folder.glob(".generation-*.tmp"):
        with contextlib.suppress(OSError):
            torn.unlink()
    return path


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a line for each newer one that is not; None where there is none at all.

    Raises:
        CheckpointError: there are checkpoints and not one of them is whole.
    """
    found = _checkpoints(folder)
    problems: list[str] = []
    for path in found:
        try:
            return read_checkpoint(path), problems
        except CheckpointError as error:
            problems.append(str(error))
    if found:
        raise CheckpointError(f"no checkpoint in {folder} can be used: {'; '.join(problems)}")
    return None, []


def read_checkpoint(path: Path) -> Checkpoint:
    """One checkpoint.

    Raises:
        CheckpointError: truncated, altered, of another version, or no checkpoint.
    """
    tensors, about = read_tensors(path)
    generation = about.get("generation")
    if about.get("format") != FORMAT or not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}, the one that this version of nchl reads")
    match = _NAME.fullmatch(path.name)
    if match is not None and int(match[1]) != about["generation"]:
        raise CheckpointError(f"{path} holds generation {about['generation']}, which its name denies")
    return Checkpoint(about.pop("generation"), tensors, about)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints' paths, newest generation first."""
    if not folder.is_dir():
        return []
    try:
        named = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError as error:
        raise CheckpointError(f"cannot read {folder}: {error.strerror or error}") from error
    return [path for _, path in sorted(named, reverse=True)]
