"""Strategies beside each other at one budget of environment steps, on tasks and on functions, several seeds each.

A task is a Gymnasium id, or a function in any number of dimensions: sphere:100, ellipsoid:1000, rosenbrock:10. A strategy is its
name, with settings behind it: openai-es,optimizer=adam,lr=0.05. Each task is a sweep with a file and a folder of its own in --out;
the same command skips what is done and goes on with what was interrupted. Shown are the return at the budget (of the centre where
--set validation_episodes=N plays it, else the mean of the last generation), the steps to given returns, and the time of the
strategy itself.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl.cli.parser import Parser, at_least, number
from nchl.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from nchl.report.compare.groups import Group
    from nchl.runs.sweep.grid import Cell

TASKS = ("CartPole-v1", "sphere:100")
STRATEGIES = ("openai-es", "openai-es,optimizer=adam,lr=0.05", "pgpe", "snes", "sep-cma-es")
GENERATIONS = 1_000_000  # so that the budget ends a run
EPILOG = """example:

    nchl bench search --tasks CartPole-v1 rosenbrock:10 --strategies pgpe,lr=0.3 snes --budget 200000 --seeds 5 --set hidden=10
"""


def add_arguments(parser: Parser) -> None:
    """What is searched, by what, for how long."""
    text = "environment steps of a run (evaluations of a function)"
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"default: {' '.join(TASKS)}")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="NAME[,K=V]", help=f"default: {' '.join(STRATEGIES)}")
    parser.add_argument("--budget", type=at_least(1), required=True, metavar="STEPS", help=text)
    parser.add_argument("--seeds", type=at_least(1), default=5, metavar="N", help="runs of each (default: 5)")
    text = "options of `nchl evolve` for all, as in hidden=128x64 population=100; functions take those of the search alone"
    parser.add_argument("--set", nargs="+", default=[], metavar="K=V", help=text)
    text = "returns to be reached (default: 50, 75 and 90 % of the way to the best group's end)"
    parser.add_argument("--targets", type=number, nargs="+", default=[], metavar="R", help=text)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-search"), metavar="DIR", help="default: runs/bench-search")
    parser.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="runs of a task side by side (default: 1)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run what is not done, then compare each task."""
    from nchl.report.compare.strategies import save, summarise, table
    from nchl.report.compare.tables import text as as_text
    from nchl.runs.sweep.grid import read_sweep

    files = [_sweep_file(task, args) for task in args.tasks]
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        raise InvalidArgument(f"a task is given twice: {' '.join(args.tasks)}")
    results, code = [], 0
    for task, file in zip(args.tasks, files, strict=True):
        cells = read_sweep(file)
        runs, ended = _run_task(task, file, cells, args.jobs)
        code = max(code, ended)
        if ended > 1:
            break
        words = {cell.name: _word_of(cell.given, args.strategies) for cell in cells}

        def name_of(group: Group, words: Mapping[str, str] = words) -> str:
            return words[group.runs[0].folder.name]

        results.append(summarise(runs, args.budget, args.targets, name_of))
    figures = save(results, args.out / "search") if results else []
    found = {
        "tasks": {result.comparison.task: result.to_json() for result in results},
        "figures": [str(figure) for figure in figures],
        "folder": str(args.out),
        "exit_code": code,
    }
    tables = {result.comparison.task: as_text(table(result)) for result in results}
    warnings = {result.comparison.task: list(result.comparison.warnings) for result in results}
    return found if args.json else {**found, "_tables": tables, "_warnings": warnings, "_budget": args.budget}


def exit_code(result: dict[str, Any]) -> int:
    """0, 1 where runs have failed, or 128 plus the number of the signal that ended it."""
    return int(result["exit_code"])


def text(result: dict[str, Any]) -> str:
    """The tables of all tasks."""
    lines = []
    for task, shown in result["_tables"].items():
        lines += [f"{task}, {result['_budget']:,} steps a run", "", shown, *(f"warning: {line}" for line in result["_warnings"][task]), ""]
    lines += [
        "IQM: mean without the lowest and the highest quarter of the runs; 95 %: percentile bootstrap over the runs.",
        "steps: median over all runs, one that never got there counts as infinite; in brackets how many did.",
        "A function's score is -log10 of its value at the centre.",
        *(f"The figure is in {file}" for file in result["figures"]),
    ]
    if result["exit_code"] > 1:
        lines.append("interrupted: the same command goes on")
    return "\n".join(lines)


