"""From a configuration to the recipe with which any process builds its task and its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nchl.errors import InvalidArgument
from nchl.networks.build import NetworkSpec
from nchl.runs.search.objects import Objects, refuse_to_travel
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import OBJECT
from nchl.runs.settings.places import nth
from nchl.runs.store.code_copy import Code, collect
from nchl.tasks import fingerprint
from nchl.workers import Recipe
from nchl.workers.build import task_of


def recipe(
    config: EvolveConfig,
    constants: Mapping[str, np.ndarray] | None = None,
    code: Code | None = None,
    objects: Objects | None = None,
) -> Recipe:
    """The recipe of a run's task and network; arguments as in `search.evolution.build`.

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
    assert config.seed is not None  # every complete configuration has it, and a population
    assert config.population is not None
    return Recipe(
        task=config.task,
        network=network_spec(config, code, objects.written),
        seed=config.seed,
        population=config.population,
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
    """The network of a configuration, with this code; `written`: in the form of `networks.user.written`."""
    if written is not None:
        return NetworkSpec(OBJECT + str(config.network).partition(":")[2], written=written)
    return NetworkSpec(**config.network_settings() | {name: code.places[name] for name in ("network", "rule") if name in code.places})


def environment_of(config: EvolveConfig) -> dict[str, Any] | None:
    """The fingerprint of the environment of a configuration as it is here now. The environment is made, which runs its module.

    Raises:
        NchlError: it cannot be made here.
    """
    task = task_of(recipe(config, code=Code()), threads=1)
    try:
        return fingerprint(task)
    finally:
        task.close()
