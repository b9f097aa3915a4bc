"""What every kind of data set is turned into: rows of (bytes, label, name of the place), and which of them are the test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nchl.errors import InvalidArgument

_SHOWN = 5
_ROLES = {"train": ("train", "training"), "test": ("test", "testing"), "validation": ("validation", "valid", "val")}


@dataclass(frozen=True)
class Row:
    """One image as it lies there.

    Attributes:
        data: the encoded bytes, or None where the data set has none.
        label: a number or a string.
        place: file, or split and row, for messages.
    """

    data: bytes | None
    label: Any
    place: str


@dataclass(frozen=True)
class Source:
    """The rows of a data set; `test` is None where it has no test set, `classes` where it does not name them."""

    name: str
    train: Iterable[Row]
    test: Iterable[Row] | None
    classes: list[str] | None
    notes: list[str]


def some(things: Sequence[object], joint: str = ", ") -> str:
    """The first few, and how many more there are."""
    shown = joint.join(map(str, things[:_SHOWN]))
    return f"{shown}{joint}and {len(things) - _SHOWN} more" if len(things) > _SHOWN else shown


def role(name: str) -> str | None:
    """What a split or folder of this name is for: `train`, `test` or `validation`; None if the name does not say."""
    return next((found for found, names in _ROLES.items() if name.lower() in names), None)


def choose(data: str, kind: str, names: Iterable[str]) -> tuple[str | None, str | None, list[str]]:
    """The names of the training and the test set, and notes on what is taken for another or not read.

    Args:
        data: what the names are from, for messages.
        kind: what the names are of, `split` or `folder`.
        names: of all splits or folders.
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
