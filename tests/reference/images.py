"""Small data sets, made on the spot: noisy stripes whose direction and colour are the class."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pillow


def striped(label: int, generator: np.random.Generator, size: int = 16) -> Pillow.Image:
    """One RGB image of a class."""
    y, x = np.mgrid[:size, :size]
    angle = np.pi * label / 5
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 1.3 + generator.uniform(0, 6.3))
    colour = np.array([1.0, 0.6, 0.3])[(np.arange(3) + label) % 3]
    pixels = 128 + 70 * wave[..., None] * colour + generator.normal(0, 15, (size, size, 3))
    return Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def png(image: Pillow.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def write_parquet(
    path: Path, cells: list[bytes | None], labels: list, *, image: str = "img", label: str = "label", features: Features | None = None
) -> None:
    """A parquet file as Hugging Face stores images."""
    table = {image: [{"bytes": cell, "path": None} for cell in cells], label: labels}
    if features is None:
        parquet.write_table(arrow.table(table), path)
    else:
        Dataset.from_dict(table, features=features).to_parquet(path)


def cifar_like(folder: Path, *, train: int = 120, test: int = 40, classes: int = 4, hundred: bool = False, size: int = 16) -> Path:
    """A folder with train.parquet and test.parquet in the published columns of CIFAR-10, or of CIFAR-100."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        labels = [index % classes for index in range(count)]
        cells = [png(striped(label, generator, size)) for label in labels]
        names = ClassLabel(names=[f"class {index}" for index in range(classes)])
        if hundred:
            coarse = ClassLabel(names=["even", "odd"])
            features = Features({"img": Image(), "fine_label": names, "coarse_label": coarse})
            rows = {
                "img": [{"bytes": cell, "path": None} for cell in cells],
                "fine_label": labels,
                "coarse_label": [label % 2 for label in labels],
            }
            Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
        else:
            write_parquet(folder / f"{split}.parquet", cells, labels, features=Features({"img": Image(), "label": names}))
    return folder


STRINGS = Features({"img": Image(), "label": Value("string")})
