"""A check before a sweep starts: each task, network and rule is made once, so that a wrong name does not fail every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from nchl.errors import InvalidArgument, NchlError
from nchl.rollout.scores import check_sizes
from nchl.runs.search.recipe import recipe
from nchl.runs.search.strategy import make_strategy
from nchl.runs.store.code_copy import collect
from nchl.runs.sweep.cell_states import PLAYED
from nchl.runs.sweep.grid import Cell
from nchl.strategies.registry import STRATEGIES
from nchl.tasks import Task
from nchl.workers.build import network_of, task_of


def check_cells(cells: Iterable[Cell], file: Path) -> None:
    """Make each task, network, rule and strategy of the cells in a sweep's file once.

    Raises:
        InvalidArgument: a task, network, rule or strategy that cannot be made, or that does not fit; names its first cell.
    """
    made: dict[tuple[object, ...], Task] = {}
    known: set[tuple[object, ...]] = set()
    with contextlib.ExitStack() as stack:
        for cell in cells:
            config = cell.config
            played = tuple(repr(getattr(config, name)) for name in PLAYED)
            # Hidden layers of any sizes can be made; the other settings of the network may not go together.
            settings = config.network_settings() | {"hidden": bool(config.hidden)}
            named = (*played, *settings.values(), config.device, config.backend, config.strategy)
            if named in known:
                continue
            try:
                if played not in made:
                    made[played] = task_of(recipe(config), threads=1)
                    stack.callback(made[played].close)
                network = network_of(recipe(config), made[played], 2)
                check_sizes(network, made[played])
                if config.strategy not in STRATEGIES:
                    sizes = network.nparams, int(config.population or 2), int(config.seed or 0)
                    make_strategy(str(config.strategy), *sizes, "normal", config.strategy_settings(), collect(config))
            except NchlError as error:
                raise InvalidArgument(f"{file}, run {cell.name}: {error}") from error
            known.add(named)
