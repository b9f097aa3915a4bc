"""The tables of docs/cifar10.md, from the committed cells alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nchl.report.compare.tables import Table, markdown

NOTHING = "No cell of this table is there yet."
NETWORKS = {"softhebb": "official", "softhebb-small": "small"}
Accuracies = dict[tuple[str, str], dict[int, float]]


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    found = accuracies([cell for sweep in study.sweeps for cell in study.cells(sweep)])
    return {"accuracies": listed(found), "layerwise": differences(found)}


def accuracies(cells: list[Path]) -> Accuracies:
    """Network and method -> seed -> accuracy on the test images."""
    found: Accuracies = {}
    for cell in cells:
        settings = json.loads((cell / "config.json").read_text())["settings"]
        method = settings["schedule"] if settings["method"] == "softhebb" else settings["method"]
        summary = json.loads((cell / "summary.json").read_text())
        found.setdefault((NETWORKS[settings["network"]], method), {})[settings["seed"]] = summary["test_accuracy"]
    return found


def listed(found: Accuracies) -> str:
    """One row per network and method."""
    rows = []
    for (network, method), of_seeds in sorted(found.items()):
        each = 100 * np.array([of_seeds[seed] for seed in sorted(of_seeds)])
        spread = f"{each.std(ddof=1):.2f}" if len(each) > 1 else "-"
        rows.append((network, method, ", ".join(f"{value:.2f}" for value in each), f"{each.mean():.2f}", spread))
    headings = ("network", "layers", "test accuracy in %, by seed", "mean", "standard deviation")
    return markdown(Table(headings, rows, 2)) if rows else NOTHING


def differences(found: Accuracies) -> str:
    """Layer by layer against all layers together, with equal seeds, so with equal first weights."""
    rows = []
    for network in dict.fromkeys(network for network, _ in found):
        together, layerwise = (found.get((network, method), {}) for method in ("together", "layerwise"))
        each = [100 * (layerwise[seed] - together[seed]) for seed in sorted(set(together) & set(layerwise))]
        if each:
            rows.append((network, str(len(each)), ", ".join(f"{value:+.2f}" for value in each), f"{np.mean(each):+.2f}"))
    headings = ("network", "seeds", "layer by layer minus together, in points", "mean")
    return markdown(Table(headings, rows, 1)) if rows else NOTHING
