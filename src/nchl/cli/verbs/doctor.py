"""Check this machine: processor, torch, compiler, simulators, graphics and packages, with advice on what is missing.

Simulators are imported in processes of their own, because one that does not fit the machine may crash.
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
    """There are no options."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run all checks; the findings are in the order of the output."""
    findings = [finding for look in checks.ALL for finding in look()]
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "findings": [finding._asdict() for finding in findings],
    }


def text(result: dict[str, Any]) -> str:
    """A line for each finding, followed by its advice."""
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
    verdict = f"{len(wanting)} of {len(result['findings'])} things are missing; the lines with -> say how to install them."
    lines += ["", verdict if wanting else "Nothing is missing."]
    return "\n".join(lines)
