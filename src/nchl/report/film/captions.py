"""Captions above the frames of a film: the state of plasticity, the time, the return so far.

The colours (Okabe and Ito's, safe for colour-blind readers) repeat the text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nchl.errors import require

ON, OFF, FROZEN = "#56b4e9", "#bbbbbb", "#e69f00"
_BACKGROUND, _TEXT, _FAINT = "#12161c", "#f5f7fa", "#aab4c0"
_WRONG, _PLATE = "#d55e00", "#ffffff"
_GAP = 4  # pixels between two frames
_DIM = 0.45  # brightness of a frame after the episode has ended


class Caption(NamedTuple):
    """Caption above one frame.

    Attributes:
        title: state of plasticity.
        line: time and return.
        colour: colour of the mark beside the title.
        ended: whether the episode has ended; the frame is then dimmed.
        mark: what has gone wrong by now, written on the frame; empty: nothing.
    """

    title: str
    line: str
    colour: str
    ended: bool = False
    mark: str = ""


def compose(
    panels: Sequence[tuple[UInt8[np.ndarray, "h w 3"], Caption]], width: int, footer: str
) -> UInt8[np.ndarray, "height total_width 3"]:
    """Frames side by side, each scaled to `width` pixels with its caption above, and one line of text below all of them.

    Returns:
        A picture with even sides, as H.264 requires, `width` rounded up to even times the number of panels wide.
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
    canvas = image.new("RGB", (width * len(panels), height + height % 2), _BACKGROUND)
    pen = draw.Draw(canvas)
    for column, (picture, (_, caption)) in enumerate(zip(pictures, panels, strict=True)):
        left = column * width + _GAP // 2
        canvas.paste(picture.point(lambda value: round(_DIM * value)) if caption.ended else picture, (left, top))
        if caption.mark:
            sign = _fitting(caption.mark, inner - 12, small)
            pen.rectangle((left, top, left + inner - 1, top + 3), fill=_WRONG)
            pen.text(
                (left + inner - 6, top + 0.75 * small + 4), caption.mark, _WRONG, sign, anchor="rm", stroke_width=2, stroke_fill=_PLATE
            )
        if caption.ended:
            over = _fitting("the episode has ended", inner, title)
            pen.text((left + inner / 2, top + tallest / 2), "the episode has ended", _TEXT, over, anchor="mm")
        middle, radius = 0.9 * title, 0.32 * title
        x = left + 2 * radius + 4
        pen.ellipse((x - radius, middle - radius, x + radius, middle + radius), fill=caption.colour)
        begin = x + 2.2 * radius
        pen.text((begin, middle), caption.title, _TEXT, _fitting(caption.title, left + inner - begin, title), anchor="lm")
        pen.text((begin, 2.15 * title), caption.line, _FAINT, _fitting(caption.line, left + inner - begin, title), anchor="lm")
    font = _fitting(footer, canvas.width - 12, small)
    pen.text((6, top + tallest + bottom / 2), footer, _FAINT, font, anchor="lm")
    return np.asarray(canvas)


def _scaled(image: Any, frame: UInt8[np.ndarray, "h w 3"], width: int) -> Any:
    picture = image.fromarray(frame)
    if picture.width == width:
        return picture
    # Enlarged frames keep sharp pixels, reduced ones are smoothed.
    how = image.Resampling.NEAREST if picture.width * 2 <= width else image.Resampling.LANCZOS
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), how)


def _fitting(text: str, width: float, size: int) -> Any:
    """The font in this size, or in a smaller one so that the text is at most `width` wide."""
    font = _font(size)
    wide = font.getlength(text)
    return font if wide <= width else _font(max(8, int(size * width / wide)))


@functools.cache
def _font(size: int) -> Any:
    """Pillow's built-in scalable font, which needs no font on the machine."""
    return require("PIL.ImageFont", "report").load_default(size)
