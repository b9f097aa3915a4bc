"""From a configuration to what it describes: the workers, the strategy at its first centre, and the loop over both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.evolve import Evolution, Limits
from nchl.networks.build import NetworkSpec
from nchl.rollout import ObservationStatistics
from nchl.runs.search.objects import Objects, check_size, from_module_options, refuse_to_travel, resolved, taken
from nchl.runs.search.strategy import make_strategy
from nchl.runs.session.recorder import recorded_constants, statistics_from
from nchl.runs.settings.config import INITIAL_GENOMES, EvolveConfig
from nchl.runs.settings.options import OBJECT, OWN_START
from nchl.runs.settings.value_checks import read_episodes
from nchl.runs.store.code_copy import Code, collect, nth
from nchl.runs.store.files import read_tensors
from nchl.runs.store.folder import RunFolder
from nchl.tasks import Task
from nchl.workers import LocalWorkers, Recipe, Workers, cluster_workers, process_workers
from nchl.workers.build import task_of


def evolution(task: str | Task | None = None, **options: Any) -> Evolution:
    """A search as an iterable of generations, without a run folder; for notebooks and programs.

        search = nchl.evolution("CartPole-v1", network="nchl", hidden=[10], population=200, target=475)
        for generation in search:
            print(generation.generation, generation.mean)
        search.best.genome

    Args:
        task: a Gymnasium id, or a task of `nchl.tasks.make`; None: the preset's.
        **options: the options of `nchl evolve` by field name of `EvolveConfig`; `preset` among them. `network` may be an object: an
            `nn.Sequential`, or a network of one individual, the template of the population; `strategy` a `Strategy`.

    Raises:
        NchlError: an option that cannot be used, a task or network that cannot be made.
    """
    name, options, objects = taken(task, options)
    config = EvolveConfig.create(name, **options)
    return build(config, objects=prepared(config, objects, collect(config)))


def build(
    config: EvolveConfig,
    constants: Mapping[str, np.ndarray] | None = None,
    code: Code | None = None,
    objects: Objects | None = None,
) -> Evolution:
    """The loop that a configuration describes, before its first generation.

    Args:
        config: of the run.
        constants: of the network, as a run has saved them; None: those of the run that this one begins with, or new ones.
        code: of the user's that the configuration names; None: as it lies on the disk now.
        objects: that take the place of names, see `prepared`.

    Raises:
        NchlError: the task, the network, the strategy or the first centre cannot be made.
    """
    code = collect(config) if code is None else code
    workers = make_workers(config, recipe(config, first_constants(config) if constants is None else constants, code, objects))
    try:
        given = None if objects is None else objects.strategy
        strategy = (
            check_size(given, workers.nparams)
            if given is not None
            else make_strategy(
                *(str(config.strategy), workers.nparams, _given(config.population), _given(config.seed)),
                centre=first_centre(config, workers.nparams),
                settings=config.strategy_settings(),
                code=code,
            )
        )
        statistics = first_statistics(config, workers.observation_shape)
        return Evolution(strategy, workers, limits(config), episodes=_episodes(config), statistics=statistics)
    except BaseException:
        workers.close()
        raise


def make_workers(config: EvolveConfig, about: Recipe) -> Workers:
    """What plays: this process, processes beside it, or a Ray cluster.

    Args:
        config: of the run.
        about: its recipe.

    Raises:
        NchlError: the task or the network cannot be made, or there is no cluster.
    """
    if config.cluster is not None:
        return cluster_workers(about, config.cluster)
    if config.workers is not None:
        return process_workers(about, config.workers)
    return LocalWorkers(about)


def prepared(config: EvolveConfig, objects: Objects, code: Code) -> Objects:
    """The objects of a run that begins, as it will use them; with what its record says of them.

    Args:
        config: of the run.
        objects: as `runs.search.objects.taken` gave them.
        code: of the user's that the configuration names.

    Raises:
        NchlError: the network does not fit the task, or does not keep the contract of `PlasticNetwork`.
    """
    network = objects.network
    if not isinstance(network, nn.Sequential):
        shapes = ((), 0) if network is None else (tuple(network.input_shape), int(network.output_size))
        return resolved(objects, config, shapes, {})
    task = task_of(recipe(config, None, code, objects))
    try:
        spec = network_spec(config, code)
        return resolved(objects, config, (task.observation_shape, task.action_size), from_module_options(vars(spec)))
    finally:
        if task is not objects.task:
            task.close()


def recipe(
    config: EvolveConfig,
    constants: Mapping[str, np.ndarray] | None = None,
    code: Code | None = None,
    objects: Objects | None = None,
) -> Recipe:
    """What a worker needs to build its task and its network.

    Args:
        config: of the run.
        constants: of the network, as they were saved; None: as they are drawn under the run's seed.
        code: of the user's that the configuration names; None: as it lies on the disk now.
        objects: that take the place of names.

    Raises:
        InvalidArgument: a device that torch does not have here.
    """
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidArgument(f"device {config.device!r} cannot be used here ({str(error).splitlines()[0]}); cpu always can") from error
    size, code = config.image_size, collect(config) if code is None else code
    objects = Objects() if objects is None else objects
    refuse_to_travel(objects, config)
    return Recipe(
        task=config.task,
        network=network_spec(config, code, objects.written),
        seed=_given(config.seed),
        population=_given(config.population),
        simulator=str(config.simulator),
        image_size=None if size is None else (size[0], size[1]),
        max_episode_steps=config.max_episode_steps,
        observe=config.observe,
        env=config.env,
        action_repeat=config.action_repeat or 1,
        wrap=tuple(code.places.get(nth("wrap", k), place) for k, place in enumerate(config.wrap or ())),
        perturb=config.perturb or (),
        perturb_training=config.perturb_training or (),
        backend=config.backend or "auto",
        device=str(config.device),
        constants=objects.constants if constants is None else constants,
        code=code.texts,
        template=objects.network,
        played=objects.task,
    )


def network_spec(config: EvolveConfig, code: Code, written: str | None = None) -> NetworkSpec:
    """The network that a configuration describes, made of this code; or one that was written down, see `networks.user.written`."""
    if written is not None:
        return NetworkSpec(OBJECT + str(config.network).partition(":")[2], written=written)
    return NetworkSpec(**config.network_settings() | {name: code.places[name] for name in ("network", "rule") if name in code.places})


def limits(config: EvolveConfig) -> Limits:
    """When the run ends."""
    return Limits(config.generations, config.target, config.max_steps, config.max_minutes, _given(config.validation_episodes))


def initial_run(config: EvolveConfig) -> RunFolder | None:
    """The run, or zoo individual, that this one begins with; None where it begins with numbers of its own.

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
    """The name of the first centre, or the vector that another run has reached.

    Raises:
        ShapeError: that run's genome is of another length; names both.
    """
    run = initial_run(config)
    if run is None:
        return str(config.initial_genome)
    genome = read_tensors(run.start)[0].get("genome")
    if genome is None or genome.shape != (nparams,):
        other = run.read_record().settings
        raise ShapeError(
            f"the initial genome in {run.start} has shape {None if genome is None else genome.shape} ({_network(other)}), "
            f"but this run's network needs ({nparams},) ({_network(config)}); choose the network and task of that run"
        )
    return genome.astype(np.float64)


