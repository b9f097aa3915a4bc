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

_CLOSE = 0.7  # of difflib's ratio: below it, names that have nothing to do with each other come out
_BEGINNING = 3  # letters


class NchlError(Exception):
    """Base of all errors that this package raises on purpose."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one with nearly the same letters, or the only one that begins so; None: no name is close.

    Dashes in front do not count: all options begin with them, so that they make no two options alike.
    """
    by_letters = {choice.lstrip("-").lower(): choice for choice in known}
    letters = name.lstrip("-").lower()
    close = difflib.get_close_matches(letters, by_letters, n=1, cutoff=_CLOSE)
    if close:
        return by_letters[close[0]]
    begun = [choice for choice in by_letters if choice.startswith(letters)] if len(letters) >= _BEGINNING else []
    return by_letters[begun[0]] if len(begun) == 1 else None


class InvalidArgument(NchlError, ValueError):
    """A value that cannot be used where it was given."""


class ShapeError(InvalidArgument):
    """A tensor or vector whose shape does not fit; the message names both shapes."""


class ContractError(InvalidArgument):
    """A network of the user's that does not do what `nchl.PlasticNetwork` promises; the message has a line for each finding."""


class UnknownName(InvalidArgument):
    """A name that is not among the known ones; the message offers the nearest, if one is near.

    Args:
        kind: what the name is of, for the message.
        name: what was given.
        choices: the known names.
        see: where all of them are listed, where there are too many for the message.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], see: str = "") -> None:
        known = list(choices)
        near = nearest(name, known)
        hint = "" if near is None else f"did you mean {near!r}? "
        # A list that is too long to be read says less than its length.
        listed = f"known are {', '.join(known)}" if len(known) <= 16 else f"{len(known)} are known{see and f' (see: {see})'}"
        super().__init__(f"unknown {kind} {name!r}: {hint}{listed}")
        self.name = name
        self.choices = known


class OrderError(NchlError, RuntimeError):
    """A call that came before the one it needs, for example `update` before any `forward`."""


class MissingExtra(NchlError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TaskError(NchlError):
    """A task that cannot be made or run: unknown, unsupported spaces, or a simulator that is not there."""


class DrawingError(TaskError):
    """A task that cannot be drawn here. It can be played all the same."""


class RunError(NchlError):
    """A run folder that cannot be used as asked."""


class CheckpointError(RunError):
    """A checkpoint that is truncated, altered, or belongs to something else."""


class WorkerError(NchlError):
    """Workers were lost, or sent malformed replies, again and again; the run can be resumed."""


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
