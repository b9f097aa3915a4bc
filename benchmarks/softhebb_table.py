"""The accuracies of finished SoftHebb runs as a Markdown table, one line for all seeds of a method.

    python benchmarks/softhebb_table.py RUN ...

The runs of a line are alike in all that is no seed and no matter of the machine. Runs that are not finished are named and left out.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

_ALIKE = (
    "network",
    "layers",
    "layers_method",
    "method",
    "sharing",
    "competition",
    "schedule",
    "lr",
    "epochs_unsupervised",
    "batch_size",
    "epochs_head",
    "batch_size_head",
    "lr_head",
    "dropout",
    "validation",
    "test_fraction",
    "limit",
    "data",
)


def table(runs: list[Path]) -> str:
    """The table; `runs` are run folders."""
    groups: dict[str, list[tuple[int, float]]] = {}
    unfinished = []
    for run in runs:
        if not (run / "summary.json").exists():
            unfinished.append(str(run))
            continue
        settings = _settings(json.loads((run / "config.json").read_text()))
        summary = json.loads((run / "summary.json").read_text())
        words = [f"{name} {settings[name]}" for name in _ALIKE if settings.get(name) is not None]
        groups.setdefault(", ".join(words), []).append((int(settings["seed"]), float(summary["test_accuracy"])))
    lines = ["| Runs | Seeds | Test accuracies | Mean | Standard deviation |", "| --- | --- | --- | --- | --- |"]
    for name, found in groups.items():
        seeds, accuracies = zip(*sorted(found), strict=True)
        spread = f"{100 * statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else "one run"
        listed, mean = ", ".join(f"{100 * a:.2f}" for a in accuracies), f"{100 * statistics.mean(accuracies):.2f}"
        cells = (", ".join(map(str, seeds)), listed, mean, spread)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines + ([f"\nNot finished: {', '.join(unfinished)}"] if unfinished else []))


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config.get("settings", config)
    return found | {"layers_method": config.get("layers_method")}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/softhebb_table.py RUN ...")
    print(table([Path(word) for word in sys.argv[1:]]))
