"""Write the page of a run: report.html, one file that opens from disk.

It has the film, the learning curve, unseen episodes with and without plasticity, the genome, all settings, the commands that repeat
the run, and the microscope: one lifetime, step by step, with every weight and the terms of its changes. The run may be in progress.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_perturb_option, add_rule_option, at_least
from nchl.cli.progress import say


def add_arguments(parser: Parser) -> None:
    """The run folder, and parts to leave out."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder, or zoo:NAME")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page (default: report.html in the run folder; of zoo:NAME: ./NAME-report.html; with --perturb, report-PERTURBATION.html)",
    )
    parser.add_argument("--episodes", type=at_least(0), default=100, metavar="N", help="unseen episodes; 0: no evaluation (default: 100)")
    parser.add_argument("--seed", type=at_least(0), default=10000, metavar="SEED", help="seed of the unseen episodes (default: 10000)")
    parser.add_argument("--no-film", action="store_true", help="leave the film out (default: film.mp4 of the run folder, or a new one)")
    parser.add_argument("--no-microscope", action="store_true", help="leave the recording of a lifetime out")
    parser.add_argument(
        "--adaptation",
        type=Path,
        metavar="DIR",
        help="show the study in this folder of `nchl adapt RUN --out DIR` (default: those that the run folder keeps; zoo:NAME keeps none)",
    )
    add_perturb_option(parser, "the unseen episodes, the film and the microscope")
    add_rule_option(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the run folder, import the heavy modules, write the page; progress goes to stderr."""
    from nchl.runs.store.folder import RunFolder

    RunFolder.open(args.run).read_record()
    from nchl.report.page import write

    return write(
        args.run,
        args.out,
        episodes=args.episodes,
        seed=args.seed,
        film=not args.no_film,
        microscope=not args.no_microscope,
        rule=args.rule,
        perturb=args.perturb,
        study=args.adaptation,
        on_note=say,
    )


def text(result: dict[str, Any]) -> str:
    """The page's path, its parts, and notes on missing parts."""
    parts = ["film"] if result["film"] else []
    if result["microscope"] is not None:
        parts.append(f"microscope ({result['microscope']['steps']:,} steps, {result['microscope']['moments']} moments)")
    lines = [f"{result['report']} ({result['bytes'] / 1e6:.1f} MB), {result['task']}: {result['status']}"]
    if parts:
        lines.append(f"with {' and '.join(parts)}")
    return "\n".join([*lines, *result["notes"]])
