"""Generates the reference page of the command line from the parsers: `python -m nchl.cli.reference > docs/cli.md`.

A test compares the page with this module's output, so that the documentation agrees with `--help`.
"""

from __future__ import annotations

import argparse
import importlib

from nchl.cli import VERBS
from nchl.cli.parser import Parser
from nchl.cli.verbs.bench import BENCHES
from nchl.runs.settings import docs_budget

_HEAD = """# Command line

Every command is `nchl VERB ...`. Results go to stdout, progress and errors to stderr; `--json` prints one JSON object in place
of text ([its keys](json.md)).

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | some runs of a sweep have failed; the others are done |
| 2 | a mistake in the command; one or two lines on stderr say what to write instead |
| 129 | stopped by SIGHUP, for example from a closed terminal; the run can be resumed |
| 130 | stopped by Ctrl-C; the run can be resumed |
| 143 | stopped by SIGTERM, for example from a cluster's scheduler; the run can be resumed |

`--network FILE.py:NAME` and `--rule FILE.py:NAME` run the code of that file, and a task `module:Id` imports that module. No other
file that nchl reads is executed.

The environment variable `NCHL_DOCS_BUDGET=small` is for trying the commands of this documentation, as its tests do. It limits
every command to {limits}.
Each command then says so on stderr, Python code gets a warning, and `config.json` holds the actual budgets.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD.format(limits=docs_budget.limits())]
    for name, verb in VERBS.items():
        if name == "bench":
            parts.append("## nchl bench\n\nMeasure the speed of one part on this machine, which should be idle otherwise.\n")
            for bench, summary in BENCHES.items():
                parts.append(section(f"{verb.module}.{bench}", f"nchl bench {bench}", summary, level=3))
        else:
            parts.append(section(verb.module, f"nchl {name}", verb.help))
    return "\n".join(parts)


def section(module_name: str, program: str, summary: str, level: int = 2) -> str:
    """One verb: its description, its positional arguments and a table for each group of its options."""
    module = importlib.import_module(module_name)
    parser = Parser(program, module.__doc__ or summary)
    module.add_arguments(parser)
    parser.add_json()
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    positional = " ".join(_placeholder(action) for action in shown if not action.option_strings)
    usage = " ".join(word for word in (program, positional, "[options]") if word)
    description = (module.__doc__ or summary).strip()
    lines = [f"{'#' * level} {program}", "", description, "", "```text", usage, "```"]
    for group in parser._action_groups:
        rows = [_row(action) for action in group._group_actions if action in shown]
        if rows:
            title = {"positional arguments": "argument", "options": "option"}.get(str(group.title), str(group.title))
            lines += ["", f"| {title} | meaning |", "| --- | --- |", *rows]
    return "\n".join([*lines, ""])


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    if action.option_strings and action.nargs != 0 and action.metavar:
        names = f"`{action.option_strings[0]} {_placeholder(action)}`"
    meaning = action.help or ""
    return f"| {_cell(names)} | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _placeholder(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):  # one for each of its values
        return " ".join(action.metavar)
    name = action.metavar or action.dest.upper()
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


if __name__ == "__main__":
    print(page(), end="")
