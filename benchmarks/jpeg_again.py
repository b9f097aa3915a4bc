"""Copy CIFAR-10 with every image compressed once more as JPEG, to see what such a compression costs a classifier.

python benchmarks/jpeg_again.py DATA runs/cifar10-again
nchl softhebb runs/cifar10-again --network softhebb-small --epochs-head 30

DATA holds parquet files with columns `img` and `label`. Blocks are laid five pixels beside those of the first compression,
which would otherwise lose next to nothing the second time; the default quality is that of the JPEG copies on which
the figures of docs/softhebb.md were taken.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SHIFT = 5


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels (height, width, 3) after a compression with chroma of half the resolution."""
    file = io.BytesIO()
    padded = np.pad(pixels, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect")
    Image.fromarray(padded).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))[SHIFT:-SHIFT, SHIFT:-SHIFT]


def copy(source: Path, target: Path, quality: int) -> float:
    """Write the images of `source` to `target`, without further loss; the root mean square of the change, in grey levels."""
    table = pq.read_table(source)
    images: list[dict[str, Any]] = []
    squares = []
    for image in table.column("img").to_pylist():
        before = np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB"))
        after = compressed(before, quality)
        squares.append(np.square(after.astype(np.float64) - before).mean())
        file = io.BytesIO()
        Image.fromarray(after).save(file, "PNG", compress_level=1)
        images.append({"bytes": file.getvalue(), "path": None})
    column = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"img": column, "label": table.column("label")}), target)
    return float(np.sqrt(np.mean(squares)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", type=int, default=75)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    for source in sorted(arguments.data.glob("*.parquet")):
        change = copy(source, arguments.out / source.name, arguments.quality)
        print(f"{source.name}: changed by {change:.1f} grey levels (root mean square)")


if __name__ == "__main__":
    main()
