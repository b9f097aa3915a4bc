"""List the tasks that `nchl evolve` can be given. Any other id of EnvPool or Gymnasium works too, also as `module:Id`."""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Parser
from nchl.errors import UnknownName


def add_arguments(parser: Parser) -> None:
    """A word to search for, or none."""
    parser.add_argument("word", nargs="?", metavar="WORD", help="search for this word in all ids of the simulators")
    parser.add_argument(
        "--family", metavar="NAME", help="only tasks of this suite, for example dm_control, playground, mujoco or box2d; all their ids"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The described tasks and, with a word, all other ids that contain it."""
    from nchl.simulators.described import known  # nchl.tasks would import torch

    rows = [row._asdict() for row in known()]
    families = _families()
    for row in rows:
        families.setdefault(row["family"], set()).add(row["id"])
    counts = {name: len(families[name]) for name in sorted(families)}
    if args.family is not None:
        if args.family not in families:
            raise UnknownName("family of tasks", args.family, sorted(families))
        rows = [row for row in rows if row["family"] == args.family]
    elif args.word is None:
        return {"tasks": rows, "others": [], "families": counts}
    word = "" if args.word is None else args.word.lower()
    found = [row for row in rows if word in row["id"].lower() or word in row["note"].lower()]
    wanted = families.values() if args.family is None else [families[args.family]]
    ids = sorted({id for family in wanted for id in family})
    others = [id for id in ids if word in id.lower() and id not in {row["id"] for row in rows}]
    if not found and not others:
        raise UnknownName("task", args.word, ids, see="nchl tasks")
    return {"tasks": found, "others": others, "families": counts}


def text(result: dict[str, Any]) -> str:
    """A table of the described tasks, and a list of other ids."""
    lines = []
    if result["tasks"]:
        columns = ("id", "family", "observation", "action", "simulators", "note")
        table = [("task", *columns[1:]), *(tuple(row[column] for column in columns) for row in result["tasks"])]
        widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    if result["others"]:
        lines += ["", "Other ids of the simulators:", *(f"  {id}" for id in result["others"])]
    families = ", ".join(f"{name} ({count})" for name, count in result["families"].items())
    lines += ["", f"Families, with how many ids (--family NAME lists them): {families}."]
    lines += ["", "Any other id of EnvPool or Gymnasium works too, and `module:Id` imports the module first."]
    return "\n".join(lines).lstrip("\n")


def _families() -> dict[str, set[str]]:
    """The ids of the simulators that are installed, by family."""
    from nchl.simulators import families

    found = {name: set(ids) for name, ids in families.of_gymnasium().items()}
    try:
        for name, ids in families.of_envpool().items():
            found.setdefault(name, set()).update(ids)
    except ImportError:
        pass
    return found
