"""Names that a user gives to the groups of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nchl.errors import InvalidArgument, UnknownName, nearest


def labelled(names: Sequence[str], labels: Iterable[str]) -> list[str]:
    """The names of all groups, with those replaced that a label `GROUP=TEXT` is for. Both sides may contain `=`.

    Raises:
        UnknownName: there is no such group.
        InvalidArgument: no `GROUP=TEXT`, a group with two labels, or two groups with one name.
    """
    given: dict[str, str] = {}
    for label in labels:
        group = max((name for name in names if label.startswith(f"{name}=")), key=len, default=None)
        text = "" if group is None else label[len(group) + 1 :].strip()
        if label in names or "=" not in label or (group is not None and not (text and text.isprintable())):
            raise InvalidArgument(f"a label is GROUP=TEXT in one line, for example '{names[0]}=our rule', got {label!r}")
        if group is None:
            raise UnknownName("group", _meant(label, names), names)
        if group in given:
            raise InvalidArgument(f"the group {group!r} has two labels, {given[group]!r} and {text!r}; leave one out")
        given[group] = text
    new = [given.get(name, name) for name in names]
    for name in new:
        if new.count(name) > 1:
            raise InvalidArgument(f"two groups would have the name {name!r}; give each label to one group")
    return new


def _meant(label: str, names: Sequence[str]) -> str:
    """The part of a label that was probably meant to be a group."""
    parts = [label[:place] for place, sign in enumerate(label) if sign == "="]
    return next((part for part in reversed(parts) if nearest(part, names) is not None), parts[-1])
