"""Figures as SVG elements of the page, in the page's colours."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import Any

from nchl.errors import require
from nchl.report.plots import style

# Colour in the figure -> colour of the page's style sheet.
_INK, _GRID = "#010203", "#040506"
_NAMES = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    style.BLUE: "var(--blue)",
    style.ORANGE: "var(--orange)",
    style.GREEN: "var(--green)",
    style.VERMILLION: "var(--vermillion)",
    style.SKY: "var(--sky)",
    style.PURPLE: "var(--purple)",
    style.YELLOW: "var(--yellow)",
    style.GREY: "var(--grey)",
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.labelcolor": _INK,
}


def svg(draw: Callable[[Any], Any], *, name: str, alt: str, size: tuple[float, float]) -> str:
    """Draw a figure as SVG; texts in it are escaped.

    Args:
        draw: draws on an Axes.
        name: prefix of the ids in the figure, unique in the page.
        alt: description of the figure for screen readers.
        size: (width, height) in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = figures.Figure(figsize=size)
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    for colour, meaning in _NAMES.items():
        text = re.sub(re.escape(colour), meaning, text, flags=re.IGNORECASE)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', text)
    label = html.escape(alt, quote=True)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', rf'<svg role="img" aria-label="{label}" \1', text, count=1).replace(
        ' height="', ' data-height="', 1
    )
