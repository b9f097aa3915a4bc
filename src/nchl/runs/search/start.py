"""The start of a search: the first centre, and what belongs to it if another run has reached it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.rollout import ObservationStatistics
from nchl.runs.files.tensors import read_tensors
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import OWN_START
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.results import recorded_constants, statistics_from


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


def _in_words(config: EvolveConfig) -> str:
    hidden = "" if config.hidden is None else f", hidden {' '.join(map(str, config.hidden))}"
    return f"network {config.network}{hidden}, task {config.task}"
