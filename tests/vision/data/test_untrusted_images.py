"""Images and tables of images made by an attacker."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("datasets")

import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image

from nchl.errors import InvalidArgument
from nchl.vision.data.images import load_images


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


def good_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, format="png")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels, 1.2 gigabytes, in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(%pipe%touch executed) (w) file closefile\nshowpage\n%%EOF\n"


def folder_of(root: Path, odd: bytes) -> Path:
    for split in ("train", "test"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            (root / split / name / "1.png").write_bytes(good_png())
    (root / "train" / "a" / "2.png").write_bytes(odd)
    return root


@pytest.mark.parametrize("kind", ["bomb", "eps", "pickle", "empty", "text"])
def test_a_picture_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    witness = tmp_path / "executed"
    odd = {"bomb": bomb(), "eps": EPS, "pickle": pickle.dumps(Payload(witness)), "empty": b"", "text": b"<svg onload=alert(1)>"}[kind]
    with pytest.raises(InvalidArgument, match=r"2\.png"):
        load_images(str(folder_of(tmp_path / "images", odd)))
    assert len(load_images(str(tmp_path / "images"), skip_corrupt=True).train) == 2
    assert not witness.exists()


def test_a_table_names_no_files_outside_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "private.png").write_bytes(good_png())
    (folder / "link.png").symlink_to(tmp_path / "private.png")
    for named in (tmp_path / "private.png", folder / ".." / "private.png", folder / "link.png", Path("/etc/passwd")):
        cells = [{"bytes": good_png(), "path": None}, {"bytes": None, "path": str(named)}]
        for split in ("train", "test"):
            parquet.write_table(arrow.table({"img": cells, "label": [0, 1]}), folder / f"{split}.parquet")
        with pytest.raises(InvalidArgument, match="outside of"):
            load_images(str(folder))


def test_a_pickle_in_the_description_of_a_table_is_not_run(tmp_path: Path) -> None:
    """The Python extension type, which pyarrow before 14.0.1 took out of a pickle while reading (CVE-2023-47248)."""
    witness = tmp_path / "executed"
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Payload(witness))}
    storage = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema([arrow.field("img", storage, metadata=metadata), arrow.field("label", arrow.int64())])
    cells = [{"bytes": good_png(), "path": None}] * 2
    for split in ("train", "test"):
        parquet.write_table(arrow.table({"img": cells, "label": [0, 1]}, schema=schema), tmp_path / f"{split}.parquet")
    with contextlib.suppress(InvalidArgument):
        load_images(str(tmp_path))
    assert not witness.exists()
