"""Where labelled images come from: rows of (bytes, label, name of the place), not yet decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, require

KNOWN = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True)
class Row:
    """One image as it lies there.

    Attributes:
        data: the encoded bytes, or None where the data set has none.
        label: a number or a string.
        place: file, or split and row, for messages.
    """

    data: bytes | None
    label: Any
    place: str


@dataclass(frozen=True)
class Source:
    """The rows of a data set; `test` is None where it has no test set, `classes` where it does not name them."""

    name: str
    train: Iterable[Row]
    test: Iterable[Row] | None
    classes: list[str] | None
    notes: list[str]


def open_source(data: str) -> Source:
    """Find out what `data` is: a local folder of either kind, or a name at Hugging Face.

    Raises:
        InvalidArgument: there is no such data, or it lacks what is needed.
    """
    folder = Path(data)
    if folder.is_dir():
        files = sorted(folder.rglob("*.parquet"))
        return _tables(data, _read_parquet(folder, files), folder) if files else _folder(folder)
    if folder.exists() or data.startswith((".", "/", "~")) or data.count("/") > 1:
        raise InvalidArgument(f"there is no folder {data}; give a folder of parquet files, of one folder per class, or a Hugging Face name")
    return _tables(data, _download(data))


def _download(data: str) -> dict[str, Any]:
    datasets = require("datasets", "vision")
    try:
        loaded = datasets.load_dataset(KNOWN.get(data, data))
    # The library and the network below it raise a dozen kinds of errors; all mean the same to the user.
    except Exception as error:
        raise InvalidArgument(
            f"{data!r} is no local folder, and Hugging Face could not give it ({type(error).__name__}: {str(error)[:200].strip()}); "
            "without a network, give the folder that holds its parquet files"
        ) from error
    return dict(loaded)


def _read_parquet(folder: Path, files: list[Path]) -> dict[str, Any]:
    """The splits of a folder, by the word train, test or validation in a file's name or path; read without any cache."""
    datasets, parquet, arrow = (require(name, "vision") for name in ("datasets", "pyarrow.parquet", "pyarrow"))
    groups: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", str(file.relative_to(folder)).lower())
        split = next((name for name in ("train", "test", "validation") if name in words), None)
        if split is None:
            raise InvalidArgument(
                f"{file}: expected a name with `train`, `test` or `validation` in it, so that it is clear which split it is"
            )
        groups.setdefault(split, []).append(file)
    try:
        return {
            split: datasets.Dataset(arrow.concat_tables([parquet.read_table(path) for path in paths])) for split, paths in groups.items()
        }
    except (arrow.ArrowException, OSError) as error:
        raise InvalidArgument(f"{folder}: a parquet file cannot be read ({error})") from error


def _tables(name: str, splits: dict[str, Any], folder: Path | None = None) -> Source:
    if "train" not in splits:
        raise InvalidArgument(f"{name}: expected a split named train, got {', '.join(map(str, splits)) or 'none'}")
    notes = []
    test = "test" if "test" in splits else "validation" if "validation" in splits else None
    if test == "validation":
        notes.append("the split `validation` is the test set, because there is no other")
    image = _column(name, splits["train"].column_names, _IMAGE_COLUMNS, "images")
    label = _column(name, splits["train"].column_names, _LABEL_COLUMNS, "labels")
    names = getattr(splits["train"].features[label], "names", None)
    rows = {split: _TableRows(name, split, splits[split], image, label, folder) for split in ("train", test) if split is not None}
    return Source(name, rows["train"], None if test is None else rows[test], None if names is None else list(names), notes)


@dataclass(frozen=True)
class _TableRows:
    name: str
    split: str
    table: Any
    image: str
    label: str
    folder: Path | None

    def __iter__(self) -> Iterator[Row]:
        datasets = require("datasets", "vision")
        for column in (self.image, self.label):
            if column not in self.table.column_names:
                raise InvalidArgument(f"{self.name}: the {self.split} set lacks the column {column!r} of the training set")
        columns = self.table.select_columns([self.image, self.label])
        try:
            columns = columns.cast_column(self.image, datasets.Image(decode=False))
        except Exception as error:  # whatever arrow says about a column of another kind
            raise InvalidArgument(f"{self.name}: the column {self.image!r} of the {self.split} set holds no images ({error})") from error
        number = 0
        for batch in columns.iter(batch_size=1000):
            for cell, label in zip(batch[self.image], batch[self.label], strict=True):
                cell = cell or {}
                place = f"{self.name}, {self.split} row {number}" + (f" ({cell['path']})" if cell.get("path") else "")
                data = cell.get("bytes")
                if data is None and cell.get("path"):
                    data = self._beside(Path(cell["path"]), place)
                if label is None:
                    raise InvalidArgument(f"{place}: expected a label, got none")
                yield Row(data, label, place)
                number += 1

    def _beside(self, path: Path, place: str) -> bytes | None:
        """An image that the table only names. A table in a folder may name what lies in that folder, and nothing else here."""
        if self.folder is not None and not path.resolve().is_relative_to(self.folder.resolve()):
            raise InvalidArgument(f"{place}: names a file outside of {self.folder}; copy it there, or put the image into the table")
        return path.read_bytes() if path.is_file() else None


def _column(name: str, columns: list[str], wanted: tuple[str, ...], what: str) -> str:
    for column in wanted:
        if column in columns:
            return column
    raise InvalidArgument(
        f"{name}: expected the {what} in a column {' or '.join(wanted)}, got the columns {', '.join(columns)}; rename one"
    )


def _folder(folder: Path) -> Source:
    """ROOT/train/CLASS/FILE and ROOT/test/CLASS/FILE (or `validation`, `val`, or neither of them), or ROOT/CLASS/FILE."""
    found, train, test = _folders(folder), folder, None
    notes = []
    if "train" in found and _folders(folder / "train"):
        train = folder / "train"
        test = next((folder / name for name in ("test", "validation", "val") if name in found), None)
        if test is not None and test.name != "test":
            notes.append(f"the folder `{test.name}` is the test set, because there is no other")
    classes = _folders(train)
    if not classes:
        raise InvalidArgument(f"{folder}: expected parquet files, or one folder of images per class, got neither")
    for name in [] if test is None else _folders(test):
        if name not in classes:
            raise InvalidArgument(f"{test}/{name}: the training set has no class {name!r}; it has {', '.join(classes[:12])}")
    return Source(str(folder), _FolderRows(train, classes), None if test is None else _FolderRows(test, classes), classes, notes)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


@dataclass(frozen=True)
class _FolderRows:
    folder: Path
    classes: list[str]

    def __iter__(self) -> Iterator[Row]:
        for name in self.classes:
            for path in sorted((self.folder / name).rglob("*")):
                if path.suffix.lower() in _SUFFIXES:
                    try:
                        yield Row(path.read_bytes(), name, str(path))
                    except OSError as error:
                        raise InvalidArgument(f"{path}: cannot be read ({error.strerror or error})") from error
