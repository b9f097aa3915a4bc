"""The table of docs/legs.md, from the committed cells alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl.report.compare.groups import group_runs
from nchl.report.compare.runs import read_run
from nchl.report.compare.tables import Table, markdown

NAMES = {"nchl": "NcHL", "static": "static"}
NOTHING = "No cell of this table is there yet."


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    cells = sorted(study.cells("ant"), key=lambda cell: study.cell_names("ant").index(cell.name))
    groups = group_runs([read_run(cell) for cell in cells])[0] if cells else []
    rows = [row for group in groups for row in rows_of(NAMES[group.settings["network"]], [run.folder for run in group.runs])]
    if not rows:
        return {"returns": NOTHING}
    head = ("network", "control", "seeds", "intact", "front right", "front left", "rear right", "rear left", "rear legs by intact")
    return {"returns": markdown(Table(head, rows, 2))}


def rows_of(network: str, folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """A row for each control: means over the seeds, with the lowest and the highest, when each leg is short."""
    played = [json.loads((folder / "legs.json").read_text())["rows"] for folder in folders]
    rows = []
    # A network that is frozen at the first step is one without plasticity.
    for control in dict.fromkeys(row["control"] for row in played[0] if row["control"] != "frozen"):
        legs = [{row["perturbation"]: row for row in each if row["control"] == control} for each in played]
        returns = {leg: np.array([each[leg]["mean"] for each in legs]) for leg in legs[0]}
        intact = np.array([np.mean([row["intact_mean"] for row in each.values()]) for each in legs])
        unseen = (returns["rear right leg"] + returns["rear left leg"]) / 2
        kept = f"{100 * unseen.mean() / intact.mean():.0f} %" if intact.mean() > 0 else "-"
        shown = [spread(returns[f"{leg} leg"]) for leg in ("front right", "front left", "rear right", "rear left")]
        rows.append((network, control, str(len(folders)), spread(intact), *shown, kept))
    return rows


def spread(values: np.ndarray) -> str:
    """`1,234 [1,100, 1,400]`: mean over seeds, and the lowest and highest seed."""
    return f"{values.mean():,.0f} [{values.min():,.0f}, {values.max():,.0f}]"
