"""Labelled images in tables: parquet files, a folder of `save_to_disk`, or a data set of Hugging Face.

Tables of a data set are joined by the names of columns and classes, never by position.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, require
from nchl.vision.data.source import Row, Source, choose, some

IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label")
_NAMED, _NUMBERS = "numbers with names", "numbers"
_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"


@dataclass(frozen=True)
class Table:
    """A `datasets.Dataset`, and its name in messages."""

    place: str
    rows: Any


def is_saved(folder: Path) -> bool:
    """Whether the folder, or folders in it, are of `save_to_disk` of the package datasets."""
    return (folder / _DICT).is_file() or _is_split(folder) or bool(_splits_in(folder))


def _is_split(folder: Path) -> bool:
    return (folder / _STATE).is_file() and (folder / _INFO).is_file()


def _splits_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"*/{_STATE}") if _is_split(path.parent))


def read_saved(folder: Path) -> dict[str, list[Table]]:
    """The splits of a folder of `save_to_disk` (JSON and arrow files, no code). A single split is the training set."""
    datasets = require("datasets", "vision")
    splits = {}
    try:
        paths = {"train": folder} if _is_split(folder) else {split: folder / split for split in _splits_in(folder)}
        if not _is_split(folder) and (folder / _DICT).is_file():
            paths = {str(split): folder / split for split in json.loads((folder / _DICT).read_text("utf-8"))["splits"]}
        for split, path in paths.items():
            state = json.loads(_named_inside(folder, path / _STATE).read_text("utf-8"))
            for listed in state["_data_files"]:
                _named_inside(folder, path / listed["filename"])
            # With a saved format (for example torch's), labels would be tensors.
            splits[split] = datasets.Dataset.load_from_disk(str(path.resolve()), keep_in_memory=False).with_format(None)
    except InvalidArgument:
        raise
    # Missing or foreign files raise many kinds of errors, with the same meaning to the user.
    except Exception as error:
        raise InvalidArgument(
            f"{folder}: expected what `save_to_disk` of the package datasets writes, but it cannot be read "
            f"({type(error).__name__}: {error}); save it again, or save each split with `to_parquet`"
        ) from error
    return as_tables(str(folder), splits)


def _named_inside(folder: Path, path: Path) -> Path:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidArgument(f"{folder}: names {path}, which lies outside of it; copy it there")
    return path


def as_tables(name: str, splits: dict[str, Any]) -> dict[str, list[Table]]:
    """Splits of one table each."""
    return {str(split): [Table(f"{name}, split {split}", rows)] for split, rows in splits.items()}


def read_tables(name: str, splits: dict[str, list[Table]], folder: Path | None = None, notes: Sequence[str] = ()) -> Source:
    """The rows of the training and the test split.

    Args:
        name: name of the data set.
        splits: all splits.
        folder: folder of the images that a table holds by file name.
        notes: what is known about the data already.

    Raises:
        InvalidArgument: a split or column is missing, or a table's labels do not match those of the first.
    """
    train, test, chosen = choose(name, "split", splits)
    notes = [*chosen, *notes]
    if train is None:
        raise InvalidArgument(f"{name}: expected a split named train, got {', '.join(splits) or 'none'}")
    columns = splits[train][0].rows.column_names
    image = _column(name, columns, IMAGE_COLUMNS, "images")
    label = _column(name, columns, _LABEL_COLUMNS, "labels")
    tables = [*splits[train], *([] if test is None else splits[test])]
    for table in tables:
        for column in (image, label):
            if column not in table.rows.column_names:
                raise InvalidArgument(f"{table.place}: lacks the column {column!r} that {tables[0].place} has; add or rename it")
    # The first table that names its classes is the reference for the others.
    kinds = [_kind(table, label) for table in splits[train]]
    first = splits[train][next((kinds.index(kind) for kind in (_NAMED, *kinds) if kind in kinds and kind != "null"), 0)]
    classes = _names(first, label)
    rows = {
        split: _TableRows(
            name, split, [(table, _translation(table, first, label)) for table in splits[split]], image, label, classes, folder
        )
        for split in (train, test)
        if split is not None
    }
    others = [table.place for table in tables if {_kind(table, label), _kind(first, label)} == {_NAMED, _NUMBERS}]
    if others:
        which, other = ("names classes", "does not") if classes is None else ("names no classes", "does")
        notes.append(f"{some(others)} {which}, while {first.place} {other}: equal numbers are taken for equal classes")
    return Source(name, rows[train], None if test is None else rows[test], classes, notes)


def _names(table: Table, label: str) -> list[str] | None:
    names = getattr(table.rows.features[label], "names", None)
    return None if names is None else list(names)


def _kind(table: Table, label: str) -> str:
    if _names(table, label) is not None:
        return _NAMED
    kind = str(getattr(table.rows.features[label], "dtype", table.rows.features[label]))
    return _NUMBERS if re.fullmatch(r"u?int\d+", kind) else kind.removeprefix("large_")


def _translation(table: Table, first: Table, label: str) -> list[str] | None:
    """The class names of a table's numbers, if it numbers classes differently from the reference table."""
    theirs, ours = _names(table, label), _names(first, label)
    kind, expected = _kind(table, label), _kind(first, label)
    if theirs is not None and ours is not None:
        strange = [name for name in theirs if name not in ours]
        if strange:
            raise InvalidArgument(f"{table.place}: has the class {strange[0]!r}, which is none of the training set's ({some(ours)})")
        return None if theirs == ours else theirs
    if theirs is not None and expected == "string":
        return theirs
    # A table without labels is reported at its first row; strings are names already.
    fine = kind in (expected, "null") or (kind, expected) in ((_NUMBERS, _NAMED), (_NAMED, _NUMBERS), ("string", _NAMED))
    if not fine:
        raise InvalidArgument(f"{table.place}: expected labels that are {expected}, as in {first.place}, got {kind}; write both alike")
    return None


