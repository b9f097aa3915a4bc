"""The file of a sweep: a grid of settings and seeds, in which each cell is one run in a folder with a readable name.

    task: CartPole-v1
    hidden: [10]            # any option of `nchl evolve`, for all runs
    grid:
      network: [nchl, hl]   # every combination of these lists is run; several grids may stand in a list
    seeds: 5                # 0 to 4, or a list

The result of a cell does not depend on other cells, on the number of runs side by side, or on interruptions. A run with other settings is
never continued; `sweep.cell_states` compares the cells with the runs in the folder.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.errors import InvalidArgument, NchlError, UnknownName
from nchl.runs.files.yaml import read_yaml
from nchl.runs.settings import docs_budget
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.options import LISTS, NO_EFFECT_ON_RESULTS, that_matter
from nchl.runs.settings.places import with_absolute_paths
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.user_code import is_place

MOST_RUNS = 10_000
_OPTIONS = {option.name: option for option in options()}
_KEYS = ("grid", "seeds", *_OPTIONS)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        given: its options in the file, by field name; the seed among them.
        config: the complete configuration.
        also: other names of the same run in the file.
        reasons: why these are the same run: a value equals a default, or they differ in options that change no result.
    """

    name: str
    given: dict[str, Any]
    config: EvolveConfig
    also: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def read_sweep(path: Path) -> list[Cell]:
    """The cells of a sweep's file, those of one setting next to each other.

    Raises:
        InvalidArgument: the file cannot be read, or has an option or value that cannot be used; names the cell.
    """
    data: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        if _name(key, path) in data:
            raise InvalidArgument(f"{path}: {key!r} is given twice, in two spellings; keep one")
        data[_name(key, path)] = value
    grids, seeds = data.pop("grid", None), _seeds(data.pop("seeds", 1), path)
    seeds = seeds[: docs_budget.at_most("seeds of a sweep", len(seeds))]
    if "seed" in data:
        raise InvalidArgument(f"{path}: write `seeds` (a list, or how many), not `seed`: a sweep runs each setting with several")
    for name, value in data.items():
        _refuse_several(name, value, path)
    fixed = {name: _value(name, value, path) for name, value in data.items()}
    combinations = list(_combinations(grids, fixed, len(seeds), path))
    cells: list[Cell] = []
    names: dict[str, int] = {}
    for changed in combinations:
        base = "_".join(f"{name.replace('_', '-')}-{_readable(name, value)}" for name, value in changed.items())
        names[base] = names.get(base, 0) + 1
        if names[base] > 1:  # two files with the same NAME, for example
            base += f"_{names[base]}"
        cells += [_cell("_".join(filter(None, (base, f"seed-{seed}"))), {**fixed, **changed, "seed": seed}, path) for seed in seeds]
    return _each_once(cells, path)


def _name(key: Any, path: Path) -> str:
    name = str(key).replace("-", "_")
    if name not in _KEYS:
        raise UnknownName(f"option in {path}", str(key), _KEYS)
    return name


def _combinations(grids: Any, fixed: dict[str, Any], seeds: int, path: Path) -> Iterator[dict[str, Any]]:
    """Every combination of each grid's lists, the last name moving fastest."""
    if isinstance(grids, list) and not grids:
        raise InvalidArgument(
            f"{path}: `grid` is an empty list, which describes no run; name options and the values of each, as in `network: [nchl, hl]`, "
            "or leave `grid` out"
        )
    total = 0
    for grid in [{}] if grids is None else grids if isinstance(grids, list) else [grids]:
        if not isinstance(grid, dict):
            raise InvalidArgument(f"{path}: `grid` must name options and the values of each, as in `network: [nchl, hl]`, got {grid!r}")
        lists: dict[str, list[Any]] = {}
        for key, values in grid.items():
            name = _name(key, path)
            if name in ("grid", "seeds", "seed"):
                raise InvalidArgument(f"{path}: {key!r} does not belong in the grid; write `seeds` beside it")
            if name in fixed or name in lists:
                raise InvalidArgument(f"{path}: {name!r} is given twice, in the grid and for all runs or in two spellings; keep one")
            if not isinstance(values, list) or not values:
                raise InvalidArgument(f"{path}: {key!r} in the grid needs a list of values, got {values!r}")
            lists[name] = [_value(name, value, path) for value in values]
        total += seeds * math.prod(map(len, lists.values()))
        if total > MOST_RUNS:
            raise InvalidArgument(f"{path} describes {total:,} runs or more; {MOST_RUNS:,} are the most: split it")
        yield from (dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))


def _seeds(given: Any, path: Path) -> list[int]:
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MOST_RUNS:
        return list(range(given))
    if isinstance(given, list) and given and all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in given):
        if len(set(given)) < len(given):
            raise InvalidArgument(f"{path}: a seed appears twice in {given}; the two runs would be the same")
        return given
    raise InvalidArgument(f"{path}: `seeds` must be how many (5: from 0 to 4) or a list of whole numbers, got {given!r}")


