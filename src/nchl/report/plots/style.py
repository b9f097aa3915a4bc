"""Colours, axes and files that all figures share."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nchl.errors import NchlError, require
from nchl.runs.files.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008).
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8A8A8A"

# Text of a figure in a paper, in points: as large as a caption's, smaller ticks.
PAPER: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
PAPER |= {"axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6}
SIDE_BY_SIDE = 5.0  # inches; in a narrower figure the panels are below each other

# File ending -> metadata that keeps the date out of the file.
FORMATS: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}
# Equal figures give equal files. Type 3 fonts, matplotlib's default in PDF, are refused by most conferences.
_FILES = {"svg.hashsalt": "nchl", "svg.fonttype": "path", "pdf.fonttype": 42}


def tidy(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> Axes:
    """Remove the top and right spines and add a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    return axes


def legend_below(axes: Axes, y: float, x: float = 0.0, **options: Any) -> None:
    """Add a legend below the axes, with its upper left corner at (x, y) in units of the axes; none if nothing has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(x, y), **options)


def legend_of_all(figure: Figure, handles: Sequence[Any]) -> float:
    """Add one legend for all panels below them, as wide as the figure allows; returns its height in inches."""
    for across in range(len(handles), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=across, frameon=False)
        figure.draw_without_rendering()
        if across == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return float(legend.get_window_extent().height / figure.dpi)


def in_lines(text: str, width: int) -> str:
    """A long text wrapped, to leave room for the panels."""
    return textwrap.fill(text, width, break_on_hyphens=False)


def save_figure(draw: Callable[[], Figure], path: Path, *, dpi: float = 150) -> list[Path]:
    """Write a figure in the format of the path's ending; without an ending, as PNG and SVG. Returns the files.

    Args:
        draw: makes the figure; called once per file, because the layout of a saved figure is fixed.
        path: the file, which is replaced whole or not at all; missing folders are created.
        dpi: pixels per inch of a PNG.

    Raises:
        NchlError: another ending, or the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in ("", *FORMATS):
        raise NchlError(f"a figure is written as {', '.join(FORMATS)}, not as {path.suffix}: give {path.with_suffix('.pdf')}, for example")
    files = [path] if ending else [path.with_name(path.name + each) for each in (".png", ".svg")]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NchlError(f"cannot write {error.filename or path}: {error.strerror or error}") from error
    for file in files:
        drawn, ending = io.BytesIO(), file.suffix.lower()
        with require("matplotlib", "report").rc_context(_FILES):
            draw().savefig(drawn, format=ending[1:], dpi=dpi, metadata=FORMATS[ending])
        write_atomically(file, drawn.getvalue(), of_a_run=False)
    return files
