"""Words above the pictures of a film: what is switched on, how much time has passed, what was won so far.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; the words say the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nchl.errors import require

ON, OFF, FROZEN = "#56b4e9", "#bbbbbb", "#e69f00"
_GROUND, _INK, _SOFT = "#12161c", "#f5f7fa", "#aab4c0"
_GAP = 4  # pixels between two pictures
_DIM = 0.45  # brightness of a world whose life is over


class Caption(NamedTuple):
    """What stands above one picture.

    Attributes:
        title: what of the rule acts.
        line: time and reward.
        colour: of the mark beside the title.
        ended: whether the life is over; its picture is then dimmed.
    """

    title: str
    line: str
    colour: str
    ended: bool = False


def compose(
    panels: Sequence[tuple[UInt8[np.ndarray, "h w 3"], Caption]], width: int, footer: str
) -> UInt8[np.ndarray, "height total_width 3"]:
    """Pictures side by side, each scaled to `width` pixels with its caption above, and one line of text below them all.

    Returns:
        A picture with even sides (H.264 wants them): `width + width % 2` pixels times the number of panels wide, gaps inside.
    """
    image = require("PIL.Image", "report")
    draw = require("PIL.ImageDraw", "report")
    width += width % 2
    inner = width - _GAP
    pictures = [_scaled(image, frame, inner) for frame, _ in panels]
    title, small = max(13, width // 24), max(12, width // 30)
    top, bottom = round(2.9 * title), round(1.9 * small)
    tallest = max(picture.height for picture in pictures)
    height = top + tallest + bottom
    canvas = image.new("RGB", (width * len(panels), height + height % 2), _GROUND)
    pen = draw.Draw(canvas)
    for column, (picture, (_, caption)) in enumerate(zip(pictures, panels, strict=True)):
        left = column * width + _GAP // 2
        canvas.paste(picture.point(lambda value: round(_DIM * value)) if caption.ended else picture, (left, top))
        if caption.ended:
            over = _fitting("the episode has ended", inner, title)
            pen.text((left + inner / 2, top + tallest / 2), "the episode has ended", _INK, over, anchor="mm")
        middle, radius = 0.9 * title, 0.32 * title
        x = left + 2 * radius + 4
        pen.ellipse((x - radius, middle - radius, x + radius, middle + radius), fill=caption.colour)
        begin = x + 2.2 * radius
        pen.text((begin, middle), caption.title, _INK, _fitting(caption.title, left + inner - begin, title), anchor="lm")
        pen.text((begin, 2.15 * title), caption.line, _SOFT, _fitting(caption.line, left + inner - begin, title), anchor="lm")
    font = _fitting(footer, canvas.width - 12, small)
    pen.text((6, top + tallest + bottom / 2), footer, _SOFT, font, anchor="lm")
    return np.asarray(canvas)


def _scaled(image: Any, frame: UInt8[np.ndarray, "h w 3"], width: int) -> Any:
    picture = image.fromarray(frame)
    if picture.width == width:
        return picture
    # What is enlarged keeps its pixels; what is made smaller is smoothed.
    how = image.Resampling.NEAREST if picture.width * 2 <= width else image.Resampling.LANCZOS
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), how)


def _fitting(text: str, width: float, size: int) -> Any:
    """The font in this size, or in a smaller one in which the text is no wider than `width`."""
    font = _font(size)
    wide = font.getlength(text)
    return font if wide <= width else _font(max(8, int(size * width / wide)))


@functools.cache
def _font(size: int) -> Any:
    """Pillow's own scalable font: nothing needs to be installed."""
    return require("PIL.ImageFont", "report").load_default(size)