def _refuse_several(name: str, value: Any, path: Path) -> None:
    """Refuse a list of values beside the grid, where the option takes one value, or a list of lists, where it takes a list."""
    if isinstance(value, list) and len(value) > 1 and (_OPTIONS[name].kind not in LISTS or all(isinstance(each, list) for each in value)):
        raise InvalidArgument(f"{path}: {name} has several values, {value}: put it under `grid`")


def _value(name: str, value: Any, path: Path) -> Any:
    """A value of YAML in the option's type; the configuration refuses a value that does not fit."""
    kind = _OPTIONS[name].kind
    each_value = value if isinstance(value, list) else [value]
    if kind in ("str", "texts", "places", "specs") and any(isinstance(each, bool) for each in each_value):
        raise InvalidArgument(
            f"{path}: {name} must be text, got {value!r}; YAML reads off, on, yes and no as false and true: write the word in quotes, "
            "as in 'off'"
        )
    if kind == "int":
        return _whole(value)
    if kind == "ints" and value is not None:
        return tuple(map(_whole, each_value))
    if kind == "float" and isinstance(value, str):  # 1e-3, without a point, is text in YAML
        try:
            return float(value)
        except ValueError:
            return value
    if kind in ("texts", "places", "specs") and value is not None:
        return tuple(_beside(each, path) if kind == "places" and is_place(each) else each for each in each_value)
    if not isinstance(value, str):
        return value
    # Paths are relative to the sweep's file, so that it means the same in any working directory.
    if (name in ("network", "rule") and ":" in value) or (name == "strategy" and is_place(value)):
        return _beside(value, path)
    if name == "initial_genome" and value not in INITIAL_GENOMES and zoo.name_of(value) is None:
        return str((path.absolute().parent / value).resolve())
    return value


def _whole(value: Any) -> Any:
    """The whole number that a value of YAML stands for: 1e4 is text there, and 1.0e+4 a float. Other values stay as they are."""
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        return value
    return int(number) if number.is_integer() else value


def _beside(place: str, path: Path) -> str:
    """`FILE.py:NAME` with an absolute path, given a path relative to the sweep's file."""
    file, _, attribute = place.rpartition(":")
    return f"{(path.absolute().parent / file).resolve()}:{attribute}"


def _readable(name: str, value: Any) -> str:
    """A value as a part of a folder's name, of characters that every file system accepts."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return "+".join(_readable("", f"{key}-{each}".replace("_", "-")) for key, each in value.items()) or "none"
    if isinstance(value, tuple) and any(isinstance(each, str) for each in value):
        return "+".join(_readable("", each) for each in value)
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    if name in ("average", "modulate", "normalise"):  # a word with a number, as in mean:10
        value = str(value).replace(":", "-")
    text = str(value).rpartition(":")[2] if ":" in str(value) else str(value).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9.+-]+", "", text)[:40] or "value"


def _cell(name: str, given: dict[str, Any], path: Path) -> Cell:
    settings = dict(given)
    try:
        config = EvolveConfig.create(settings.pop("task", None), preset=settings.pop("preset", None), **settings)
    except NchlError as error:
        hint = ". Options that only some networks or strategies have go into a grid of their own: `grid` may be a list of grids"
        raise InvalidArgument(f"{path}, run {name}: {error}{hint if 'does not apply' in str(error) else ''}") from error
    return Cell(name, {option: value for option, value in given.items() if value is not None}, with_absolute_paths(config))


def _each_once(cells: list[Cell], path: Path) -> list[Cell]:
    """The cells without repetitions: two names of one run would be counted as two seeds.

    Raises:
        InvalidArgument: the same values were given twice.
    """
    known: dict[str, Cell] = {}
    for cell in cells:
        settings = repr(that_matter(cell.config.to_json()))
        first = known.setdefault(settings, cell)
        if first is cell:
            continue
        if first.given == cell.given:
            raise InvalidArgument(f"{path}: {first.name} and {cell.name} are the same run; a value appears twice in the grid")
        reasons = dict.fromkeys([*first.reasons, _why_the_same(first.config, cell.config)])
        known[settings] = replace(first, also=(*first.also, cell.name), reasons=tuple(reasons))
    return list(known.values())


def _why_the_same(first: EvolveConfig, second: EvolveConfig) -> str:
    mine, other = first.to_json(), second.to_json()
    differing = sorted(name for name in NO_EFFECT_ON_RESULTS if mine.get(name) != other.get(name))
    if not differing:
        return "a value equals a default"
    return f"they differ in {' and '.join(differing)} alone, which {'changes' if len(differing) == 1 else 'change'} no result"
