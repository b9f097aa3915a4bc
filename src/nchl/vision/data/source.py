"""`Source`, the common form of all data sets: rows of encoded image, label and place, for training and test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nchl.errors import InvalidArgument

_SHOWN = 5
_ROLES = {"train": ("train", "training"), "test": ("test", "testing"), "validation": ("validation", "valid", "val")}


@dataclass(frozen=True)
class Row:
    """One encoded image.

    Attributes:
        data: the encoded bytes, or None if the data set has none.
        label: a number or a string.
        place: file, or split and row, for messages.
    """

    data: bytes | None
    label: Any
    place: str


@dataclass(frozen=True)
class Source:
    """The rows of a data set. `test` is None if there is no test set, `classes` if the data set does not name its classes."""

    name: str
    train: Iterable[Row]
    test: Iterable[Row] | None
    classes: list[str] | None
    notes: list[str]


def some(things: Sequence[object], joint: str = ", ") -> str:
    """The first few of several things as text, and the number of the others."""
    shown = joint.join(map(str, things[:_SHOWN]))
    return f"{shown}{joint}and {len(things) - _SHOWN} more" if len(things) > _SHOWN else shown


def role(name: str) -> str | None:
    """The role of a split or folder by its name: `train`, `test`, `validation`, or None."""
    return next((found for found, names in _ROLES.items() if name.lower() in names), None)


def choose(data: str, kind: str, names: Iterable[str]) -> tuple[str | None, str | None, list[str]]:
    """The names of the training and the test set, and notes on substituted and unused ones.

    Args:
        data: the data set, for messages.
        kind: `split` or `folder`, for messages.
        names: names of all splits or folders.

    Raises:
        InvalidArgument: several names have the same role.
    """
    found: dict[str | None, list[str]] = {}
    for name in names:
        found.setdefault(role(name), []).append(name)
    wanted = "test" if "test" in found else "validation"
    for same in (found.get("train", []), found.get(wanted, [])):
        if len(same) > 1:
            raise InvalidArgument(f"{data}: expected one {kind} for each set, got {' and '.join(same)}; put one of them elsewhere")
    train, test = (found.get(one, [None])[0] for one in ("train", wanted))
    notes = []
    if test is not None and wanted == "validation":
        notes.append(f"the {kind} `{test}` is the test set, because there is no other")
    unused = [name for same in found.values() for name in same if name not in (train, test)]
    if unused:
        notes.append(f"not read, because they are neither the training nor the test set: the {kind}s {some(unused)}")
    return train, test, notes
