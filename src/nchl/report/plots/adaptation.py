"""Pictures of a study of adaptation, from what `report.adaptation.study.Study.kept` gives. Each draws on an Axes and returns it.

Colours tell controls apart (as evolved, frozen, plasticity off), line styles the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nchl.errors import require
from nchl.report.plots.style import (
    BLUE,
    GREY,
    PAPER,
    PURPLE,
    SIDE_BY_SIDE,
    VERMILLION,
    in_lines,
    legend_below,
    legend_of_all,
    save_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"as evolved": VERMILLION, "frozen": BLUE, "plasticity off": GREY}
FEWEST = 5  # judged episodes behind a curve of recovery
_LINE = 36  # characters above or below a panel in a paper
_STYLES = ("-", "--", ":", "-.")


def reward(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> Axes:
    """Reward per step around the moment: perturbed, with its band, and the intact twins as evolved.

    Args:
        axes: where to draw.
        rows: of one perturbation.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for row in rows:
        curve, place = row["curve"], groups.index(row["group"])
        style: dict[str, Any] = {"color": _COLOURS[row["control"]], "linestyle": _STYLES[place % len(_STYLES)]}
        axes.fill_between(curve["offset"], curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(curve["offset"], curve["mean"], label=_name(row, groups), linewidth=1.7, **style)
    for row in rows:
        if row["control"] == "as evolved":
            place = groups.index(row["group"])
            said = "intact twins, as evolved" + (f" ({row['group']})" if len(groups) > 1 else "")
            axes.plot(row["curve"]["offset"], row["curve"]["intact"], color=PURPLE, linewidth=1.0, linestyle=_STYLES[place % 4], label=said)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel("steps after the moment of the perturbation")
    axes.set_ylabel("reward per step (mean of 10 steps)")
    axes.set_title(str(rows[0]["perturbation"]), fontsize="medium")
    tidy(axes)
    _legend(axes, "band: 95 % bootstrap interval of the mean at each step")
    return axes


def recovery(axes: Axes, rows: Sequence[Mapping[str, Any]], window: int) -> Axes:
    """Kaplan and Meier's curves: the share of episodes that has not recovered yet; none for rows with fewer than `FEWEST` judged episodes.

    Args:
        axes: where to draw.
        rows: of one perturbation.
        window: steps whose mean reward says that an episode has recovered.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for row in rows:
        steps, share = row["survival"]["steps"], row["survival"]["unrecovered"]
        judged = row.get("judged", FEWEST if steps else 0)  # earlier builds did not keep it
        if not steps or judged < FEWEST:
            axes.plot([], [], linestyle="", label=f"{_name(row, groups)}: {judged} judged, no curve")
            continue
        x, y = np.concatenate([[0.0], steps]), np.concatenate([[1.0], share])
        style: dict[str, Any] = {"color": _COLOURS[row["control"]], "linestyle": _STYLES[groups.index(row["group"]) % len(_STYLES)]}
        axes.plot(x, 100 * y, drawstyle="steps-post", linewidth=1.7, label=_name(row, groups), **style)
    axes.set(ylim=(-3, 103), xlabel="steps after the moment of the perturbation", ylabel="episodes not yet recovered (%)")
    axes.set_title(str(rows[0]["perturbation"]), fontsize="medium")
    tidy(axes)
    _legend(axes, f"recovered: {window} steps at 90 % of the intact twin's reward")
    return axes


def by_perturbation(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each perturbation, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["perturbation"], []).append(row)
    return found


def draw(kept: Mapping[str, Any], width: float | None = None) -> Figure:
    """Both pictures for each perturbation, one row of two for each (below each other in less than 5 inches).

    Args:
        kept: the study.
        width: width in inches for a paper, with one legend for all panels and no title; None: large, with legends that explain each panel.
    """
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context({} if width is None else PAPER):
        return _large(kept, figures.Figure) if width is None else _for_paper(kept, width, figures.Figure)


def _large(kept: Mapping[str, Any], new: type[Figure]) -> Figure:
    found = by_perturbation(kept["rows"])
    lines = max(len(rows) for rows in found.values())
    figure = new(figsize=(12, len(found) * (3.9 + 0.22 * lines)), layout="constrained")
    grid = figure.subplots(len(found), 2, squeeze=False)
    for (left, right), rows in zip(grid, found.values(), strict=True):
        reward(left, rows)
        recovery(right, rows, window_of(kept))
    figure.suptitle(f"{kept['task']}{_alone(kept)}: {kept['suite']}, {kept['episodes']} episodes each")
    return figure


def _for_paper(kept: Mapping[str, Any], width: float, new: type[Figure]) -> Figure:
    found = by_perturbation(kept["rows"])
    columns = 2 if width >= SIDE_BY_SIDE else 1
    figure = new(figsize=(width, 10), layout="constrained")
    panels = figure.subplots(2 * len(found) // columns, columns, squeeze=False).reshape(-1, 2)
    handles: dict[str, Any] = {}
    for (left, right), rows in zip(panels, found.values(), strict=True):
        reward(left, rows)
        recovery(right, rows, window_of(kept))
        drawn, labels = left.get_legend_handles_labels()
        handles |= {label: handle for label, handle in zip(labels, drawn, strict=True) if label not in handles}
        no_curve = [label for handle, label in zip(*right.get_legend_handles_labels(), strict=True) if handle.get_linestyle() == "None"]
        for axes, more in ((left, ()), (right, no_curve)):
            axes.get_legend().remove()
            axes.set_title("\n".join(in_lines(line, _LINE) for line in (axes.get_title(), *more)))
            axes.set_ylabel(in_lines(axes.get_ylabel(), _LINE // 2))
            axes.set_xlabel("")
    for axes in panels[-1][-columns:]:  # for all above
        axes.set_xlabel(in_lines("steps after the moment of the perturbation", _LINE))
    # A handle carries its label.
    figure.set_figheight(1.75 * len(panels) * 2 / columns + legend_of_all(figure, list(handles.values())))
    return figure


def window_of(kept: Mapping[str, Any]) -> int:
    """Steps whose mean reward says that an episode has recovered."""
    return int(kept.get("window", 50))  # earlier builds had this one, and did not keep it


def _alone(kept: Mapping[str, Any]) -> str:
    """The name of the only group for a title: of a single run its folder's, or the zoo's; empty if there are several groups."""
    if len(kept["runs"]) != 1:
        return ""
    ((group, folders),) = kept["runs"].items()
    return f", {Path(folders[0]).resolve().name if len(folders) == 1 else group}"


def save(kept: Mapping[str, Any], path: Path, width: float | None = None) -> list[Path]:
    """Write `draw(kept, width)`; see `save_figure`.

    Raises:
        NchlError: the file cannot be written, or not in the format of its ending.
    """
    return save_figure(lambda: draw(kept, width), path, dpi=110 if width is None else 150)


def _name(row: Mapping[str, Any], groups: Sequence[str]) -> str:
    return f"{row['group']}, {row['control']}" if len(groups) > 1 else str(row["control"])


def _legend(axes: Axes, title: str) -> None:
    legend_below(axes, -0.17, title=title, alignment="left", title_fontsize="small", borderaxespad=0)
