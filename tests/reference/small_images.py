"""A folder of small pictures in two classes, for commands that need images: `python small_images.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def make(folder: Path, counts: tuple[int, int] = (40, 10)) -> None:
    """Write dark and bright noise of 32 x 32 pixels below `train` and `test`, so many of each class."""
    from PIL import Image

    random = np.random.default_rng(0)
    for split, count in zip(("train", "test"), counts, strict=True):
        for label, name in enumerate(("dark", "bright")):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 128, (32, 32, 3)) + 127 * label
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{index}.png")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
