"""The options of the task: simulator, settings of the environment, observed parts, wrappers and perturbations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral, Real
from typing import Any

from nchl.errors import InvalidArgument
from nchl.runs.settings import options
from nchl.runs.settings.network_options import CONVS
from nchl.simulators import CHOICES

_HEADING = "task"
_option = partial(options.option, group=_HEADING)


@dataclass(frozen=True)
class TaskOptions:
    """Fields of `EvolveConfig`."""

    task: str = field(
        metadata={
            "kind": "str",
            "default": None,
            "help": "a Gymnasium id, for example CartPole-v1; `nchl tasks` lists them",
            "group": _HEADING,
        }
    )
    simulator: str | None = _option(
        "str",
        "auto",
        "auto: EnvPool if it has the task, else Gymnasium; warp: MuJoCo on the device of --device, for six tasks",
        choices=CHOICES,
    )
    image_size: tuple[int, ...] | None = _option(
        *("ints", None, "height and width of the image that a convolutional network sees"),
        metavar="PIXELS",
        networks=(*CONVS, options.OBJECT),
        least=1,
    )
    normalise_observations: bool | None = _option("bool", False, "shift and scale observations by their running mean and deviation")
    max_episode_steps: int | None = _option("int", None, "an episode's limit of steps, in place of the task's own", metavar="N", least=1)
    env: dict[str, Any] | None = _option(  # noqa: RUF009
        "settings",
        None,
        "settings of the environment: options of EnvPool's for the task, or keyword arguments of a Gymnasium environment; "
        "VALUE is read as JSON where it is JSON (2, 0.5, true, [1, 2]), else as text",
        metavar="KEY=VALUE",
    )
    observe: tuple[str, ...] | None = _option(
        "texts",
        None,
        "the parts of a Dict or Tuple of observations that the network sees, by key or path (desired_goal/kettle); not given: all but "
        "those that only the simulator knows (privileged_state of MuJoCo Playground)",
        metavar="KEY",
    )
    action_repeat: int | None = _option(
        *("int", 1, "steps of the environment for each action; their rewards are added, and the network is stepped once"),
        metavar="K",
        least=1,
    )
    wrap: tuple[str, ...] | None = _option(
        "places",
        None,
        "a wrapper for a Gymnasium environment: a class, or a function that takes an environment and returns one; may be given several "
        "times, the innermost first",
        metavar="MODULE:NAME|FILE.py:NAME",
    )
    perturb: tuple[str, ...] | None = _option(
        "specs",
        None,
        "a perturbation of every episode, for example motor:3=0@500 or friction=x0.25; may be given several times; docs/adaptation.md has "
        "the language",
        metavar="SPEC",
    )
    perturb_training: tuple[str, ...] | None = _option(
        "specs",
        None,
        "one of several sets of perturbations for each episode, at random: a set (`none`, one, or 'A & B' together), or the sets of a "
        "suite by its name or FILE.yaml; may be given several times",
        metavar="SPEC|SUITE",
    )


def plain_settings(env: Any) -> dict[str, Any] | None:
    """Settings of an environment as plain JSON, sorted by name; None for none.

    Raises:
        InvalidArgument: not a mapping of names to plain data.
    """
    if not isinstance(env, Mapping) or not all(isinstance(name, str) and name for name in env):
        raise InvalidArgument(f"env must be settings by name, as in {{'frame_skip': 2}}, got {env!r}")
    return {name: _plain(name, env[name]) for name in sorted(env)} or None


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, item) for key, item in value.items()}
    raise InvalidArgument(
        f"env: {name} must be plain data (finite numbers, texts, true or false, lists and objects of these), got {value!r}"
    )


def read_settings(words: list[str]) -> dict[str, Any]:
    """Settings of an environment from words `KEY=VALUE` of the command line.

    Raises:
        InvalidArgument: another word, or a repeated key.
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
