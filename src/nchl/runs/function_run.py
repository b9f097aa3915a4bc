"""Runs on mathematical functions in place of tasks, to compare strategies alone: `sphere:100` is the sphere in 100 dimensions.

A run is one folder with `columns.json`, written at its end; an interrupted run begins again. Its score is `-log10` of the function's value,
so that higher is better and a unit is one decimal digit; an evaluation counts as one step. A search that diverges ends with the score -300.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, NchlError, RunError, UnknownName
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.writing import write_atomically, writing_to
from nchl.runs.search.strategy import make_strategy
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import TOTALS, that_matter
from nchl.runs.store.code_copy import Code, collect
from nchl.strategies.functions import FUNCTIONS, values

FILE = "columns.json"
COLUMNS = ("evaluations", "env_steps", "mean", "best_so_far", "validation_centre", "search_seconds")
LEAST, MOST = 2, 1_000_000  # dimensions
_NAME = re.compile(r"([a-z]+):([0-9]+)")
_LIMITS = ("generations", "max_steps")
_SMALLEST = 1e-12  # values below count as this one: 12 digits


def function_of(task: str) -> tuple[str, int] | None:
    """Name and dimensions of `sphere:100`; None for a name of another form.

    Raises:
        InvalidArgument: an unknown function, or dimensions out of range.
    """
    match = _NAME.fullmatch(task)
    if match is None:
        return None
    name, size = match[1], int(match[2])
    if name not in FUNCTIONS:
        raise UnknownName("function", name, FUNCTIONS)
    if not LEAST <= size <= MOST:
        raise InvalidArgument(f"{task}: a function needs from {LEAST} to {MOST:,} dimensions, got {size:,}")
    return name, size


def run_function(config: EvolveConfig, folder: Path) -> None:
    """Search until `max_steps` evaluations are made, and write the columns, unless the folder has as many already.

    Raises:
        RunError: the folder is one of other settings, or cannot be written to.
        NchlError: the strategy cannot be made.
    """
    code = collect(config)
    settings = _settings(config, code)
    if (folder / FILE).exists():
        held = read_columns(folder)["settings"]
        wrong = sorted(name for name in {*held, *settings} - set(TOTALS) if held.get(name) != settings.get(name))
        if wrong:
            raise RunError(f"{folder} holds a run with other settings ({', '.join(wrong)}); name another folder, or remove it")
        if all(held[name] >= settings[name] for name in _LIMITS):
            return  # a longer run begins with the bits of a shorter one
    columns, reason = _searched(config, code)
    with writing_to(folder, of_a_run=False):
        folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"settings": settings, "reason": reason, "columns": columns}, indent=1)
    write_atomically(folder / FILE, text.encode(), of_a_run=False)


def read_columns(folder: Path) -> dict[str, Any]:
    """Settings, reason of the end and columns of a finished run.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / FILE
    data = read_json(read_text(path), file=path)
    columns = data.get("columns")
    if not isinstance(columns, dict) or set(columns) != set(COLUMNS) or len({len(each) for each in columns.values()}) != 1:
        raise RunError(f"{path} was altered; remove it, and the run is repeated")
    return {"reason": "max_steps", **data, "columns": {name: np.array(column, dtype=np.float64) for name, column in columns.items()}}


def _searched(config: EvolveConfig, code: Code) -> tuple[dict[str, list[float]], str]:
    """The columns, and the reason of the end: `max_steps`, or `diverged` where no score of the last generation was finite."""
    found = function_of(config.task)
    assert found is not None
    name, size = found
    assert config.population is not None
    assert config.seed is not None
    settings = config.strategy_settings()
    strategy = make_strategy(str(config.strategy), size, config.population, config.seed, str(config.initial_genome), settings, code)
    columns: dict[str, list[float]] = {column: [] for column in COLUMNS}
    best, reason = np.inf, "max_steps"
    while strategy.generation < (config.generations or 0) and strategy.generation * config.population < (config.max_steps or 0):
        begin = time.perf_counter()
        population = strategy.ask()
        asked = time.perf_counter()
        of_rows = values(name, population)
        evaluated = time.perf_counter()
        try:
            strategy.tell(-of_rows)
        except NchlError:
            if not columns["mean"]:
                raise
            reason = "diverged"
        told = time.perf_counter()
        mean = centre = np.nan  # of a search that has diverged
        if reason != "diverged":
            with np.errstate(all="ignore"):
                centre = float(FUNCTIONS[name](strategy.centre[None])[0])
                best = min(best, float(np.nanmin(of_rows)))
                mean = float(np.mean(of_rows[np.isfinite(of_rows)]))
        done = (len(columns["mean"]) + 1) * config.population
        row = (done, done, _digits(mean), _digits(best), _digits(centre), (asked - begin) + (told - evaluated))
        for column, value in zip(COLUMNS, row, strict=True):
            columns[column].append(value)
        if reason == "diverged":
            break
    return columns, reason


def _digits(value: float) -> float:
    """`-log10` of a value; a value that is not finite counts as 1e300."""
    return float(-np.log10(min(max(value, _SMALLEST), 1e300) if np.isfinite(value) else 1e300))


def _settings(config: EvolveConfig, code: Code) -> dict[str, Any]:
    """The settings on which the result depends, as plain JSON."""
    others = {"files": " ".join(sorted(code.digests.values()))} if code.digests else {}
    plain: dict[str, Any] = json.loads(json.dumps(that_matter(config.to_json()) | others))
    return plain