def first_statistics(config: EvolveConfig, shape: tuple[int, ...]) -> ObservationStatistics | None:
    """Those that the first centre acted with in the run that it comes from, else empty ones; None without normalisation.

    Raises:
        InvalidArgument: the centre saw normalised observations, and this run would not normalise them.
    """
    run = initial_run(config)
    reached = None if run is None else statistics_from(read_tensors(run.start)[0], shape)
    if not config.normalise_observations:
        if run is not None and reached is not None:
            raise InvalidArgument(f"the genome in {run.path} was evolved on normalised observations; add --normalise-observations")
        return None
    return ObservationStatistics(shape) if reached is None else reached


def first_constants(config: EvolveConfig) -> dict[str, np.ndarray] | None:
    """Those that the first centre was evolved with, in the run that it comes from; None where there are none."""
    run = initial_run(config)
    return None if run is None else recorded_constants(read_tensors(run.start)[0])


def _episodes(config: EvolveConfig) -> int | list[tuple[int, int]]:
    return _given(config.episodes) if config.episodes_schedule is None else read_episodes(config.episodes_schedule)


def _network(config: EvolveConfig) -> str:
    hidden = "" if config.hidden is None else f", hidden {' '.join(map(str, config.hidden))}"
    return f"network {config.network}{hidden}, task {config.task}"


def _given(value: int | None) -> int:
    """A number that every settled configuration has."""
    assert value is not None
    return value