@dataclass(frozen=True)
class _TableRows:
    name: str
    split: str
    tables: list[tuple[Table, list[str] | None]]
    image: str
    label: str
    classes: list[str] | None
    folder: Path | None

    def __iter__(self) -> Iterator[Row]:
        number = 0
        for table, names in self.tables:
            for cell, label in self._cells(table):
                place = f"{self.name}, {self.split} row {number}" + (f" ({cell['path']})" if cell.get("path") else "")
                data = cell.get("bytes")
                if data is None and cell.get("path"):
                    data = self._beside(Path(cell["path"]), place)
                if label is None:
                    raise InvalidArgument(f"{place}: expected a label, got none")
                if isinstance(label, str) and self.classes is not None and label not in self.classes:
                    raise InvalidArgument(f"{table.place}: label {label!r} is none of the training set's classes ({some(self.classes)})")
                if names is not None:
                    if not 0 <= label < len(names):
                        raise InvalidArgument(
                            f"{place}: expected a label from 0 to {len(names) - 1}, got {label}; many data sets mark none so"
                        )
                    label = names[label]
                yield Row(data, label, place)
                number += 1

    def _cells(self, table: Table) -> Iterator[tuple[dict[str, Any], Any]]:
        datasets = require("datasets", "vision")
        columns = table.rows.select_columns([self.image, self.label])
        try:
            columns = columns.cast_column(self.image, datasets.Image(decode=False))
        except Exception as error:  # arrow's errors about a column of another kind
            raise InvalidArgument(f"{table.place}: the column {self.image!r} holds no images ({error})") from error
        for batch in columns.iter(batch_size=1000):
            for cell, label in zip(batch[self.image], batch[self.label], strict=True):
                yield cell or {}, label

    def _beside(self, path: Path, place: str) -> bytes | None:
        """The bytes of an image that the table holds by file name; a table in a folder may name only files of that folder."""
        if self.folder is not None:
            path = self.folder / path
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise InvalidArgument(f"{place}: names a file outside of {self.folder}; copy it there, or put the image into the table")
        return path.read_bytes() if path.is_file() else None


def _column(name: str, columns: list[str], wanted: tuple[str, ...], what: str) -> str:
    for column in wanted:
        if column in columns:
            return column
    raise InvalidArgument(
        f"{name}: expected the {what} in a column {' or '.join(wanted)}, got the columns {', '.join(columns)}; rename one"
    )
