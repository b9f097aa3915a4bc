"""List the settings that `nchl evolve --preset NAME` runs, most of them published, each with its source and the command written out."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from nchl.cli.parser import Parser
from nchl.errors import UnknownName
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.presets import PRESETS


def add_arguments(parser: Parser) -> None:
    """One preset, or all."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this one only")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Each preset's settings, source, corrections and command."""
    if args.name is not None and args.name not in PRESETS:
        raise UnknownName("preset", args.name, PRESETS)
    return {
        name: {
            "source": preset.source,
            "corrected": preset.corrected,
            "command": evolve_command(EvolveConfig.create(**preset.settings)),
            "settings": preset.settings,
        }
        for name, preset in PRESETS.items()
        if args.name in (None, name)
    }


def text(result: dict[str, Any]) -> str:
    """A paragraph for each preset."""
    parts = []
    for name, preset in result.items():
        lines = [name, *_wrapped(preset["source"] + ".")]
        if preset["corrected"]:
            lines += _wrapped("Differs from the published code: " + preset["corrected"])
        lines += ["  the same, written out:", f"    {preset['command']}"]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "Run one with `nchl evolve --preset NAME`; every option that you add overrides the preset's."])


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, 118, initial_indent="  ", subsequent_indent="  ")
