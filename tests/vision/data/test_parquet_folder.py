"""Folders of parquet files: missing and doubled shards, files that are not read, and images beside tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datasets")

import pyarrow as arrow
import pyarrow.parquet as parquet

from nchl.errors import InvalidArgument
from nchl.vision.data.images import load_images
from reference.images import png, striped, write_parquet


def picture(label: int) -> bytes:
    return png(striped(label, np.random.default_rng(label)))


def tables(folder: Path, *names: str) -> str:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        write_parquet(folder / f"{name}.parquet", [picture(0), picture(1)], [0, 1])
    return str(folder)


@pytest.mark.parametrize(
    ("train", "images"),
    [
        (["train"], 2),
        (["train-0", "train-3", "more-train"], 6),
        (["train-00000-of-00001"], 2),
        (["train-00000-of-00002", "train-00001-of-00002"], 4),
        (["train-1-of-2", "train-2-of-2"], 4),
        (["train-00000-of-00002-0123456789abcdef", "train-00001-of-00002-fedcba9876543210"], 4),
        (["train-00000-of-00001-en", "train-00000-of-00001-de"], 4),
        (["a/train-00000-of-00001", "b/train-00000-of-00001"], 4),
        (["train-a-00000-of-00001", "train-b-00000-of-00002", "train-b-00001-of-00002"], 6),
    ],
)
def test_whole_tables_are_read(tmp_path: Path, train: list[str], images: int) -> None:
    data = load_images(tables(tmp_path, *train, "test"))
    assert len(data.train) == images
    assert data.notes == []


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            ["train-00000-of-00003", "train-00002-of-00003"],
            r"expected 3 shards like train-00000-of-00003\.parquet, but 1 is missing: number 1;",
        ),
        (["train-00001-of-00004"], r"but 3 are missing: number 0, 2, 3;"),
        (["train-1-of-1", "train-0-of-1"], r"train-1-of-1\.parquet: expected a shard from 0 to 0"),
        (["train-7-of-2", "train-0-of-2"], r"train-7-of-2\.parquet: expected a shard from 0 to 1"),
        (["train-0-of-1", "train-00000-of-00001"], r"each shard once, got .*train-0-of-1\.parquet and .*train-00000-of-00001\.parquet"),
        (
            ["train-00000-of-00001-0123456789abcdef", "train-00000-of-00001-fedcba9876543210"],
            r"each shard once, got .*0123456789abcdef\.parquet and .*fedcba9876543210\.parquet",
        ),
        (
            ["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"],
            r"got shards of 1 and of 2: .*train-00000-of-00001\.parquet",
        ),
    ],
)
def test_missing_and_doubled_shards_are_named(tmp_path: Path, train: list[str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        load_images(tables(tmp_path, *train, "test"))


def test_a_split_that_is_not_read_may_be_incomplete(tmp_path: Path) -> None:
    data = load_images(tables(tmp_path, "train", "test", "validation-00000-of-00002"))
    assert data.notes == ["not read, because they are neither the training nor the test set: the splits validation"]
    with pytest.raises(InvalidArgument, match="1 is missing: number 1"):
        load_images(tables(tmp_path, "test-00000-of-00002"))


def test_files_that_are_not_read_are_noted(tmp_path: Path) -> None:
    folder = tables(tmp_path, "data/train", "data/test")
    (tmp_path / "README.md").touch()
    (tmp_path / ".gitattributes").touch()
    (tmp_path / "data" / "train.csv").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "sample.png").write_bytes(picture(0))
    said = "3 files are not read, being no parquet file and named in none: README.md, data/train.csv, pictures/sample.png"
    assert load_images(folder).notes == [said]


@pytest.mark.parametrize("root", ["", "train/"])
def test_tables_with_images_beside_folders_of_classes_are_refused(tmp_path: Path, root: str) -> None:
    folder = tables(tmp_path, "train", "test")
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / root / name).mkdir(parents=True)
        (tmp_path / root / name / "0.png").write_bytes(picture(label))
    with pytest.raises(
        InvalidArgument, match=rf"got both: .*test\.parquet, .*train\.parquet, and images in .*{root}cat, .*{root}dog; move"
    ):
        load_images(folder)


@pytest.mark.parametrize("column", ["struct", "text"])
def test_folders_of_classes_that_the_tables_name_are_read(tmp_path: Path, column: str) -> None:
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in (0, 1):
            (tmp_path / name / f"{number}.png").write_bytes(picture(label))
    paths = ["cat/0.png", "dog/0.png"]
    cells = paths if column == "text" else [{"bytes": None, "path": path} for path in paths]
    for split in ("train", "test"):
        parquet.write_table(arrow.table({"img": cells, "label": ["cat", "dog"]}), tmp_path / f"{split}.parquet")
    data = load_images(str(tmp_path))
    assert data.train.labels.tolist() == [0, 1]
    assert data.notes == ["2 files are not read, being no parquet file and named in none: cat/1.png, dog/1.png"]
