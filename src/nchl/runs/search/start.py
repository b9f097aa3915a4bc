"""The start of a search: the first centre, and the statistics and constants beside it if it comes from another run or a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.rollout import ObservationStatistics
from nchl.runs.files.tensors import read_tensors
from nchl.runs.search.own_genome import SUFFIX, is_file, refuse_not_finite
from nchl.runs.settings.command_line import option_words
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.network_options import NETWORK_SETTINGS
from nchl.runs.settings.options import MODULE, OBJECT, Option, is_object
from nchl.runs.settings.places import file_of
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.store.code_copy import Code
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.results import recorded_constants, statistics_from
from nchl.user_code import is_place

# The options that determine what a genome does: the network's, and those of what it observes and how it acts.
_DECIDING = (*NETWORK_SETTINGS, "task", "env", "observe", "image_size", "action_repeat", "wrap", "normalise_observations")


@dataclass(frozen=True)
class Start:
    """The file with which a search begins.

    Attributes:
        file: a safetensors file with the tensor `genome`, and perhaps observation statistics and constants.
        run: the run, or zoo individual, to which the file belongs; None for another file.
    """

    file: Path
    run: RunFolder | None = None

    def read(self) -> dict[str, np.ndarray]:
        """The tensors in the file.

        Raises:
            CheckpointError: it is damaged, or is no safetensors file.
        """
        return read_tensors(self.file, of_others=self.run is None)[0]


def start_of(config: EvolveConfig) -> Start | None:
    """The file with which a run begins; None if it begins with numbers of its own, or with an array.

    Raises:
        InvalidArgument: `initial_genome` is neither a known name nor a run folder, a zoo individual or a safetensors file.
    """
    name = str(config.initial_genome)
    if name in INITIAL_GENOMES or is_object(name):
        return None
    path = Path(name)
    if is_file(name):
        if not path.is_file():
            raise InvalidArgument(f"initial genome: there is no file {name!r}")
        folder = RunFolder(path.parent)
        return Start(path, folder if folder.config.is_file() and path in (folder.best, folder.centre) else None)
    if path.is_file():
        raise InvalidArgument(
            f"initial genome {name!r} is not a {SUFFIX} file; write one, with "
            f"safetensors.numpy.save_file({{'genome': array}}, '{path.stem}{SUFFIX}')"
        )
    try:
        run = RunFolder.open(path)
    except RunError as error:
        raise InvalidArgument(f"initial genome {name!r} is none of {', '.join(INITIAL_GENOMES)}, and as a run: {error}") from error
    return Start(run.start, run)


def first_centre(config: EvolveConfig, nparams: int, given: np.ndarray | None = None) -> str | np.ndarray:
    """The name of the first centre, or the vector `(nparams,)`.

    Args:
        config: of the run.
        nparams: length of the genome.
        given: the vector, if it is an array of the user's.

    Raises:
        ShapeError: a genome of another length; names both.
        InvalidArgument: a genome that is not finite.
    """
    start = start_of(config)
    if start is None and given is None:
        return str(config.initial_genome)
    tensors = {"genome": given} if start is None else start.read()
    source = "the initial genome" if start is None else f"the initial genome in {start.file}"
    genome = tensors.get("genome")
    if genome is None:
        raise InvalidArgument(f"{source}: expected a tensor named 'genome', got {', '.join(sorted(tensors)[:5]) or 'none'}")
    if genome.shape != (nparams,):
        of_run = start is not None and start.run is not None
        where = f" ({_in_words(start.run.read_record().settings)})" if start is not None and start.run is not None else ""
        remedy = "choose the network and task of that run" if of_run else "`nchl describe` shows which number is which"
        raise ShapeError(
            f"{source} has shape {genome.shape}{where}, but this run's network needs ({nparams},) ({_in_words(config)}); {remedy}"
        )
    genome = genome.astype(np.float64)
    refuse_not_finite(genome, source)
    return genome


def first_statistics(config: EvolveConfig, shape: tuple[int, ...]) -> ObservationStatistics | None:
    """The observation statistics beside the first centre, or empty ones; None without normalisation.

    Raises:
        InvalidArgument: the centre was evolved on normalised observations, and this run does not normalise them.
    """
    start = start_of(config)
    reached = None if start is None else statistics_from(start.read(), shape)
    if not config.normalise_observations:
        if start is not None and reached is not None:
            where = start.file if start.run is None else start.run.path
            raise InvalidArgument(f"the genome in {where} was evolved on normalised observations; add --normalise-observations")
        return None
    return ObservationStatistics(shape) if reached is None else reached


def first_constants(config: EvolveConfig) -> dict[str, np.ndarray] | None:
    """The constants of the network beside the first centre; None if there are none."""
    start = start_of(config)
    return None if start is None else recorded_constants(start.read())


def notes_on_start(config: EvolveConfig, code: Code) -> list[str]:
    """Lines on the options by which the first centre acts otherwise here than in its own run; empty if it has none.

    Args:
        config: of this run.
        code: the user's code that it names.
    """
    start = start_of(config)
    if start is None or start.run is None:
        return []
    run, record = start.run, start.run.read_record()
    there, name, lines = record.settings, config.initial_genome, []
    for about in (each for each in options() if each.name in _DECIDING):
        if not all(about.applies(str(each.network), str(each.strategy)) for each in (there, config)):
            continue
        before, now = getattr(there, about.name), getattr(config, about.name)
        if _without_folder(before) != _without_folder(now):
            lines.append(
                f"the initial genome {name} was evolved with {_option_in_words(about, before)}, and this run has "
                f"{_option_in_words(about, now)}: it may act otherwise here. To have the former, {_remedy(about, before)}"
            )
        elif _digest(record.code, about.name) not in (None, _digest(code.record(), about.name)):
            lines.append(
                f"{file_of(now)} has changed since the initial genome {name} was evolved with it: it may act otherwise here. "
                f"The former file is in {run.path / 'code'}"
            )
    return lines


def _without_folder(value: Any) -> Any:
    """A value whose `FILE.py:NAME` have no folder: a file that was moved is the same."""
    if isinstance(value, tuple):
        return tuple(map(_without_folder, value))
    return f"{Path(file_of(value)).name}:{value.rpartition(':')[2]}" if is_place(value) else value


def _digest(code: Mapping[str, Any] | None, option: str) -> str | None:
    """The SHA-256 of the file that an option names, by the entry of a record; None if it names none."""
    place = None if code is None else code["places"].get(option)
    return None if code is None or place is None else code["sha256"].get(file_of(place))


def _option_in_words(about: Option, value: Any) -> str:
    if about.name == "task":
        return f"the task {value}"
    return f"no {about.flag}" if value is None else shlex.join(option_words(about, value))


def _remedy(about: Option, value: Any) -> str:
    if value is None:
        return f"leave out {about.flag}"
    if isinstance(value, str) and value.startswith((OBJECT, MODULE)):
        return f"give that {about.name} as an object"
    return f"write {value if about.name == 'task' else shlex.join(option_words(about, value))}"


def _in_words(config: EvolveConfig) -> str:
    hidden = "" if config.hidden is None else f", hidden {' '.join(map(str, config.hidden))}"
    return f"network {config.network}{hidden}, task {config.task}"
