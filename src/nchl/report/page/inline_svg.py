"""Figures as SVG that stands in the page itself: it takes the page's colours, light or dark, on screen or on paper."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import Any

from nchl.errors import require
from nchl.report.plots import style

# Colour in the figure -> what the page's style sheet calls it.
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
_TASTE = {
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
    """Draw on an Axes and give the SVG, safe to stand in HTML: texts in it are escaped.

    Args:
        draw: takes an Axes.
        name: tells the figure's ids from those of others in the page.
        alt: what the picture shows, for those who do not see it.
        size: width and height in inches of 72 units.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context({**_TASTE, "svg.hashsalt": name}):
        figure = figures.Figure(figsize=size)
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    for colour, meaning in _NAMES.items():
        text = re.sub(re.escape(colour), meaning, text, flags=re.IGNORECASE)
    # Ids of two figures in one page must differ.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', text)
    label = html.escape(alt, quote=True)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', rf'<svg role="img" aria-label="{label}" \1', text, count=1).replace(
        ' height="', ' data-height="', 1
    )
