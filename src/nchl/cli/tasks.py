"""List the tasks that `nchl evolve` can be given. Any other id of EnvPool or Gymnasium works too, also as `module:Id`."""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Parser
from nchl.errors import UnknownName


def add_arguments(parser: Parser) -> None:
    """A word to look for, or none."""
    parser.add_argument("word", nargs="?", metavar="WORD", help="look for this word in all ids of the simulators")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The tasks that are looked after here and, where a word is given, all others that contain it."""
    from nchl.tasks import known

    rows = [row._asdict() for row in known()]
    if args.word is None:
        return {"tasks": rows, "others": []}
    word = args.word.lower()
    found = [row for row in rows if word in row["id"].lower() or word in row["note"].lower()]
    ids = sorted({*(row["id"] for row in rows), *_all_ids()})
    others = [id for id in ids if word in id.lower() and id not in {row["id"] for row in rows}]
    if not found and not others:
        raise UnknownName("task", args.word, ids)
    return {"tasks": found, "others": others}


def text(result: dict[str, Any]) -> str:
    """A table of the known tasks, and the others in lines."""
    lines = []
    if result["tasks"]:
        columns = ("id", "observation", "action", "simulators", "note")
        table = [("task", *columns[1:]), *(tuple(row[column] for column in columns) for row in result["tasks"])]
        widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    if result["others"]:
        lines += ["", "Other ids of the simulators:", *(f"  {id}" for id in result["others"])]
    lines += ["", "Any other id of EnvPool or Gymnasium works too, and `module:Id` imports the module first."]
    return "\n".join(lines).lstrip("\n")


def _all_ids() -> set[str]:
    """The ids of the simulators that are installed."""
    ids: set[str] = set()
    try:
        import gymnasium

        ids |= set(gymnasium.registry)
    except ImportError:
        pass
    try:
        from nchl.tasks.envpool import known_ids

        ids |= set(known_ids())
    except ImportError:
        pass
    return ids
