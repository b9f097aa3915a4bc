"""Evaluate the result of a run on unseen episodes.

Neither the search nor its validation has used these starts. With `--controls` the same individual also runs with its rule switched
off, and with its weights frozen half-way through an episode, which shows the effect of plasticity. With `--dynamics` the weights of a few
lifetimes are followed: they settle, cycle or drift. The episodes are kept in the run's folder, for `nchl report` and
`nchl compare --evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_perturb_option, add_result_options, at_least
from nchl.report.formatting import figure

_COLUMNS = ("mean", "std", "iqm", "min", "max", "length")


def add_arguments(parser: Parser) -> None:
    """The run folder, and the episodes."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder that `nchl evolve` made, or zoo:NAME")
    add_result_options(parser)
    parser.add_argument("--episodes", type=at_least(1), default=100, metavar="N", help="number of episodes (default: 100)")
    add_perturb_option(parser)
    parser.add_argument("--controls", action="store_true", help="also run without the rule, and with weights frozen half-way")
    parser.add_argument("--dynamics", action="store_true", help="also report whether the weights settle, cycle or drift over a lifetime")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the run folder, import the heavy modules, evaluate."""
    from nchl.runs.store.folder import RunFolder

    folder = RunFolder.open(args.run)
    folder.read_record()
    from nchl.runs.results.evaluate import evaluate
    from nchl.runs.results.kept import Kept

    return evaluate(
        args.run,
        episodes=args.episodes,
        seed=args.seed,
        which=args.which,
        simulator=args.simulator,
        controls=args.controls,
        dynamics=args.dynamics,
        rule=args.rule,
        perturb=args.perturb,
        kept=Kept(folder, use=False),
    )


def text(result: dict[str, Any]) -> str:
    """A small table: as evolved, and below it the controls."""
    rows = [("", *_COLUMNS), ("as evolved", *_figures(result))]
    explained = []
    if "plasticity_off" in result:
        frozen = result["frozen_half_way"]
        rows += [("plasticity off", *_figures(result["plasticity_off"])), ("frozen half-way", *_figures(frozen))]
        explained = [
            "",
            "plasticity off: the rule never acts, the weights stay as at the start of each episode",
            f"frozen half-way: the weights stay as they are after {frozen['after_steps']} steps of the network",
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]
    subject = "best individual" if result["which"] == "best" else "centre of the search"
    title = f"{result['task']} on {result['simulator']}: the {subject}, {result['episodes']} unseen episodes, seed {result['seed']}"
    if result["perturbations"]:
        title += f", perturbed: {' | '.join(result['perturbations'])}"
    lines = [title, "", *table, *explained]
    if result["non_finite"]:
        lines += ["", f"{result['non_finite']} episodes were not finite; they are in none of the figures"]
    if "dynamics" in result:
        lines += ["", f"weights over a lifetime: {_weights(result['dynamics'])}"]
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])


def _figures(about: dict[str, Any]) -> list[str]:
    return [figure(about[column]) for column in _COLUMNS]


def _weights(dynamics: dict[str, Any]) -> str:
    """The verdict with its number, and how much of the path two components show."""
    said = f"{dynamics['verdict'] or 'no verdict'}: {dynamics['why']}"
    shown = sum(dynamics["explained"])
    return said if not shown else f"{said}; the first two principal components explain {shown:.0%} of the path"
