"""An initial genome that is an array or a file, and its copy in the run's folder, so that the run needs neither again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.networks.checks import real_numbers
from nchl.runs.files.reading import open_file
from nchl.runs.files.tensors import tensor_bytes
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import is_object
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.record import Record

SUFFIX = ".safetensors"


def genome_of(given: Any) -> Float[np.ndarray, " size"]:
    """A copy, in float64, of an initial genome given as an array, a tensor or a list; its length is checked later.

    Raises:
        InvalidArgument: not numbers, or numbers that are not finite.
        ShapeError: not one vector.
    """
    numbers = real_numbers(given, "initial_genome").detach().to("cpu", torch.float64).numpy().copy()
    if numbers.ndim != 1:
        raise ShapeError(
            f"initial_genome: expected one vector (nparams,), the first centre of the search, got shape {numbers.shape}; choose a row, or "
            "the mean of the rows"
        )
    refuse_not_finite(numbers, "initial_genome")
    return numbers


def refuse_not_finite(genome: Float[np.ndarray, " size"], source: str) -> None:
    """Refuse an initial genome that has a NaN or an infinity; `source` begins the message."""
    wrong = np.flatnonzero(~np.isfinite(genome))
    if len(wrong):
        raise InvalidArgument(f"{source}: expected finite numbers, but {len(wrong)} of {len(genome)} are not, the first at {wrong[0]}")


def is_file(name: str) -> bool:
    """Whether an initial genome is named by a file, and not by a word, a run folder or an individual of the zoo."""
    return name.endswith(SUFFIX) and not Path(name).is_dir()


def content(config: EvolveConfig, genome: Float[np.ndarray, " size"] | None) -> bytes | None:
    """The content of the run's copy of its initial genome; None if it begins with a word, a run or an individual of the zoo.

    Args:
        config: of the run.
        genome: the initial genome if it is an array, else None.

    Raises:
        InvalidArgument: the file cannot be read.
    """
    if genome is not None:
        return tensor_bytes({"genome": genome}, {"format": 1, "kind": "initial"})
    if not is_file(str(config.initial_genome)):
        return None
    path = Path(str(config.initial_genome))
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise InvalidArgument(f"cannot read the initial genome {path}: {error.strerror or error}") from error


def kept(folder: RunFolder, record: Record) -> str:
    """The initial genome of a run that has no checkpoint and begins again: its copy, if it has one.

    Raises:
        RunError: the copy is missing or altered.
    """
    name = str(record.settings.initial_genome)
    if not folder.initial.exists():
        if is_object(name):
            raise RunError(f"{folder.path} lacks {folder.INITIAL}, the array that it was begun with; begin a new run with that array")
        return name
    if record.files.get(folder.INITIAL) != hashlib.sha256(folder.initial.read_bytes()).hexdigest():
        raise RunError(f"{folder.initial} has changed since {folder.path} was begun with it; restore it, or begin a new run")
    return str(folder.initial)
