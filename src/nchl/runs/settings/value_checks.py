"""Numbers that no run can use are refused, with the number and what would do instead."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from nchl.errors import InvalidArgument
from nchl.networks.plasticity import Plasticity
from nchl.runs.settings.options import at_least
from nchl.strategies.registry import settings_of

if TYPE_CHECKING:
    from nchl.runs.settings.config import EvolveConfig


def check_values(config: EvolveConfig) -> None:
    """Refuse a settled configuration whose values do not go together, or are out of range.

    Raises:
        InvalidArgument: says what was expected and what came.
    """
    if not config.task:
        raise InvalidArgument("the task must be a Gymnasium id, for example CartPole-v1, got an empty text")
    if config.hidden is not None:
        at_least("hidden", config.hidden, 1, "sizes of hidden layers", allow_empty=True)
        if config.network == "gru" and len(config.hidden) != 1:
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
    if config.image_size is not None:
        if len(config.image_size) != 2:
            raise InvalidArgument(
                f"image_size must be two numbers, height and width, got {len(config.image_size)}: {list(config.image_size)}"
            )
        at_least("image_size", config.image_size, 1, "pixels")
    least: dict[str, int] = {
        "window": 1,
        "population": 2,
        "max_episode_steps": 1,
        "action_repeat": 1,
        "episodes": 1,
        "validation_episodes": 0,
        "generations": 1,
        "max_steps": 1,
        "seed": 0,
        "workers": 1,
    }
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise InvalidArgument(f"{name} must be at least {bound}, got {value}")
    if config.wrap and config.simulator not in (None, "auto", "gymnasium"):
        asked = f"--simulator {config.simulator}"
        raise InvalidArgument(f"--wrap {config.wrap[0]}: wrappers are Gymnasium's, and {asked} asks for another; leave one out")
    if config.episodes_schedule is not None:
        read_episodes(config.episodes_schedule)
    settings = config.strategy_settings()
    if settings.get("antithetic") and config.population is not None and config.population % 2:
        raise InvalidArgument(
            f"population must be even for antithetic sampling (each perturbation comes with its mirror image), got {config.population}; "
            f"use {config.population + 1}, or --no-antithetic"
        )
    if config.workers is not None and config.cluster is not None:
        raise InvalidArgument(
            f"--workers {config.workers} are processes on this machine, --cluster {config.cluster} is a Ray cluster; give one of the two"
        )
    if config.max_minutes is not None and not config.max_minutes > 0:
        raise InvalidArgument(f"max_minutes must be greater than 0, got {config.max_minutes}")
    for setting in settings_of(str(config.strategy)):
        if setting.name in settings:
            setting.check(settings[setting.name])
    mu = settings.get("mu")
    if mu is not None and config.population is not None and mu > config.population:
        raise InvalidArgument(f"mu must be at most the population of {config.population}, got {mu}")


def read_episodes(text: str) -> list[tuple[int, int]]:
    """Pairs (generations that are done, episodes of each individual from then on) of a text such as `1@0,4@50`.

    Raises:
        InvalidArgument: another text, or one that does not begin at 0 and rise.
    """
    pairs = []
    for part in text.split(","):
        episodes, at, begin = part.strip().partition("@")
        if not (at and episodes.isdecimal() and begin.isdecimal() and int(episodes) >= 1):
            raise InvalidArgument(
                f"episodes_schedule must hold EPISODES@GENERATION, separated by commas, as in 1@0,4@50 (4 episodes from the time on "
                f"when 50 generations are done); got {part!r} in {text!r}"
            )
        pairs.append((int(begin), int(episodes)))
    begins = [begin for begin, _ in pairs]
    if begins[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(begins)):
        raise InvalidArgument(f"episodes_schedule must begin with @0, and its generations must rise, as in 1@0,4@50; got {text!r}")
    return pairs
