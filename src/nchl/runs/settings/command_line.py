"""The `nchl evolve` command that repeats a configuration."""

from __future__ import annotations

import json
import shlex
from typing import Any

from nchl.runs.settings.config import EvolveConfig, defaults_of, options
from nchl.runs.settings.options import Option


def evolve_command(config: EvolveConfig, *extra: str) -> str:
    """The command with every option that differs from its default, in the order of the help.

    The preset is written out, so that the line stays true when a preset changes.
    """
    words = ["nchl", "evolve", config.task]
    defaults = defaults_of(str(config.network), str(config.strategy), vars(config)["optimizer"])
    for option in options():
        value = getattr(config, option.name)
        if option.name in ("task", "preset") or value is None:
            continue
        if value != defaults[option.name]:
            words += option_words(option, value)
    return shlex.join([*words, *extra])


def option_words(option: Option, value: Any) -> list[str]:
    """One option with its value, as words of the command line."""
    if option.kind == "bool":
        return [option.flag if value else option.flag.replace("--", "--no-", 1)]
    if option.kind in ("ints", "texts"):
        return [option.flag, *map(str, value)]
    if option.kind in ("places", "specs"):
        return [word for place in value for word in (option.flag, place)]
    if option.kind == "settings":
        return [option.flag, *(f"{name}={json.dumps(each)}" for name, each in value.items())]
    return [option.flag, str(value)]
