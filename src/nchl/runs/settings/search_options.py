"""The options of the search: its strategy, its population, and the episodes of each individual."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

from nchl.errors import InvalidArgument
from nchl.evolve.limits import TARGET_EPISODES
from nchl.runs.settings.options import option, with_strategy_settings
from nchl.strategies.registry import STRATEGIES

INITIAL_GENOMES = ("normal", "zeros", "uniform")

_HEADING = "search"
_option = partial(option, group=_HEADING)


@dataclass(frozen=True)
@with_strategy_settings(_HEADING, behind="population")
class SearchOptions:
    """Fields of `EvolveConfig`; the settings of the strategies are fields too, made from `nchl.strategies.registry`."""

    strategy: str | None = _option(
        "str", "openai-es", f"{', '.join(STRATEGIES)}, evosax:NAME, or your own class as FILE.py:NAME (which runs that file)"
    )
    population: int | None = _option("int", 200, "individuals in a generation", metavar="P", least=2)
    initial_genome: str | None = _option(
        "str",
        "normal",
        "first centre: normal N(0, 1), zeros, uniform U(-1, 1), the centre of another run's folder, zoo:NAME, or your own numbers: a "
        ".safetensors file with a tensor genome",
        metavar="NAME|RUN|FILE",
    )
    episodes: int | None = _option("int", 1, "episodes of each individual; its fitness is their mean return", metavar="N", least=1)
    episodes_schedule: str | None = _option(
        *("str", None, "in place of --episodes, few early and more later: 1@0,4@50 is 1 at first, and 4 after 50 generations"),
        metavar="N@G,...",
    )
    validation_episodes: int | None = _option(
        "int",
        0,
        f"episodes on other starts for each generation's best and centre, at least {TARGET_EPISODES} with a target; they choose the best "
        "of the run",
        metavar="N",
        least=0,
    )
    seed: int | None = _option("int", 0, "source of all randomness of the run", metavar="SEED", least=0)


def read_episodes(text: str) -> list[tuple[int, int]]:
    """Pairs (first generation, counted from 0; episodes of each individual from then on) of a schedule such as `1@0,4@50`.

    Raises:
        InvalidArgument: not a schedule, or one that does not begin at 0 and rise.
    """
    pairs = []
    for part in text.split(","):
        episodes, at, begin = part.strip().partition("@")
        if not (at and episodes.isdecimal() and begin.isdecimal() and int(episodes) >= 1):
            raise InvalidArgument(
                f"episodes_schedule must hold EPISODES@GENERATION, separated by commas, as in 1@0,4@50 (4 episodes after 50 generations); "
                f"got {part!r} in {text!r}"
            )
        pairs.append((int(begin), int(episodes)))
    begins = [begin for begin, _ in pairs]
    if begins[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(begins)):
        raise InvalidArgument(f"episodes_schedule must begin with @0, and its generations must rise, as in 1@0,4@50; got {text!r}")
    return pairs
