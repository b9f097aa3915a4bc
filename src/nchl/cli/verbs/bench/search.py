"""Strategies beside each other at one budget of environment steps, on tasks and on functions, several seeds each.

A task is a Gymnasium id, or a function in any number of dimensions: sphere:100, ellipsoid:1000, rosenbrock:10. A strategy is its
name, with settings behind it: openai-es,optimizer=adam,lr=0.05. Each task is a sweep with a file and a folder of its own in --out;
the same command skips what is done and goes on with what was interrupted. The tables show the return at the budget (of the centre with
--set validation_episodes=N, else the mean of the last generation), the steps to given returns, the seconds spent in the strategy, and
tests of the differences.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, at_least, number

TASKS = ("CartPole-v1", "sphere:100")
STRATEGIES = ("openai-es", "openai-es,optimizer=adam", "openai-es,optimizer=clipup", "pgpe", "snes", "sep-cma-es")
EPILOG = """example:

    nchl bench search --tasks CartPole-v1 rosenbrock:10 --strategies pgpe,lr=0.3 snes --budget 200000 --seeds 5 --set hidden=10
"""


def add_arguments(parser: Parser) -> None:
    """The tasks, the strategies and the budget."""
    text = "environment steps of a run (evaluations of a function)"
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"default: {' '.join(TASKS)}")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="NAME[,K=V]", help=f"default: {' '.join(STRATEGIES)}")
    parser.add_argument("--budget", type=at_least(1), required=True, metavar="STEPS", help=text)
    parser.add_argument("--seeds", type=at_least(1), default=5, metavar="N", help="runs of each (default: 5)")
    text = (
        "options of `nchl evolve` for all, as in hidden=128x64 population=100 env=frame_skip=2 perturb=motor:3=0@500, except those "
        "that end a run, which --budget does; functions take those of the search alone"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="K=V", help=text)
    text = "returns to be reached (default: 50, 75 and 90 % of the way to the best group's end)"
    parser.add_argument("--targets", type=number, nargs="+", default=[], metavar="R", help=text)
    text = "one of the strategies; the others are tested against it (default: all pairs are tested)"
    parser.add_argument("--baseline", metavar="NAME[,K=V]", help=text)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-search"), metavar="DIR", help="default: runs/bench-search")
    parser.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="runs of a task side by side (default: 1)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run what is not done, then compare each task."""
    from nchl.bench.search import Plan, search
    from nchl.cli.progress import say
    from nchl.cli.verbs.sweep import run_cells_of
    from nchl.report.compare.strategies import save, table
    from nchl.report.compare.tables import pairs_table
    from nchl.report.compare.tables import text as as_text

    plan = Plan(args.tasks, args.strategies, args.budget, args.seeds, args.set, args.out, args.baseline)
    results, code = search(plan, args.targets, run_sweep=functools.partial(run_cells_of, jobs=args.jobs), on_note=say)
    figures = save(results, args.out / "search") if results else []
    found = {
        "tasks": {result.comparison.task: result.to_json() for result in results},
        "figures": [str(figure) for figure in figures],
        "folder": str(args.out),
        "exit_code": code,
    }
    tables = {
        result.comparison.task: "\n\n".join(as_text(each) for each in (table(result), pairs_table(result.comparison)) if each.rows)
        for result in results
    }
    warnings = {result.comparison.task: list(result.comparison.warnings) for result in results}
    return found if args.json else {**found, "_tables": tables, "_warnings": warnings, "_budget": args.budget}


def text(result: dict[str, Any]) -> str:
    """The tables of all tasks."""
    lines = []
    for task, shown in result["_tables"].items():
        lines += [f"{task}, {result['_budget']:,} steps a run", "", shown, *(f"warning: {line}" for line in result["_warnings"][task]), ""]
    lines += [
        "IQM: mean without the lowest and the highest quarter of the runs; 95 %: percentile bootstrap over the runs.",
        "P(improvement): share of the pairs of runs in which the first strategy's run is ahead; U, p: Mann-Whitney, two-sided.",
        "steps: median over all runs, a run that never reached the target counts as infinite; in brackets the number of runs that did.",
        "A function's score is -log10 of its value at the centre.",
        *(f"The figure is in {file}" for file in result["figures"]),
    ]
    if result["exit_code"] > 1:
        lines.append("interrupted: the same command goes on")
    return "\n".join(lines)
