"""From a configuration to the workers, the strategy at its first centre, and the loop over both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from nchl.evolve import Evolution, Limits
from nchl.runs.search.objects import Objects, check_size, from_module_options, resolve_objects, separate_objects
from nchl.runs.search.recipe import network_spec, recipe
from nchl.runs.search.start import first_centre, first_constants, first_statistics, notes_on_start
from nchl.runs.search.strategy import make_strategy
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.search_options import read_episodes
from nchl.runs.store.code_copy import Code, collect
from nchl.strategies import Strategy
from nchl.tasks import Task
from nchl.tasks.trial import notes_on_environment
from nchl.workers import LocalWorkers, Recipe, Workers, cluster_workers, process_workers
from nchl.workers.build import task_of

_log = logging.getLogger("nchl")


def evolution(task: str | Task | None = None, **options: Any) -> Evolution:
    """A search as an iterable of generations, without a run folder; for notebooks and programs.

    The logger `nchl` gets the notes that `nchl evolve` prints, for example on an environment of your own that does not follow its seed.

        search = nchl.evolution("CartPole-v1", network="nchl", hidden=[10], population=200, target=475)
        for generation in search:
            print(generation.generation, generation.mean)
        search.best.genome

    Args:
        task: a Gymnasium id, or a task of `nchl.tasks.make`; None: the preset's.
        **options: the options of `nchl evolve` by field name of `EvolveConfig`; `preset` among them. `network` may be an object: an
            `nn.Sequential`, or a network of one individual, the template of the population; `strategy` a `Strategy`; `initial_genome` an
            array or tensor `(nparams,)`.

    Raises:
        NchlError: an option that cannot be used, a task or network that cannot be made.
    """
    name, options, objects = separate_objects(task, options)
    config = EvolveConfig.create(name, **options)
    code = collect(config)
    search = build(config, code=code, objects=prepare_objects(config, objects, code))
    for note in [*search.workers.notes, *notes_on_start(config, code), *notes_on_environment(search.workers.task)]:
        _log.warning("%s", note)
    return search


def build(
    config: EvolveConfig,
    constants: Mapping[str, np.ndarray] | None = None,
    code: Code | None = None,
    objects: Objects | None = None,
) -> Evolution:
    """The loop of a configuration, before its first generation.

    Args:
        config: of the run.
        constants: of the network, as a run has saved them; None: those of the run that this one begins with, or new ones.
        code: the user's code that the configuration names; None: as it is on the disk now.
        objects: that replace names, see `prepare_objects`.

    Raises:
        NchlError: the task, the network, the strategy or the first centre cannot be made.
    """
    code = collect(config) if code is None else code
    workers = make_workers(config, recipe(config, first_constants(config) if constants is None else constants, code, objects))
    try:
        strategy = _strategy(config, workers.nparams, code, Objects() if objects is None else objects)
        statistics = first_statistics(config, workers.observation_shape)
        episodes = config.episodes or 1 if config.episodes_schedule is None else read_episodes(config.episodes_schedule)
        return Evolution(strategy, workers, limits(config), episodes=episodes, statistics=statistics)
    except BaseException:
        workers.close()
        raise


def make_workers(config: EvolveConfig, about: Recipe) -> Workers:
    """The workers of a configuration: this process, processes on this machine, or a Ray cluster.

    Raises:
        NchlError: the task or the network cannot be made, or there is no cluster.
    """
    if config.cluster is not None:
        return cluster_workers(about, config.cluster)
    if config.workers is not None:
        return process_workers(about, config.workers)
    return LocalWorkers(about)


def limits(config: EvolveConfig) -> Limits:
    """The limits at which the run ends."""
    return Limits(config.generations, config.target, config.max_steps, config.max_minutes, config.validation_episodes or 0)


def prepare_objects(config: EvolveConfig, objects: Objects, code: Code) -> Objects:
    """The objects of a new run in the form in which it uses them, with their entry for its record.

    Raises:
        NchlError: the network does not fit the task, or breaks the contract of `PlasticNetwork`.
    """
    network = objects.network
    if not isinstance(network, nn.Sequential):
        shapes = ((), 0) if network is None else (tuple(network.input_shape), int(network.output_size))
        return resolve_objects(objects, config, shapes, {})
    task = task_of(recipe(config, None, code, objects))
    try:
        options = from_module_options(vars(network_spec(config, code)))
        return resolve_objects(objects, config, (task.observation_shape, task.action_size), options)
    finally:
        if task is not objects.task:
            task.close()


def _strategy(config: EvolveConfig, nparams: int, code: Code, given: Objects) -> Strategy:
    if given.strategy is not None:
        return check_size(given.strategy, nparams)
    assert config.population is not None
    assert config.seed is not None
    centre, settings = first_centre(config, nparams, given.genome), config.strategy_settings()
    return make_strategy(str(config.strategy), nparams, config.population, config.seed, centre, settings, code)
