"""The options that say how an environment is made, and what of it a network sees."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from nchl.errors import InvalidArgument
from nchl.runs.settings.options import option
from nchl.runs.settings.perturbation_options import PERTURBED as PERTURBED

_TASK = "task"

ENV: Any = option(
    "settings",
    None,
    "settings of the environment: options of EnvPool's for the task, or keyword arguments of a Gymnasium environment; "
    "VALUE is read as JSON where it is JSON (2, 0.5, true, [1, 2]), else as text",
    _TASK,
    metavar="KEY=VALUE",
)
OBSERVE: Any = option(
    "texts",
    None,
    "the parts of a Dict or Tuple of observations that the network sees, by key or path (desired_goal/kettle); not given: all, but not "
    "what only the simulator knows (privileged_state of MuJoCo Playground)",
    _TASK,
    metavar="KEY",
)
ACTION_REPEAT: Any = option(
    "int", 1, "steps of the environment for each action; their rewards are added, and the network is stepped once", _TASK, metavar="K"
)
WRAP: Any = option(
    "places",
    None,
    "a wrapper for a Gymnasium environment: a class, or a function that takes an environment and returns one; may be given several times, "
    "the innermost first",
    _TASK,
    metavar="MODULE:NAME|FILE.py:NAME",
)

PERTURB: Any = option(
    "specs",
    None,
    "what goes wrong in every episode, for example motor:3=0@500 or friction=x0.25; may be given several times; docs/adaptation.md has the "
    "language",
    _TASK,
    metavar="SPEC",
)
PERTURB_TRAINING: Any = option(
    "specs",
    None,
    "one of several sets of perturbations for each episode, by chance: a set (`none`, one, or 'A & B' together), or the sets of a suite by "
    "its name or FILE.yaml; may be given several times",
    _TASK,
    metavar="SPEC|SUITE",
)


def settled(env: Any) -> dict[str, Any] | None:
    """Settings as plain JSON, in the order of their names; None for none.

    Raises:
        InvalidArgument: no mapping of names to plain data.
    """
    if not isinstance(env, Mapping) or not all(isinstance(name, str) and name for name in env):
        raise InvalidArgument(f"env must be settings by name, as in {{'frame_skip': 2}}, got {env!r}")
    return {name: _plain(name, env[name]) for name in sorted(env)} or None


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, item) for key, item in value.items()}
    raise InvalidArgument(
        f"env: {name} must be plain data (finite numbers, texts, true or false, lists and objects of these), got {value!r}"
    )


def read(words: list[str]) -> dict[str, Any]:
    """Settings from words `KEY=VALUE` of the command line.

    Raises:
        InvalidArgument: another word, or a key that comes twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--env takes KEY=VALUE, got {word!r}; a task or folder goes before this option")
        if key in found:
            raise InvalidArgument(f"--env {key} is given twice; keep one")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    words = {"True": True, "False": False, "None": None}  # as Python writes them
    if text in words:
        return words[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value
