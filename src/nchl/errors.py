"""Exceptions. Their messages say what was expected, what was given, and what to write instead.

Every exception that this package raises on purpose is an `NchlError`; the command line turns one into a clear line on
stderr and exit code 2. A traceback of any other kind is a defect of ours.
"""

from __future__ import annotations

import difflib
import importlib
import json
import operator
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

_CLOSE = 0.7  # of difflib's ratio; names below it are unrelated
_BEGINNING = 3  # letters


class NchlError(Exception):
    """Base of all errors that this package raises on purpose."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None: one with nearly the same letters, or the only one with the same beginning.

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
    """An argument with an invalid value."""


class ShapeError(InvalidArgument):
    """A tensor or vector whose shape does not fit; the message names both shapes."""


class ContractError(InvalidArgument):
    """A user's network breaks the contract of `nchl.PlasticNetwork`; the message has a line for each finding."""


class UnknownName(InvalidArgument):
    """An unknown name; the message suggests the nearest known one.

    Args:
        kind: what is named, for the message.
        name: the unknown name.
        choices: the known names.
        see: where all of them are listed, where there are too many for the message.
        otherwise: the end of the message if no known name is near.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], see: str = "", otherwise: str = "") -> None:
        known = list(choices)
        near = nearest(name, known)
        hint = "" if near is None else f"did you mean {near!r}? "
        # A long list is replaced by its length, sooner where it can be read elsewhere.
        long = len(known) > (16 if see else 40)
        listed = f"{len(known)} are known{see and f' (see: {see})'}" if long else f"known are {', '.join(known)}"
        end = f"; {otherwise}" if otherwise and near is None else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}{listed}{end}")
        self.name = name
        self.choices = known


class UnknownAttribute(NchlError, AttributeError):
    """An attribute that an object does not have, or that cannot be set; the message says what to write."""


class OrderError(NchlError, RuntimeError):
    """A call before the one that it needs, for example `update` before any `forward`."""


class MissingExtra(NchlError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TaskError(NchlError):
    """A task that cannot be made or run: unknown, unsupported spaces, or a simulator that is not installed."""


class DrawingError(TaskError):
    """A task that cannot be drawn on this machine; its episodes run all the same."""


class RunError(NchlError):
    """A run folder that cannot be used for the request."""


class CheckpointError(RunError):
    """A checkpoint that is truncated, altered, or belongs to another run."""


class WorkerError(NchlError):
    """Workers were lost, or sent malformed replies, again and again; the run can be resumed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module; the error names the extra of this package that brings it.

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
            f"{module!r} is needed here but could not be imported ({error}); install it with: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra of this package: from the folder that nchl was installed from, else from the package index."""
    from importlib import metadata  # slow imports, for an error alone
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(metadata.distribution("nchl").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    folder = Path(url2pathname(urlsplit(origin.get("url", "")).path))
    if "dir_info" not in origin or not (folder / "pyproject.toml").is_file():
        return f"pip install 'nchl[{extra}]'"
    editable = "-e " if origin["dir_info"].get("editable") else ""
    return f"pip install {editable}'{folder}[{extra}]'"


def whole_number(given: Any, name: str, least: int | None = 0, of_what: str = "") -> int:
    """The number as an int, from any integer type.

    Args:
        given: the value.
        name: of the argument, for the message.
        least: the smallest valid number; None: any is valid.
        of_what: the things counted, for the message.

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
