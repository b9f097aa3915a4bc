"""Checks over several options of a configuration; `Option.check` checks each alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.plasticity import Plasticity
from nchl.runs.settings.network_options import NETWORKS, OWN
from nchl.runs.settings.options import is_object
from nchl.runs.settings.search_options import read_episodes
from nchl.strategies.registry import STRATEGIES, settings_of
from nchl.user_code import refuse_file_alone

if TYPE_CHECKING:
    from nchl.runs.settings.config import EvolveConfig


def check_names(network: str, strategy: str) -> None:
    """Refuse an unknown network or strategy."""
    refuse_file_alone(network, "network", "network")
    refuse_file_alone(strategy, "strategy", "class")
    if network not in NETWORKS and ":" not in network:
        raise UnknownName("network", network, [*NETWORKS, OWN])
    if strategy not in STRATEGIES and not is_object(strategy) and not settings_of(strategy):
        raise UnknownName("strategy", strategy, [*STRATEGIES, "evosax:NAME", OWN])


def refuse_no_seed(given: Mapping[str, Any]) -> None:
    """Refuse the seed None: in other libraries it is a random seed, here it would be the default."""
    if "seed" in given and given["seed"] is None:
        raise InvalidArgument(
            "seed must be a whole number, got None; equal seeds give equal runs: give each run its own, for example seed=index"
        )


def check_values(config: EvolveConfig) -> None:
    """Refuse a complete configuration with values out of range, or that do not go together.

    Raises:
        InvalidArgument: names the option, what was expected, and the value.
    """
    if not config.task:
        raise InvalidArgument("the task must be a Gymnasium id, for example CartPole-v1, got an empty text")
    if config.network == "gru" and config.hidden is not None and len(config.hidden) != 1:
        raise InvalidArgument(f"hidden: a gru has one hidden layer, got sizes of {len(config.hidden)}; write --hidden 16")
    if config.recurrent and not config.hidden:
        raise InvalidArgument("recurrent: expected a hidden layer that could lead to itself, got none; add --hidden 16")
    Plasticity.of(
        average=config.average,
        every=1 if config.every is None else config.every,
        trace=config.trace,
        modulate=config.modulate,
        normalise=config.normalise,
    )
    if config.image_size is not None and len(config.image_size) != 2:
        raise InvalidArgument(f"image_size must be two numbers, height and width, got {len(config.image_size)}: {list(config.image_size)}")
    if config.wrap and config.simulator not in (None, "auto", "gymnasium"):
        asked = f"--simulator {config.simulator}"
        raise InvalidArgument(f"--wrap {config.wrap[0]}: wrappers are Gymnasium's, and {asked} asks for another; leave one out")
    if config.episodes_schedule is not None:
        read_episodes(config.episodes_schedule)
    if config.workers is not None and config.cluster is not None:
        raise InvalidArgument(
            f"--workers {config.workers} are processes on this machine, --cluster {config.cluster} is a Ray cluster; give one of the two"
        )
    if config.max_minutes is not None and not config.max_minutes > 0:
        raise InvalidArgument(f"max_minutes must be greater than 0, got {config.max_minutes}")
    _check_strategy(config)


def _check_strategy(config: EvolveConfig) -> None:
    settings, population = config.strategy_settings(), config.population
    for setting in settings_of(str(config.strategy)):
        if setting.name in settings:
            setting.check(settings[setting.name])
    if settings.get("antithetic") and population is not None and population % 2:
        raise InvalidArgument(
            f"population must be even for antithetic sampling (each perturbation comes with its mirror image), got {population}; "
            f"use {population + 1}, or --no-antithetic"
        )
    if (mu := settings.get("mu")) is not None and population is not None and mu > population:
        raise InvalidArgument(f"mu must be at most the population of {population}, got {mu}")
