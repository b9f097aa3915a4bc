"""The command line: one module per verb in `nchl.cli.verbs`. Only this package prints.

A verb has three functions: `add_arguments(parser)`, `run(args) -> dict`, whose result `--json` prints, and `text(result) -> str`, the same
for people. An `exit_code` in the result is that of the process (default 0). A verb with verbs of its own has `dispatch(words)` instead. A
verb's module is imported when it is called, so that `nchl --help` needs neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nchl import __version__
from nchl.errors import NchlError, UnknownName
from nchl.runs.files.writing import finite
from nchl.runs.settings import docs_budget

if TYPE_CHECKING:
    from types import ModuleType

INTERRUPTED, MISTAKE = 130, 2


class Verb(NamedTuple):
    """The module of a verb, and its line in `nchl --help`."""

    module: str
    help: str


VERBS = {
    "evolve": Verb("nchl.cli.verbs.evolve", "evolve a network on a task"),
    "resume": Verb("nchl.cli.verbs.resume", "continue a run that was stopped or killed"),
    "evaluate": Verb("nchl.cli.verbs.evaluate", "evaluate a run's result on unseen episodes"),
    "film": Verb("nchl.cli.verbs.film", "film a run's result in an unseen episode"),
    "report": Verb("nchl.cli.verbs.report", "make a page of a run, with one lifetime under the microscope"),
    "compare": Verb("nchl.cli.verbs.compare", "compare groups of runs, with intervals and tests"),
    "adapt": Verb("nchl.cli.verbs.adapt", "break the body, the senses or the network, and measure the recovery"),
    "sweep": Verb("nchl.cli.verbs.sweep", "run a grid of settings and seeds"),
    "describe": Verb("nchl.cli.verbs.describe", "show the sizes and the genome of a network or a run"),
    "tasks": Verb("nchl.cli.verbs.tasks", "list the tasks that this machine can run"),
    "zoo": Verb("nchl.cli.verbs.zoo", "list the evolved individuals that ship with nchl, used as zoo:NAME"),
    "presets": Verb("nchl.cli.verbs.presets", "list the published settings, each with its source"),
    "doctor": Verb("nchl.cli.verbs.doctor", "check this machine and the installed packages"),
    "softhebb": Verb("nchl.cli.verbs.softhebb", "train a convolutional classifier that learns without feedback"),
    "bench": Verb("nchl.cli.verbs.bench", "measure the speed on this machine"),
}

FIRST = "nchl evolve CartPole-v1 --network nchl --hidden 10 --generations 100 --target 475"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake of the user's, 130 or 143 when interrupted."""
    set_waiting_policy()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _report_budget()
        return _dispatch(words)
    except NchlError as error:
        print(f"nchl: {harmless(str(error))}", file=sys.stderr)
        return MISTAKE
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"nchl: cannot use {harmless(str(error.filename))}: {error.strerror}; give another name, or look at its permissions",
            file=sys.stderr,
        )
        return MISTAKE
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        print(" ".join(["nchl: not enough memory", *str(error).splitlines()[:1]]), file=sys.stderr)
        print("nchl: a smaller population, smaller layers or smaller images need less", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("nchl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leaving:  # argparse has printed a help text
        return leaving.code if isinstance(leaving.code, int) else 0


def _is_lack_of_memory(error: BaseException) -> bool:
    """Whether it is Python's MemoryError, or torch's RuntimeError with such a text."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text


def set_waiting_policy() -> None:
    """Make idle OpenMP threads wait briefly instead of spinning, unless the user has chosen otherwise.

    Threads that spin between two steps of the network take cores from the simulator. torch reads the variables when it is imported,
    so this must come first.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def _report_budget() -> None:
    """Print a line if an environment variable cuts budgets, so that no real run is cut unnoticed."""
    line = docs_budget.notice()
    if line is not None:
        print(f"nchl: {line}", file=sys.stderr)
        warnings.simplefilter("ignore", docs_budget.BudgetCut)  # the line above says it


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        show(overview())
        return 0
    if words[0] == "--version":
        show(f"nchl {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        raise UnknownName("command", name, VERBS)
    module = importlib.import_module(VERBS[name].module)
    if hasattr(module, "dispatch"):
        return int(module.dispatch(rest))
    return run_verb(module, f"nchl {name}", VERBS[name].help, rest)


def run_verb(module: ModuleType, program: str, summary: str, words: list[str]) -> int:
    """Parse the words for one verb, run it, print its result, and return the exit code."""
    from nchl.cli.parser import Parser

    parser = Parser(program, getattr(module, "__doc__", None) or summary, getattr(module, "EPILOG", ""))
    module.add_arguments(parser)
    parser.add_json()
    args = parser.parse_words(words)
    as_json = getattr(args, "json", False)
    # An environment or a rule of the user's may print; the output must stay one JSON object.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result: dict[str, Any] = module.run(args)
    show(json.dumps(finite(result), indent=2, allow_nan=False) if as_json else module.text(result))
    return int(result.get("exit_code", 0))


# Control characters, which could change the terminal; names in files of other people may hold them.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), *range(0xD800, 0xE000)) if code not in (9, 10)}


def harmless(text: str) -> str:
    """The text with control characters, and characters for undecodable bytes, as escapes."""
    return text.translate(_CONTROL)


def show(text: str) -> None:
    """Print a result. It is no error if the reader, such as `head`, or the terminal has closed the output."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(harmless(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise NchlError(f"cannot write the result: {error.strerror}") from error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def overview() -> str:
    """The text of `nchl --help`."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            f"nchl {__version__}: networks that rewire themselves while they act, and the evolution that finds their rules",
            "",
            "usage: nchl VERB ...",
            "",
            *lines,
            "",
            "`nchl VERB --help` lists the options of a verb. Start here:",
            f"  {FIRST}",
        ]
    )
