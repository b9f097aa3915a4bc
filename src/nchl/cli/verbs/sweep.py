"""Run a grid of settings and seeds from a YAML file; `nchl compare DIR` then compares the results.

The file names a task, options of `nchl evolve` for all runs, a `grid` with a list of values for each option that varies,
and `seeds`. Each run has a folder of its own. The same command skips finished runs, continues interrupted ones and repeats
failed ones; with larger `generations`, `max_steps` or `max_minutes` in the file it makes finished runs longer. Runs of several
tasks are compared one task at a time, with `nchl compare DIR --task ID`.
Ctrl-C finishes the generations in progress, a second one drops them.
Exit code: 0 all runs are done, 1 some have failed and the rest is done, 2 a mistake, 130 or 143 when interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl.cli.parser import Parser, at_least
from nchl.runs.settings.command_line import option_words
from nchl.runs.settings.config import options
from nchl.runs.settings.options import TOTALS

if TYPE_CHECKING:
    from nchl.runs.sweep.cell_states import CellState
    from nchl.runs.sweep.grid import Cell

_MOST_NOTES = 8
EPILOG = """example:

    task: CartPole-v1
    hidden: [10]
    grid:
      network: [nchl, hl]
    seeds: 5
"""


def add_arguments(parser: Parser) -> None:
    """The file, the folder, and the number of processes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the YAML file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder of the runs' folders (default: runs/NAME-OF-THE-FILE)")
    parser.add_argument(
        "--jobs", type=at_least(1), default=1, metavar="N", help="runs side by side, each with its share of the cores (default: 1)"
    )
    parser.add_argument("--dry-run", action="store_true", help="check the file and list the runs with their progress, without running any")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the file, every folder, and everything that the runs name; then run what is not done."""
    from nchl.runs.sweep.grid import read_sweep

    cells = read_sweep(args.file)
    out = Path("runs") / args.file.stem if args.out is None else args.out
    again = ["nchl", "sweep", str(args.file)]
    again += [*(["--out", str(args.out)] if args.out else []), *(["--jobs", str(args.jobs)] if args.jobs > 1 else [])]
    return {**run_cells_of(args.file, cells, out, jobs=args.jobs, dry_run=args.dry_run), "again": shlex.join(again)}


def run_cells_of(file: Path, cells: list[Cell], out: Path, *, jobs: int, dry_run: bool = False) -> dict[str, Any]:
    """Run the unfinished cells of a file; returns the verb's result without `again`."""
    from nchl.cli.progress.sweeps import progress
    from nchl.runs.sweep.cell_states import keep_totals, states_of
    from nchl.runs.sweep.processes import generations_done, only_sweep, run_cells

    states, others = states_of(cells, out)
    new = [state.cell for state in states if state.state != "done"]
    if new:
        from nchl.runs.sweep.check import check_cells  # imports torch, which a finished sweep does not need

        check_cells(new, file)
    outcomes = {state.cell.name: state.state for state in states}
    messages: dict[str, str] = {}
    code = 0
    if new and not dry_run:
        with progress(states) as shown, only_sweep(out, shown.say) as lock:
            states, others = states_of(cells, out)  # another sweep may have finished some while this one waited
            watcher = _MessageLog(shown, messages)
            ended, code = run_cells(states, out, jobs=jobs, lock=lock, command=_command, watcher=watcher)
            outcomes = {**{state.cell.name: state.state for state in states}, **ended}
    if not dry_run:
        keep_totals(states)
    return {
        "folder": str(out),
        "tasks": list(dict.fromkeys(cell.config.task for cell in cells)),
        "dry_run": dry_run,
        "runs": [
            {
                "name": state.cell.name,
                "state": outcomes[state.cell.name],
                "generations": generations_done(state.folder),
                "of": state.cell.config.generations,
                "error": messages.get(state.cell.name),
            }
            for state in states
        ],
        "others": others,
        "notes": _notes(cells, states),
        "exit_code": code or int("failed" in outcomes.values()),
    }


def text(result: dict[str, Any]) -> str:
    """The number of finished runs, the failed ones, and the next command; for a dry run, the list."""
    runs, again = result["runs"], result["again"]
    done = sum(run["state"] == "done" for run in runs)
    lines = []
    if result["dry_run"]:
        width = max(len(run["name"]) for run in runs)
        lines += [f"{run['name']:<{width}}  {run['state']}{_how_far(run)}" for run in runs]
    lines.append(f"{done} of {len(runs)} runs are done, in {result['folder']}")
    lines += [f"failed: {run['name']}: {run['error']}" for run in runs if run["state"] == "failed"]
    if result["others"]:
        lines.append(f"{len(result['others'])} other runs in that folder are not in the file: {', '.join(result['others'][:5])}")
    lines += [f"note: {note}" for note in result["notes"]]
    if done == len(runs):
        of = [""] if len(result["tasks"]) == 1 else [f" --task {shlex.quote(task)}" for task in result["tasks"]]
        lines += ["", "Try next:", *(f"  nchl compare {shlex.quote(result['folder'])}{task}" for task in of)]
    elif not result["dry_run"]:
        lines += ["", "Go on with:", f"  {again}"]
    return "\n".join(lines)


def _how_far(run: dict[str, Any]) -> str:
    return f", {run['generations']} of {run['of']} generations" if run["state"] in ("interrupted", "extended") else ""


def _notes(cells: Sequence[Cell], states: Sequence[CellState]) -> list[str]:
    """Notes on cells that are not as the file suggests."""
    notes = [f"{cell.name} is {' and '.join(cell.also)} too ({'; '.join(cell.reasons)}), and is run once" for cell in cells if cell.also]
    notes = list(dict.fromkeys([*(state.note for state in states if state.note), *notes]))
    return notes if len(notes) <= _MOST_NOTES else [*notes[:_MOST_NOTES], f"{len(notes) - _MOST_NOTES} more of these"]


def _command(state: CellState, cores: Sequence[int]) -> list[str]:
    """The command that starts or continues a run."""
    head = [sys.executable, "-m", "nchl.cli.sweep_cell", ",".join(map(str, cores))]
    if state.state != "new":
        return [*head, "resume", str(state.folder), *_totals(state)]
    given = state.cell.given
    words = [str(given["task"])] if "task" in given else []
    for option in options():
        if option.name in given and option.name != "task":
            words += _glued(option_words(option, given[option.name]))
    return [*head, "evolve", *words, "--out", str(state.folder)]


def _totals(state: CellState) -> list[str]:
    """The options with the new totals of a longer run; all totals of the file if it had ended, because its record may have them."""
    about = [option for option in options() if option.name in TOTALS]
    given = {option: getattr(state.cell.config, option.name) for option in about}
    return [
        word
        for option, value in given.items()
        if value is not None and (state.state == "extended" or option.name in state.totals)
        for word in option_words(option, value)
    ]


def _glued(words: list[str]) -> list[str]:
    """`--OPTION=-VALUE`: argparse would take a text that begins with a dash for an option."""
    return [f"{words[0]}={words[1]}"] if len(words) == 2 and words[1].startswith("-") else words


class _MessageLog:
    """Forwards all events to the progress, and keeps the messages of failed runs."""

    def __init__(self, shown: Any, messages: dict[str, str]) -> None:
        self._shown, self._messages = shown, messages
        self.started, self.tick, self.say = shown.started, shown.tick, shown.say

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        """Keep the message."""
        if message:
            self._messages[state.cell.name] = message
        self._shown.ended(state, outcome, message)
