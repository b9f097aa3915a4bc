"""What a user can get wrong, as exceptions that say what was expected, what came, and what to write instead.

Every exception that this package raises on purpose is an `NchlError`; the command line turns one into a clear line on
stderr and exit code 2. A traceback of any other kind is a defect of ours.
"""

from __future__ import annotations

import difflib
import importlib
import operator
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class NchlError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidArgument(NchlError, ValueError):
    """A value that cannot be used where it was given."""


class ShapeError(InvalidArgument):
    """A tensor or vector whose shape does not fit; the message names both shapes."""


class UnknownName(InvalidArgument):
    """A name that is not among the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = list(choices)
        near = difflib.get_close_matches(name.lower(), [choice.lower() for choice in known], n=1, cutoff=0.5)
        by_lower = {choice.lower(): choice for choice in known}
        hint = f"did you mean {by_lower[near[0]]!r}? " if near else ""
        # A list that nobody would read to its end says less than its length.
        listed = f"known are {', '.join(known)}" if len(known) <= 16 else f"{len(known)} are known"
        super().__init__(f"unknown {kind} {name!r}: {hint}{listed}")
        self.name = name
        self.choices = known


class OrderError(NchlError, RuntimeError):
    """A call that came before the one it needs, for example `update` before any `forward`."""


class MissingExtra(NchlError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TaskError(NchlError):
    """A task that cannot be made or run: unknown, unsupported spaces, or a simulator that is not there."""


class RunError(NchlError):
    """A run folder that cannot be used as asked."""


class CheckpointError(RunError):
    """A checkpoint that is truncated, altered, or belongs to something else."""


class WorkerError(NchlError):
    """Workers died, hung or answered nonsense until nothing was left to try; the run can be resumed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra of this package brings it.

    Args:
        module: dotted module name, for example `"envpool"`.
        extra: name of the extra in `pyproject.toml`, for example `"sim"`.

    Raises:
        MissingExtra: the module, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module!r} is needed here but could not be imported ({error}); install it with: pip install 'nchl[{extra}]'"
        ) from error


def whole_number(given: Any, name: str, least: int | None = 0, of_what: str = "") -> int:
    """The number as an int, whatever type of integer it was.

    Args:
        given: what somebody gave.
        name: of the argument, for the message.
        least: the smallest that will do; None: any will.
        of_what: what is counted, for the message.

    Raises:
        InvalidArgument: no integer, or one below `least`.
    """
    try:
        number = operator.index(given)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        wanted = "a whole number" + (f" of {of_what}" if of_what else "") + ("" if least is None else f", at least {least}")
        raise InvalidArgument(f"{name}: expected {wanted}, got {given!r}")
    return number
