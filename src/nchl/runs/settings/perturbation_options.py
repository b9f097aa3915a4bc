"""Perturbations as options of a run: texts and suites, in the form of the texts that its record keeps.

This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.perturbations.language import NONE, parse_all, together
from nchl.perturbations.objects import Perturbation
from nchl.perturbations.plan import plan
from nchl.perturbations.suites import SUITES, Suite, named, of_mapping
from nchl.runs.files.yaml import read_yaml

if TYPE_CHECKING:
    from nchl.runs.settings.config import EvolveConfig


def suite_of(suite: str | Suite) -> Suite:
    """A suite by its name or YAML file.

    Raises:
        InvalidArgument: an unknown name, or a file that is not a suite.
    """
    if isinstance(suite, Suite):
        return suite
    return of_mapping(Path(suite).name, read_yaml(Path(suite))) if _is_file(suite) else named(suite)


def always(given: Any, task: str = "") -> tuple[str, ...] | None:
    """Perturbations of every episode, one text each; None for none. The task has no influence.

    Raises:
        InvalidArgument: not a perturbation, or two changes of the same thing.
    """
    return tuple(map(str, parse_all(_listed("perturb", given)))) or None


def in_training(given: Any, task: str) -> tuple[str, ...] | None:
    """Sets of perturbations, one text each; those of suites are written out, so that a record needs no file.

    Raises:
        InvalidArgument: neither a set nor a suite, or a suite for another task.
    """
    found: list[str] = []
    for each in _listed("perturb_training", given):
        if isinstance(each, str) and (each in SUITES or _is_file(each)):
            suite = suite_of(each)
            suite.check_task(task)
            found += suite.training or (NONE, *suite.perturbations.values())
        else:
            found.append(_set(each))
    return tuple(found) or None


def sets_of(config: EvolveConfig, perturb: Sequence[str] | str | None = None) -> tuple[str, ...]:
    """The sets of perturbations of which each episode of an evaluation has one; empty if nothing is perturbed.

    Args:
        config: of the run.
        perturb: perturbations of each episode, in place of those of training; None: as in training.

    Raises:
        InvalidArgument: not a perturbation, or two changes of the same thing.
    """
    planned = plan(config.perturb, config.perturb_training) if perturb is None else plan(always(perturb))
    return tuple(planned.texts) if planned else ()


def _set(text: str | Perturbation) -> str:
    try:
        return together(parse_all([text]))
    except UnknownName as error:
        if isinstance(text, str) and not set("=:@&") & set(text):  # a single word: perhaps a misspelt suite
            raise UnknownName("perturbation or suite", text, [*SUITES, *error.choices], see="docs/adaptation.md") from error
        raise


def _listed(name: str, given: Any) -> Sequence[Any]:
    listed = [given] if isinstance(given, str | Perturbation) else given
    if not isinstance(listed, Sequence) or not all(isinstance(each, str | Perturbation) for each in listed):
        raise InvalidArgument(f"{name}: expected a list of texts such as 'motor:3=0@500', got {given!r}")
    return listed


def _is_file(text: str) -> bool:
    return text.lower().endswith((".yaml", ".yml"))


# Option -> the function that brings its value, for a task, into the form of the record.
PERTURBED: Mapping[str, Callable[[Any, str], tuple[str, ...] | None]] = {"perturb": always, "perturb_training": in_training}