def _sweep_file(task: str, args: argparse.Namespace) -> Path:
    """The sweep of one task, written into the folder of results."""
    from nchl.runs.function_run import function_of
    from nchl.runs.store.files import cannot_write
    from nchl.strategies.registry import all_settings

    fixed = dict(map(_pair, args.set))
    taken = sorted({"task", "strategy", "max_steps", "seed"} & set(fixed))
    if taken:
        raise InvalidArgument(f"--set {taken[0]} has no meaning here: --tasks, --strategies, --budget and --seeds say it")
    if function_of(task) is not None:
        of_search = {*all_settings(), "population", "initial_genome", "generations"}
        lost = sorted(set(fixed) - of_search)
        if lost and all(function_of(each) for each in args.tasks):
            raise InvalidArgument(f"--set {lost[0]} has no meaning for functions; leave it out")
        fixed = {name: value for name, value in fixed.items() if name in of_search}
    about = {"task": task, "max_steps": args.budget, "generations": GENERATIONS, **fixed, "seeds": args.seeds}
    grids = []
    for word in args.strategies:
        name, settings = _strategy(word)
        grids.append({"strategy": [name], **{key: [value] for key, value in settings.items()}})
    path: Path = args.out / (re.sub(r"[^A-Za-z0-9._-]+", "-", task) + ".yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**about, "grid": grids}, indent=1))  # which is YAML too
    except OSError as error:
        raise cannot_write(path, error, of_a_run=False) from error
    return path


def _strategy(word: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of `openai-es,lr=0.05`; a file is named from here."""
    name, *settings = word.split(",")
    return str(Path(name).absolute()) if ".py:" in name else name, dict(map(_pair, settings))


def _word_of(given: Mapping[str, Any], words: Sequence[str]) -> str:
    """Which of the words has made a run: the one with the most of its settings."""
    found = {word: _strategy(word) for word in words}
    fits = [word for word, (name, s) in found.items() if name == given["strategy"] and all(given.get(key) == s[key] for key in s)]
    return max(fits, key=lambda word: len(found[word][1]))


def _pair(word: str) -> tuple[str, Any]:
    """`hidden=128x64` as the option's name and a value of its kind."""
    from nchl.runs.settings.config import options

    known = {option.name: option for option in options()}
    key, equals, value = word.partition("=")
    name = key.replace("-", "_")
    if not equals:
        raise InvalidArgument(f"expected NAME=VALUE, as in lr=0.05, got {word!r}")
    if name not in known:
        raise UnknownName("option", key, known)
    kind = known[name].kind
    try:
        if kind == "bool":
            return name, {"true": True, "on": True, "false": False, "off": False}[value.lower()]
        if kind == "ints":
            return name, [int(part) for part in value.split("x") if part]
        return name, {"int": int, "float": float, "str": str}[kind](value)
    except (KeyError, ValueError) as error:
        wanted = {"bool": "on or off", "ints": "whole numbers with x between them", "int": "a whole number", "float": "a number"}[kind]
        raise InvalidArgument(f"{key}: expected {wanted}, got {value!r}") from error


def _run_task(task: str, file: Path, cells: Sequence[Cell], jobs: int) -> tuple[Sequence[Any], int]:
    """Run what is not done of one task; the runs that there are now, and the exit code of the sweep."""
    from nchl.cli import sweep
    from nchl.report.compare.function_runs import as_run
    from nchl.report.compare.runs import read_run
    from nchl.runs.function_run import function_of, run_function

    folder = file.with_suffix("")
    if function_of(task) is None:
        left = [cell for each in cells if (cell := _left_of(each, folder)) is not None]
        result = sweep.run_cells_of(file, left, folder, jobs=jobs)
        done = [each["name"] for each in result["runs"] if each["state"] != "failed" and each["generations"]]
        for failed in (each for each in result["runs"] if each["state"] == "failed"):
            print(f"failed: {failed['name']}: {failed['error']}", file=sys.stderr)
        longer = {cell.name for cell in cells} - {cell.name for cell in left}
        return [read_run(folder / cell.name) for cell in cells if cell.name in {*done, *longer}], result["exit_code"]
    for place, cell in enumerate(cells, 1):
        print(f"{task}: {cell.name} ({place} of {len(cells)})", file=sys.stderr)
        run_function(cell.config, folder / cell.name)
    return [as_run(cell.config, folder / cell.name) for cell in cells], 0


def _left_of(cell: Cell, folder: Path) -> Cell | None:
    """What is left to do of a cell that may have been begun for a larger budget: nothing where it is past this one already."""
    from nchl.report.compare.runs import read_run
    from nchl.runs.store.folder import RunFolder

    if not (folder / cell.name / "config.json").is_file():
        return cell
    record = RunFolder.open(folder / cell.name).read_record()
    larger, budget = record.settings.max_steps or 0, cell.config.max_steps or 0
    if larger <= budget:
        return cell
    if read_run(folder / cell.name).last("env_steps") >= budget:
        return None
    return replace(cell, config=cell.config.replace(max_steps=larger), given={**cell.given, "max_steps": larger})
