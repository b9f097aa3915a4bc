"""The tables of docs/attractors.md, from the committed cells alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nchl.report.compare.groups import Group, group_runs
from nchl.report.compare.runs import Run, read_run
from nchl.report.compare.tables import Table, markdown

NOTHING = "No cell of this table is there yet."
RULES = {"nchl": "NcHL", "hl": "HL"}


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    return {sweep: conditions([read_run(cell) for cell in study.cells(sweep)]) for sweep in study.sweeps}


def conditions(runs: Sequence[Run]) -> str:
    """Each rule under each condition: returns, frozen half-way, and what the weights do."""
    if not runs:
        return NOTHING
    head = ("condition", "rule", "runs", "return, mean", "of each seed", "frozen half-way", "plasticity off", "the weights")
    groups = sorted(group_runs(runs)[0], key=lambda group: (condition(group.settings), group.settings["network"] == "hl"))
    return markdown(Table(head, [row(group) for group in groups], 2))


def condition(settings: Mapping[str, Any]) -> str:
    """The letter that the paper gives to a setting."""
    if settings["normalise"] == "none":
        return "A"
    averaged, seldom = settings["average"] != "none", settings["every"] > 1
    return {(False, False): "B", (False, True): "C", (True, False): "D", (True, True): "E"}[averaged, seldom]


def row(group: Group) -> tuple[str, ...]:
    """The line of one rule under one condition."""
    played = [run.evaluation for run in group.runs if run.evaluation is not None]
    returns = [about["mean"] for about in played]
    frozen, off = (np.mean([about[name]["mean"] for about in played]) for name in ("frozen_half_way", "plasticity_off"))
    verdicts = Counter(about["dynamics"]["verdict"] or "no verdict" for about in played)
    return (
        condition(group.settings),
        RULES[group.settings["network"]],
        str(len(returns)),
        f"{np.mean(returns):,.0f}",
        ", ".join(f"{value:,.0f}" for value in returns),
        f"{frozen:,.0f}",
        f"{off:,.0f}",
        ", ".join(f"{name} {count}" for name, count in verdicts.most_common()),
    )
