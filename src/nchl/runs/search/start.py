"""The start of a search: the first centre, and what belongs to it if another run has reached it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.rollout import ObservationStatistics
from nchl.runs.files.tensors import read_tensors
from nchl.runs.settings.command_line import option_words
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.network_options import NETWORK_SETTINGS
from nchl.runs.settings.options import MODULE, OBJECT, OWN_START, Option
from nchl.runs.settings.places import file_of
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.store.code_copy import Code
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.results import recorded_constants, statistics_from
from nchl.user_code import is_place

# The options that determine what a genome does: the network's, and those of what it observes and how it acts.
_DECIDING = (*NETWORK_SETTINGS, "task", "env", "observe", "image_size", "action_repeat", "wrap", "normalise_observations")


def initial_run(config: EvolveConfig) -> RunFolder | None:
    """The run, or zoo individual, with which this one begins; None if it begins with numbers of its own.

    Raises:
        InvalidArgument: `initial_genome` is neither a known name nor a run folder nor a zoo individual.
    """
    name = str(config.initial_genome)
    if name in INITIAL_GENOMES or name == OWN_START:
        return None
    try:
        return RunFolder.open(Path(name))
    except RunError as error:
        raise InvalidArgument(f"initial genome {name!r} is none of {', '.join(INITIAL_GENOMES)}, and as a run: {error}") from error


def first_centre(config: EvolveConfig, nparams: int) -> str | np.ndarray:
    """The name of the first centre, or the vector `(nparams,)` that another run has reached.

    Raises:
        ShapeError: that run's genome is of another length; names both.
    """
    run = initial_run(config)
    if run is None:
        return str(config.initial_genome)
    genome = read_tensors(run.start)[0].get("genome")
    if genome is None or genome.shape != (nparams,):
        raise ShapeError(
            f"the initial genome in {run.start} has shape {None if genome is None else genome.shape} "
            f"({_in_words(run.read_record().settings)}), but this run's network needs ({nparams},) ({_in_words(config)}); choose the "
            "network and task of that run"
        )
    return genome.astype(np.float64)


def first_statistics(config: EvolveConfig, shape: tuple[int, ...]) -> ObservationStatistics | None:
    """The observation statistics of the first centre's run, or empty ones; None without normalisation.

    Raises:
        InvalidArgument: the centre was evolved on normalised observations, and this run does not normalise them.
    """
    run = initial_run(config)
    reached = None if run is None else statistics_from(read_tensors(run.start)[0], shape)
    if not config.normalise_observations:
        if run is not None and reached is not None:
            raise InvalidArgument(f"the genome in {run.path} was evolved on normalised observations; add --normalise-observations")
        return None
    return ObservationStatistics(shape) if reached is None else reached


def first_constants(config: EvolveConfig) -> dict[str, np.ndarray] | None:
    """The constants of the network in the first centre's run; None if there are none."""
    run = initial_run(config)
    return None if run is None else recorded_constants(read_tensors(run.start)[0])


def notes_on_start(config: EvolveConfig, code: Code) -> list[str]:
    """Lines on the options by which the first centre acts otherwise here than in its own run; empty if it has none.

    Args:
        config: of this run.
        code: the user's code that it names.
    """
    run = initial_run(config)
    if run is None:
        return []
    record = run.read_record()
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
