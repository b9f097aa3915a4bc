"""Evolve the rules of a plastic network on a task.

Ctrl-C finishes the generation, saves it, and prints the command to resume; a second Ctrl-C drops that generation. A run that was
killed continues with `nchl resume RUN`, and ends with the same bits as one that was not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_options, given
from nchl.cli.progress.runs import progress
from nchl.cli.summary import result
from nchl.cli.summary import text as text
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.store.folder import exists_already


def add_arguments(parser: Parser) -> None:
    """The task, and an option for every other field of the configuration."""
    parser.add_argument("task", nargs="?", metavar="TASK", help="a Gymnasium id, for example CartPole-v1; a preset has its own")
    add_options(parser, [option for option in options() if option.name != "task"])
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder to make (default: runs/TASK-NETWORK-SEED-TIME)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the configuration, import the heavy modules, evolve."""
    config = EvolveConfig.create(**given(args, options()))
    if args.out is not None and args.out.exists():  # before seconds of imports; the run itself makes sure of it
        raise exists_already(args.out)
    with progress(config.generations, config.max_minutes) as shown:
        from nchl.runs.session.run import run as evolve

        return result(evolve(config, args.out, on_generation=shown.show, on_note=shown.say))
