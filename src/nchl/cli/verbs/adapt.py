"""Break the body, the senses or the network of evolved individuals, and measure the recovery.

Each individual runs unseen episodes, intact and perturbed: as evolved, with plasticity off, and with weights frozen when the
perturbation begins. Runs that differ only in their seed are one group. Perturbations are given by a suite or one by one:

  nchl adapt RUN --perturb lesion:weights=1@100
  nchl adapt RUN [RUN ...] --suite lesions

docs/adaptation.md has the language of perturbations and the suites.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Once, Parser, add_figure_width_option, add_which_option, at_least, check_figure_width
from nchl.cli.progress import say
from nchl.perturbations.language import EXAMPLES
from nchl.perturbations.suites import SUITES


def add_arguments(parser: Parser) -> None:
    """The runs, the perturbations, and the output."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folders, folders with some up to two levels deep, or zoo:NAME"
    )
    what = parser.add_argument_group("perturbations")
    what.add_argument(
        "--suite", action=Once, metavar="NAME|FILE.yaml", help=f"the perturbations of a suite, one after the other: {', '.join(SUITES)}"
    )
    what.add_argument(
        "--perturb",
        action="append",
        metavar="SPEC",
        help=f"a perturbation; may be given several times ('A & B' are two at once): {', '.join(EXAMPLES[:6])}, ...",
    )
    played = parser.add_argument_group("episodes")
    played.add_argument("--episodes", type=at_least(1), default=100, metavar="N", help="unseen episodes of each condition (default: 100)")
    played.add_argument(
        "--seed", type=at_least(0), default=10000, metavar="SEED", help="seed of the starts and of the bootstrap (default: 10000)"
    )
    add_which_option(played)
    played.add_argument(
        "--simulator", action=Once, metavar="NAME", help="simulator (default: the run's own, or the one that a perturbation needs)"
    )
    played.add_argument("--workers", type=at_least(1), default=1, metavar="N", help="processes; results do not depend on their number")
    played.add_argument(
        "--window",
        type=at_least(1),
        default=50,
        metavar="STEPS",
        help="steps of the network that rewards before and after the moment are averaged over; fewer for short episodes (default: 50)",
    )
    how = parser.add_argument_group("output")
    form = how.add_mutually_exclusive_group()
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown", default="text", help="tables in Markdown")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="the rows with all digits")
    form.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    how.add_argument("--out", type=Path, metavar="DIR", help="also write adaptation.txt, .md, .csv, .json and the figure there")
    how.add_argument(
        "--figure",
        type=Path,
        metavar="PATH",
        help="draw reward and recovery into a file that ends in .pdf, .svg or .png; without an ending, into PATH.png and PATH.svg",
    )
    add_figure_width_option(how)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the episodes, write files, and return the result."""
    check_figure_width(args)
    from nchl.report.adaptation import adapt
    from nchl.report.adaptation.tables import render
    from nchl.report.adaptation.written import keep, write

    study = adapt(
        args.runs,
        suite=args.suite,
        perturb=args.perturb,
        episodes=args.episodes,
        seed=args.seed,
        which=args.which,
        simulator=args.simulator,
        workers=args.workers,
        window=args.window,
        on_note=say,
    )
    result = study.to_json()
    kept = study.kept()
    for line in keep(study, kept):
        say(line)
    if args.out is not None:
        result["files"] = [str(file) for file in write(study, kept, args.out)]
    if args.figure is not None:
        from nchl.report.plots.adaptation import save

        result["figures"] = [str(file) for file in save(kept, args.figure, args.figure_width)]
    if args.json:
        return result
    if args.form != "text":
        for line in study.notes:
            say(f"note: {line}")
    return {**result, "_form": args.form, "_tables": render(study, args.form)}


def text(result: dict[str, Any]) -> str:
    """The tables; in plain text also a heading, explanations and notes."""
    if result["_form"] != "text":
        return str(result["_tables"])
    source = f" ({result['source']})" if result["source"] else ""
    subject = "best individual" if result["which"] == "best" else "centre of the search"
    head = f"{result['task']}, {result['suite']}{source}: the {subject} of each run, {result['episodes']} unseen episodes each"
    explained = [line.format(window=result["window"]) for line in EXPLAINED]
    lines = [head, "", result["_tables"], "", *explained, *(f"note: {line}" for line in result["notes"])]
    written = [*result.get("files", []), *result.get("figures", [])]
    return "\n".join([*lines, *(f"written: {file}" for file in written)])


EXPLAINED = (
    "intact: return of the twins with the same starts and control, without the perturbation; retained: return by that.",
    "before, after, late: reward per step in the {window} steps before the moment, the {window} after it, and the twin's last {window}.",
    "recovered: share of the judged episodes in which {window} steps reach 90 % of the twin's reward.",
    "steps to recover: Kaplan-Meier median.",
    "frozen: the weights stay as they are from the moment of the perturbation on, in the twin too.",
    "P(higher): a return of the first is higher; p: of the returns; recovery p: of the times to recover; Holm: for all pairs.",
    "Intervals and tests are over the runs of a group, and over the episodes where a group is a single run.",
    "Controls of one group are compared in pairs (signed-rank test; recovery of a single run: sign test).",
    "Groups are independent samples (Mann-Whitney test; recovery of single runs: log-rank test).",
)
