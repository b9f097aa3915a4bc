"""The tables of docs/recovery.md, from the committed cells alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t, ttest_1samp

from nchl.report.compare.groups import group_runs
from nchl.report.compare.runs import read_run
from nchl.report.compare.tables import Table, markdown

CONTROLS = ("as evolved", "plasticity off", "frozen")
NOTHING = "No cell of this table is there yet."


@dataclass(frozen=True)
class Played:
    """What the individuals of one setting did, one of each seed; all values are means over the six motors.

    Attributes:
        network: as the page calls it.
        trained: "intact" or "perturbed".
        returns: control -> (seeds,) with a failing motor.
        intact: control -> (seeds,) of the intact twins.
        recovered: control -> (seeds,) shares of episodes.
        motors: (seeds, motors) returns as evolved.
        twins: (seeds, motors) of their intact twins.
        names: of the motors.
    """

    network: str
    trained: str
    returns: Mapping[str, np.ndarray]
    intact: Mapping[str, np.ndarray]
    recovered: Mapping[str, np.ndarray]
    motors: np.ndarray
    twins: np.ndarray
    names: tuple[str, ...]


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    played = everything(study)
    if not played:
        return dict.fromkeys(("returns", "controls", "motors"), NOTHING)
    return {"returns": returns(played), "controls": controls(played), "motors": motors(played)}


def everything(study: Any) -> list[Played]:
    """The settings in the order of the sweep's file."""
    cells = sorted(study.cells("cheetah"), key=lambda cell: study.cell_names("cheetah").index(cell.name))
    groups = group_runs([read_run(cell) for cell in cells])[0] if cells else []
    return [played_by(network_of(group.settings), trained_on(group.settings), [run.folder for run in group.runs]) for group in groups]


def network_of(settings: Mapping[str, Any]) -> str:
    """`NcHL 16, condition E`."""
    name = {"nchl": "NcHL", "hl": "HL", "static": "static"}[settings["network"]]
    name += ", recurrent" if settings.get("recurrent") else ""
    sizes = "-".join(map(str, settings["hidden"]))
    return f"{name} {sizes}" + (", condition E" if settings.get("every") == 4 else "")


def trained_on(settings: Mapping[str, Any]) -> str:
    """Whether a motor failed in training."""
    return "intact" if tuple(settings["perturb_training"]) == ("none",) else "perturbed"


def played_by(network: str, trained: str, folders: Sequence[Path]) -> Played:
    """Read what `nchl adapt` has said of the cells."""
    rows = [json.loads((folder / "motors.json").read_text())["rows"] for folder in folders]

    def means(name: str, control: str) -> np.ndarray:
        return np.array([np.mean([row[name] for row in each if row["control"] == control]) for each in rows])

    there = [control for control in CONTROLS if any(row["control"] == control for row in rows[0])]
    evolved = [[row for row in each if row["control"] == CONTROLS[0]] for each in rows]
    return Played(
        network,
        trained,
        *({control: means(name, control) for control in there} for name in ("mean", "intact_mean", "recovered")),
        *(np.array([[row[name] for row in each] for each in evolved]) for name in ("mean", "intact_mean")),
        tuple(row["perturbation"].removesuffix(" motor") for row in evolved[0]),
    )


def spread(values: np.ndarray, shown: Callable[[float], str] = "{:,.0f}".format) -> str:
    """`1,234 [1,100, 1,400]`: mean over seeds, and the lowest and highest seed."""
    return f"{shown(float(values.mean()))} [{shown(float(values.min()))}, {shown(float(values.max()))}]"


def percent(value: float) -> str:
    """`72 %`."""
    return f"{100 * value:.0f} %"


def share(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float] | None:
    """The mean of the first by that of the second, with its 95 % interval by Fieller: the quotients q for which 0 is in Student's interval
    of `first - q * second`. None where 0 is in the interval of the second's mean, which leaves q without bounds, and for a single seed.
    """
    if len(first) < 2:
        return None
    n, (a, b), ((aa, ab), (_, bb)) = len(first), (first.mean(), second.mean()), np.cov(first, second)
    weight = t.ppf(0.975, n - 1) ** 2 / n
    below = b**2 - weight * bb
    if b <= 0 or below <= 0:
        return None
    middle = a * b - weight * ab
    half = np.sqrt(middle**2 - below * (a**2 - weight * aa))
    return float(a / b), float((middle - half) / below), float((middle + half) / below)


def retained(first: np.ndarray, second: np.ndarray) -> str:
    """`70 % [55 %, 148 %]`, or a dash."""
    found = share(first, second)
    return "-" if found is None else f"{percent(found[0])} [{percent(found[1])}, {percent(found[2])}]"


def returns(played: Sequence[Played]) -> str:
    """Each setting as evolved."""
    head = ("network", "trained", "seeds", "intact", "a motor fails", "retained", "recovered")
    rows = [
        (
            each.network,
            each.trained,
            str(len(each.motors)),
            spread(each.intact[CONTROLS[0]]),
            spread(each.returns[CONTROLS[0]]),
            retained(each.returns[CONTROLS[0]], each.intact[CONTROLS[0]]),
            spread(each.recovered[CONTROLS[0]], percent),
        )
        for each in played
    ]
    return markdown(Table(head, rows, 2))


def controls(played: Sequence[Played]) -> str:
    """Plastic networks as evolved and frozen at the moment: the worth of further changes, after a failure and without one."""
    head = (
        "network",
        "trained",
        "seeds",
        "as evolved",
        "frozen",
        "as evolved, intact",
        "frozen, intact",
        "worth after a failure",
        "worth intact",
        "worth intact minus after a failure",
        "off",
    )
    rows = []
    for each in played:
        if "frozen" in each.returns:
            (evolved, frozen), (evolved_intact, frozen_intact) = ([of["as evolved"], of["frozen"]] for of in (each.returns, each.intact))
            means = (evolved, frozen, evolved_intact, frozen_intact)
            after, intact = evolved - frozen, evolved_intact - frozen_intact
            worth = (gain(after), gain(intact), gain(intact - after))
            off = f"{round(float(each.returns['plasticity off'].mean())):,}"
            rows.append((each.network, each.trained, str(len(frozen)), *(f"{of.mean():,.0f}" for of in means), *worth, off))
    return markdown(Table(head, rows, 2)) if rows else NOTHING


def gain(differences: np.ndarray) -> str:
    """`+336 [-250, +922]`: mean over the seeds with its 95 % interval by Student's t; a bootstrap of three seeds is too narrow."""
    if len(differences) < 2:
        return f"{differences.mean():+,.0f}"
    low, high = ttest_1samp(differences, 0).confidence_interval()
    return f"{differences.mean():+,.0f} [{low:+,.0f}, {high:+,.0f}]"


def motors(played: Sequence[Played]) -> str:
    """What is retained of the twins' return when each of the motors fails; all plastic networks together with an interval."""
    head = ("network", "trained", *played[0].names)
    rows = []
    for each in played:
        found = [share(*pair) for pair in zip(each.motors.T, each.twins.T, strict=True)]
        rows.append((each.network, each.trained, *("-" if one is None else percent(one[0]) for one in found)))
    plastic = [each for each in played if "frozen" in each.returns]
    if plastic:
        together = (np.concatenate([getattr(each, name) for each in plastic]) for name in ("motors", "twins"))
        rows.append(("all plastic", "both", *(retained(*pair) for pair in zip(*(values.T for values in together), strict=True))))
    return markdown(Table(head, rows, 2))
