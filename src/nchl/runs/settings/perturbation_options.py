"""Perturbations as options of a run: texts and suites, settled to the texts that its record keeps.

The module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument
from nchl.perturbations.language import NONE, parse_all, together
from nchl.perturbations.objects import Perturbation
from nchl.perturbations.suites import SUITES, Suite, named, of_mapping


def suite_of(suite: str | Suite) -> Suite:
    """A suite by its name or file.

    Raises:
        InvalidArgument: there is none of that name, or the file holds something else.
    """
    if isinstance(suite, Suite):
        return suite
    if _is_file(suite):
        from nchl.runs.settings.yaml_file import read_yaml

        return of_mapping(Path(suite).name, read_yaml(Path(suite)))
    return named(suite)


def always(given: Any) -> tuple[str, ...] | None:
    """Perturbations of every episode, one text each; None for none.

    Raises:
        InvalidArgument: a text that names no perturbation, or something that is changed twice.
    """
    return tuple(map(str, parse_all(_listed("perturb", given)))) or None


def in_training(given: Any) -> tuple[str, ...] | None:
    """Sets of perturbations, one text each; those of suites are written out, so that a record needs no file.

    Raises:
        InvalidArgument: a text that names neither a set nor a suite.
    """
    found: list[str] = []
    for each in _listed("perturb_training", given):
        if isinstance(each, str) and (each in SUITES or _is_file(each)):
            suite = suite_of(each)
            found += suite.training or (NONE, *suite.perturbations.values())
        else:
            found.append(together(parse_all(each)))
    return tuple(found) or None


def _listed(name: str, given: Any) -> Sequence[Any]:
    listed = [given] if isinstance(given, str | Perturbation) else given
    if not isinstance(listed, Sequence) or not all(isinstance(each, str | Perturbation) for each in listed):
        raise InvalidArgument(f"{name}: expected a list of texts such as 'motor:3=0@500', got {given!r}")
    return listed


def _is_file(text: str) -> bool:
    return text.lower().endswith((".yaml", ".yml"))


# Option -> what settles it.
PERTURBED: Mapping[str, Callable[[Any], tuple[str, ...] | None]] = {"perturb": always, "perturb_training": in_training}
