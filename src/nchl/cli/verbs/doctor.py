"""What this machine has for nchl, and what to do about what it lacks.

Everything is looked at from outside: simulators are imported in a process of their own, because one that does not fit the
machine can take the process down with it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Any

from nchl.cli import checks
from nchl.cli.parser import Parser

_MARKS = {checks.GOOD: "ok     ", checks.POOR: "note   ", checks.ABSENT: "missing"}


def add_arguments(parser: Parser) -> None:
    """The doctor needs no options."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at everything and return the findings, in the order in which they are shown."""
    findings = [finding for look in checks.ALL for finding in look()]
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "findings": [finding._asdict() for finding in findings],
    }


def text(result: dict[str, Any]) -> str:
    """One line for each finding, and below it what to do where something is missing."""
    lines = [f"Python {result['python']} on {result['machine']}, {result['cores']} cores ({result['executable']})"]
    topic = ""
    for finding in result["findings"]:
        if finding["topic"] != topic:
            topic = finding["topic"]
            lines += ["", topic]
        lines.append(f"  {_MARKS[finding['state']]}  {finding['name']}: {finding['found']}")
        if finding["do"]:
            lines.append(f"           -> {finding['do']}")
    wanting = [finding for finding in result["findings"] if finding["state"] == checks.ABSENT]
    verdict = f"{len(wanting)} of {len(result['findings'])} things are missing; the lines with -> say what to do."
    lines += ["", verdict if wanting else "Nothing is missing."]
    return "\n".join(lines)
