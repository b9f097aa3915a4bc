"""Continue a run that was stopped or killed, or make it longer.

It continues from the newest complete checkpoint, with the same bits as without the interruption.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, number, whole_number
from nchl.cli.progress.runs import progress
from nchl.cli.summary import result
from nchl.cli.summary import text as text
from nchl.runs.settings import docs_budget


def add_arguments(parser: Parser) -> None:
    """The run folder, and the settings that may differ from its first session."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder that `nchl evolve` made")
    parser.add_argument("--generations", type=whole_number, metavar="G", help="the new total of generations (default: the run's own)")
    parser.add_argument("--max-minutes", type=number, metavar="M", help="the new total of minutes (default: the run's own)")
    parser.add_argument("--max-steps", type=whole_number, metavar="N", help="the new total of environment steps (default: the run's own)")
    parser.add_argument("--workers", type=whole_number, metavar="N", help="processes on this machine (default: the run's own)")
    parser.add_argument("--cluster", metavar="ADDRESS|auto", help="a Ray cluster, as for `nchl evolve` (default: the run's own)")
    parser.add_argument(
        "--allow-other-machine",
        action="store_true",
        help="continue although torch, the simulator or the processor's instruction set has changed, which changes the last digits",
    )
    parser.add_argument(
        "--allow-other-environment",
        action="store_true",
        help="continue although the files, the registration or the package of your own Gymnasium environment have changed",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the run folder, import the heavy modules, continue."""
    from nchl.runs.store.folder import RunFolder

    settings = RunFolder.open(args.run).read_record().settings
    if args.generations is not None:
        args.generations = docs_budget.at_most("generations of a resumed run", args.generations)
    if args.workers is not None:
        args.workers = docs_budget.at_most("workers", args.workers)
    with progress(args.generations or settings.generations, args.max_minutes or settings.max_minutes) as shown:
        from nchl.runs.session.resume import resume

        return result(
            resume(
                args.run,
                generations=args.generations,
                max_minutes=args.max_minutes,
                max_steps=args.max_steps,
                workers=args.workers,
                cluster=args.cluster,
                allow_other_machine=args.allow_other_machine,
                allow_other_environment=args.allow_other_environment,
                on_generation=shown.show,
                on_note=shown.say,
            )
        )
