"""The thesis's own command, `python reproduce/run_exp.py --dataset NAME ...`, for CarRacing, CIFAR10 and CIFAR100.

Each half maps the thesis's words to those of `nchl`, prints that line, and runs it: `run_exp_carracing.py` evolves a
plastic network, `run_exp_softhebb.py` trains a classifier. `--dataset CIFAR10 --help` explains the words of its half.
"""

from __future__ import annotations

import importlib
import shlex
import sys

from nchl.cli import main
from nchl.errors import InvalidArgument, NchlError, UnknownName

HALVES = {"CarRacing": "run_exp_carracing", "CIFAR10": "run_exp_softhebb", "CIFAR100": "run_exp_softhebb"}


def half(words: list[str]) -> str:
    """The module that knows the words of this data set; a run that is resumed is one of CarRacing."""
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--dataset":
            dataset = value or (words[index + 1] if index + 1 < len(words) else "")
            if dataset not in HALVES:
                raise UnknownName("data set", dataset, HALVES)
            return HALVES[dataset]
        if name == "--resume_file":
            return HALVES["CarRacing"]
    raise InvalidArgument(f"expected --dataset with one of {', '.join(HALVES)}, or --resume_file")


def run_exp(words: list[str]) -> int:
    """Run the experiment and return the exit code."""
    if not words or (words[0] in ("-h", "--help")):
        print(f"usage: {sys.argv[0]} --dataset NAME ...\n\n{__doc__}")
        return 0
    try:
        command: list[str] = importlib.import_module(half(words)).command(words)
    except NchlError as error:
        print(f"run_exp.py: {error}", file=sys.stderr)
        return 2
    print(f"the same as: {shlex.join(['nchl', *command])}", file=sys.stderr)
    return main(command)


if __name__ == "__main__":
    sys.exit(run_exp(sys.argv[1:]))
