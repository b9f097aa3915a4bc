"""Strategies beside each other at one budget of environment steps, on tasks and on functions, several seeds each.

Each task is a sweep with a file and a folder of its own, so that a second call skips what is done and goes on with what was interrupted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nchl.bench.words import refuse_not_here, refuse_open_cosine, settings_of, strategy_of, word_of
from nchl.errors import InvalidArgument, UnknownName
from nchl.report.compare.groups import Group
from nchl.report.compare.runs import Run, read_function_run, read_run
from nchl.report.compare.strategies import SearchResult, summarise
from nchl.runs.files.writing import writing_to
from nchl.runs.function_run import function_of, run_function
from nchl.runs.store.folder import RunFolder
from nchl.runs.sweep.cell_states import present_cells
from nchl.runs.sweep.grid import Cell, read_sweep
from nchl.strategies.registry import all_settings

GENERATIONS = 1_000_000  # so that the budget ends a run
# Runs the cells of a sweep's file in a folder; the result of `nchl sweep`.
RunSweep = Callable[[Path, list[Cell], Path], Mapping[str, Any]]


class Plan(NamedTuple):
    """The runs to compare.

    Attributes:
        tasks: Gymnasium ids, or functions such as `sphere:100`.
        strategies: names with settings behind them, such as `openai-es,lr=0.05`.
        budget: environment steps of a run, or evaluations of a function.
        seeds: runs of each strategy on each task.
        settings: options for all runs, as `NAME=VALUE`.
        out: the folder of results.
        baseline: the strategy that the others are tested against; None: all pairs are tested.
    """

    tasks: Sequence[str]
    strategies: Sequence[str]
    budget: int
    seeds: int
    settings: Sequence[str]
    out: Path
    baseline: str | None = None


def search(plan: Plan, targets: Sequence[float], *, run_sweep: RunSweep, on_note: Callable[[str], None]) -> tuple[list[SearchResult], int]:
    """Run what is not done, then compare the strategies on each task.

    Args:
        plan: the runs.
        targets: returns to reach; empty: 50, 75 and 90 % of the way to the best group's end.
        run_sweep: runs cells; functions are evaluated here.
        on_note: called with lines on the progress.

    Returns:
        A result for each task that was reached and has a run with a generation, and an exit code: 0, 1 where runs have failed, or 128
        plus the number of the signal that interrupted it.

    Raises:
        InvalidArgument: a task that is given twice, or a setting that does not apply.
        UnknownName: no such task, strategy or option.
    """
    if plan.baseline is not None and plan.baseline not in plan.strategies:
        raise UnknownName("strategy", plan.baseline, plan.strategies)
    files = [_sweep_file(task, plan) for task in plan.tasks]
    if len({file.stem for file in files}) < len(files):
        raise InvalidArgument(f"a task is given twice: {' '.join(plan.tasks)}")
    cells_of = {file: read_sweep(file) for file in files}
    for cells in cells_of.values():
        _refuse_equal(cells, plan.strategies)
    results, code = [], 0
    for task, (file, cells) in zip(plan.tasks, cells_of.items(), strict=True):
        if function_of(task) is None:
            cells, changed = present_cells(cells, file.with_suffix(""))
            for note in changed:
                on_note(f"note: {note}")
        runs, lost, ended = _run_task(task, file, cells, run_sweep, on_note)
        for line in lost:
            on_note(line)
        code = max(code, ended)
        if ended > 1:
            break
        if not runs:
            continue
        words = {cell.name: word_of(cell.given, plan.strategies) for cell in cells}

        def name_of(group: Group, words: Mapping[str, str] = words) -> str:
            return words[group.runs[0].folder.name]

        results.append(summarise(runs, plan.budget, targets, name_of, plan.baseline, warnings=lost))
    return results, code


def _refuse_equal(cells: Sequence[Cell], words: Sequence[str]) -> None:
    """Refuse strategies that describe the same run, as one names the default of another.

    Raises:
        InvalidArgument: names both.
    """
    kept = {word_of(cell.given, words): cell for cell in cells}
    for lost in (word for word in words if word not in kept):
        twin = next(word for word, cell in kept.items() if cell.also and strategy_of(word)[0] == strategy_of(lost)[0])
        raise InvalidArgument(f"--strategies {twin} and {lost} are the same runs, as a value of one is the default of the other; keep one")


def _sweep_file(task: str, plan: Plan) -> Path:
    """Write the sweep of one task into the folder of results; returns the file."""
    fixed = settings_of(plan.settings)
    refuse_not_here(fixed, "--set")
    if function_of(task) is not None:
        of_search = {*all_settings(), "population", "initial_genome"}
        lost = sorted(set(fixed) - of_search)
        if lost and all(function_of(each) for each in plan.tasks):
            raise InvalidArgument(f"--set {lost[0]} does not apply to functions; leave it out")
        fixed = {name: value for name, value in fixed.items() if name in of_search}
    about = {"task": task, "max_steps": plan.budget, "generations": GENERATIONS, **fixed, "seeds": plan.seeds}
    grids = []
    for word in plan.strategies:
        name, settings = strategy_of(word)
        refuse_not_here(settings, f"--strategies {word}")
        refuse_open_cosine({**fixed, **settings})
        grids.append({"strategy": [name], **{key: [value] for key, value in settings.items()}})
    path: Path = plan.out / (re.sub(r"[^A-Za-z0-9._-]+", "-", task) + ".yaml")
    with writing_to(path, of_a_run=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**about, "grid": grids}, indent=1))  # which is YAML too
    return path


def _run_task(
    task: str, file: Path, cells: Sequence[Cell], run_sweep: RunSweep, on_note: Callable[[str], None]
) -> tuple[Sequence[Run], list[str], int]:
    """Run what is not done of one task; returns all runs with a generation, a line for each that failed, and the exit code of the sweep."""
    folder = file.with_suffix("")
    if function_of(task) is None:
        left = [cell for each in cells if (cell := _left_of(each, folder)) is not None]
        result = run_sweep(file, left, folder)
        begun = [each["name"] for each in result["runs"] if each["generations"]]
        failed = [
            f"{each['name']} failed and is {'taken as far as it is' if each['generations'] else 'left out'}: {each['error']}"
            for each in result["runs"]
            if each["state"] == "failed"
        ]
        longer = {cell.name for cell in cells} - {cell.name for cell in left}
        return [read_run(folder / cell.name) for cell in cells if cell.name in {*begun, *longer}], failed, result["exit_code"]
    for place, cell in enumerate(cells, 1):
        on_note(f"{task}: {cell.name} ({place} of {len(cells)})")
        run_function(cell.config, folder / cell.name)
    return [read_function_run(cell.config, folder / cell.name) for cell in cells], [], 0


def _left_of(cell: Cell, folder: Path) -> Cell | None:
    """The rest of a cell that may have been begun with a larger budget; None where it has passed this budget already."""
    if not (folder / cell.name / "config.json").is_file():
        return cell
    record = RunFolder.open(folder / cell.name).read_record()
    larger, budget = record.settings.max_steps or 0, cell.config.max_steps or 0
    if larger <= budget:
        return cell
    if read_run(folder / cell.name).last("env_steps") >= budget:
        return None
    return replace(cell, config=cell.config.replace(max_steps=larger), given={**cell.given, "max_steps": larger})
