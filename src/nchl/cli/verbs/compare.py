"""Compare groups of runs: interquartile means with intervals, probability of improvement, tests, sample efficiency.

Runs that differ only in their seed are one group. Give run folders, or a folder that holds some, such as a sweep's. All
runs must be of one task, or `--task` chooses one. The default score of a run is its mean return on unseen episodes if `--evaluate`
has played them for all runs, else the centre's mean on validation starts if all have it, else the last generation's mean.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_figure_width_option, add_perturb_option, at_least, check_figure_width, number, one_of
from nchl.cli.progress import say
from nchl.errors import InvalidArgument
from nchl.report.formatting import setting

_TABLES = ("groups", "pairs", "runs")
_SCORES = ("auto", "evaluation", "validation", "mean", "best")


def add_arguments(parser: Parser) -> None:
    """The runs, their score, and the output."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folders, folders with some up to two levels deep, or zoo:NAME"
    )
    what = parser.add_argument_group("comparison")
    what.add_argument("--task", metavar="ID", help="compare the runs of this task only, where the folders hold runs of several")
    what.add_argument(
        "--score",
        type=one_of("score", _SCORES),
        default="auto",
        metavar="NAME",
        help="evaluation: the best individual on unseen episodes; validation: the centre in the last generation; mean: mean fitness of the "
        "last generation; best: highest fitness of any generation, biased upwards; auto: the first of these that all runs have (default)",
    )
    what.add_argument(
        "--evaluate",
        action="store_true",
        help="play unseen episodes with each best individual, and keep the result in its folder",
    )
    what.add_argument("--episodes", type=at_least(1), metavar="N", help="episodes of --evaluate (default: 100)")
    add_perturb_option(what, "each episode of --evaluate")
    what.add_argument(
        "--target",
        type=number,
        metavar="R",
        help="measure the cost of reaching R (default: nine tenths of the way to the best group's end)",
    )
    what.add_argument(
        "--baseline",
        metavar="GROUP",
        help="test the pairs with this group only (default: all pairs; of more than eight groups those with the best)",
    )
    what.add_argument("--finished-only", action="store_true", help="leave out runs that have not ended")
    what.add_argument("--seed", type=at_least(0), default=0, metavar="SEED", help="seed of the bootstrap (default: 0)")
    how = parser.add_argument_group("output")
    how.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="GROUP=TEXT",
        help="name a group in tables and figures, for example 'network=nchl=NcHL'; may be given several times",
    )
    form = how.add_mutually_exclusive_group()
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown", default="text", help="tables in Markdown")
    form.add_argument("--latex", dest="form", action="store_const", const="latex", help="tables in LaTeX, for the package booktabs")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="one table with every digit")
    form.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    how.add_argument(
        "--table",
        type=one_of("table", _TABLES),
        metavar="|".join(_TABLES),
        help="this table only (default: groups and pairs; of csv: groups)",
    )
    how.add_argument(
        "--figure",
        type=Path,
        metavar="PATH",
        help="draw learning curves, profile and intervals into a file that ends in .pdf, .svg or .png; without an ending, "
        "into PATH.png and PATH.svg",
    )
    add_figure_width_option(how)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the runs, evaluate them on request, compare, draw."""
    if args.episodes is not None and not args.evaluate:
        raise InvalidArgument("--episodes only applies to --evaluate; add it, or leave --episodes out")
    if args.perturb is not None and not args.evaluate:
        raise InvalidArgument("--perturb only applies to --evaluate; add it, or leave --perturb out")
    if args.json and args.table is not None:
        raise InvalidArgument("--table does not apply to --json, which prints everything; leave one of the two out")
    check_figure_width(args)
    from nchl.report.compare import compare

    names = ("task", "target", "baseline", "finished_only", "seed")
    options = {**{name: getattr(args, name) for name in names}, "labels": args.label}
    if args.evaluate:
        if args.score not in ("auto", "evaluation"):
            raise InvalidArgument(f"--evaluate does not apply to the score {args.score}; leave one of the two out")
        args.score = "evaluation"
        _evaluate(compare(args.runs, **{**options, "baseline": None}), args.episodes, args.perturb)
    comparison = compare(args.runs, score=args.score, **options)
    result = comparison.to_json()
    if args.figure is not None:
        from nchl.report.plots.comparison import save

        result["figures"] = [str(file) for file in save(comparison, args.figure, args.figure_width)]
    from nchl.report.compare.tables import render

    tables = [args.table] if args.table else ["groups"] if args.form == "csv" else ["groups", "pairs"]
    if args.form != "text":
        for line in comparison.warnings:
            say(f"warning: {line}")
        for line in comparison.notes if "pairs" in tables else ():  # all are about the tests
            say(f"note: {line}")
    if args.json:
        return result
    return {**result, "_form": args.form, "_shown": tables, "_tables": render(comparison, args.form, tables)}


def text(result: dict[str, Any]) -> str:
    """The tables; in a terminal also the score, explanations and warnings."""
    if result["_form"] != "text":
        return str(result["_tables"])
    same = ", ".join(f"{name}={setting(value, 'x')}" for name, value in result["shared"].items())
    lines = [f"{result['task']}: {result['score_text']}", f"same in all groups: {same}", "", result["_tables"], ""]
    shown = result["_shown"]
    if "groups" in shown:
        lines.append("IQM: mean without the lowest and the highest quarter of the runs.")
    if "groups" in shown or ("pairs" in shown and result["pairs"]):
        lines.append("95 %: percentile bootstrap over the runs of a group (one task: one stratum).")
    if "groups" in shown:
        known = math.isfinite(result["target"])
        lines.append(f"target: {result['target_text']}{'' if known else '; set --target'}.")
        if known:
            lines.append("evaluations and steps to it: median over all runs; a run that never reached it counts as infinite.")
    if "pairs" in shown and result["pairs"]:
        lines.append("P(improvement): a run of the first scores higher than one of the second, a tie counting one half.")
        lines.append(f"p: two-sided Mann-Whitney test; Holm: corrected for {result['tests']} test{'s' * (result['tests'] != 1)}.")
    notes = result["notes"] if "pairs" in shown else []  # all are about the tests
    lines += [*notes, *(f"warning: {line}" for line in result["warnings"])]
    if result.get("figures"):
        lines += ["", *(f"The figure is in {file}" for file in result["figures"])]
    return "\n".join(lines)


def _evaluate(comparison: Any, episodes: int | None, perturb: list[str] | None) -> None:
    """Evaluate the runs of the comparison that have no evaluation yet."""
    from nchl.report.compare.evaluations import EPISODES, evaluate_runs

    paths = [run.folder for scored in comparison.groups for run in scored.group.runs]
    evaluate_runs(paths, episodes=EPISODES if episodes is None else episodes, perturb=perturb, on_note=say)
