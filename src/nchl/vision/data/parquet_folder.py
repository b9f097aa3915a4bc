"""A folder of parquet files: which split each belongs to, whether all shards are there, and which other files are not read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, require
from nchl.vision.data.folders import SUFFIXES, files_below, not_read
from nchl.vision.data.source import choose, role, some
from nchl.vision.data.tables import IMAGE_COLUMNS, Table

# NAME-00000-of-00002, at Hugging Face sometimes with a hash behind it that differs between the shards of a table.
_SHARD = re.compile(r"(?P<before>.*)-(?P<number>\d{1,6})-of-(?P<total>\d{1,6})(-[0-9a-f]{16})?(?P<after>.*)")


def parquet_files(folder: Path) -> list[Path]:
    """All parquet files that are not hidden."""
    return sorted(file for file in files_below(folder) if file.suffix == ".parquet")


def read_parquet(folder: Path, files: list[Path]) -> tuple[dict[str, list[Table]], list[str]]:
    """The splits of a folder, by the word train, test or validation in a file's name or path; without a cache.

    Returns:
        The tables of each split, and notes on files that are not read.

    Raises:
        InvalidArgument: a file names no split or cannot be read, a shard is missing or there twice, or the folder also holds images in
            folders of classes.
    """
    datasets, parquet = (require(name, "vision") for name in ("datasets", "pyarrow.parquet"))
    of_splits: dict[str, list[Path]] = {}
    for file in files:
        of_splits.setdefault(_split_of(file.relative_to(folder), file), []).append(file)
    for split in choose(str(folder), "split", of_splits)[:2]:
        _check_shards(of_splits.get(str(split), []))
    splits: dict[str, list[Table]] = {}
    for split, named in of_splits.items():
        for file in named:
            try:
                table = datasets.Dataset(parquet.read_table(file))
            # Besides arrow's errors, an invalid description of the columns can raise any other.
            except Exception as error:
                raise InvalidArgument(f"{file}: this parquet file cannot be read ({error})") from error
            splits.setdefault(split, []).append(Table(str(file), table))
    return splits, _left_out(folder, files, [table for tables in splits.values() for table in tables])


def _split_of(path: Path, file: Path) -> str:
    """The split of a file, by its name, or by the name of the nearest folder that names a split."""
    for part in reversed(path.parts):
        roles = {found for word in re.split(r"[^a-z]+", part.lower()) if (found := role(word))}
        if len(roles) > 1:
            raise InvalidArgument(f"{file}: expected the name of one split, got {' and '.join(sorted(roles))} in {part!r}; rename it")
        if roles:
            return roles.pop()
    raise InvalidArgument(f"{file}: expected a name with `train`, `test` or `validation` in it, so that it is clear which split it is")


def _check_shards(files: Iterable[Path]) -> None:
    """Refuse numbered shards of which one is missing, or of which one is there twice."""
    tables: dict[tuple[Path, str, str], dict[int, dict[int, list[Path]]]] = {}
    for file in files:
        if shard := _SHARD.fullmatch(file.stem):
            numbers = tables.setdefault((file.parent, shard["before"], shard["after"]), {}).setdefault(int(shard["total"]), {})
            numbers.setdefault(int(shard["number"]), []).append(file)
    for totals in tables.values():
        every = [file for numbers in totals.values() for same in numbers.values() for file in same]
        if len(totals) > 1:
            ways = " and ".join(f"of {total}" for total in sorted(totals))
            raise InvalidArgument(f"{every[0].parent}: expected the shards of one table, got shards {ways}: {some(every)}; remove one set")
        ((total, numbers),) = totals.items()
        for same in numbers.values():
            if len(same) > 1:
                raise InvalidArgument(f"expected each shard once, got {' and '.join(map(str, same))}; remove one of them")
        first = min(1, *numbers) if total in numbers else 0  # usually counted from 0
        missing = [number for number in range(first, first + total) if number not in numbers]
        strange = [number for number in numbers if not first <= number < first + total]
        if strange:
            raise InvalidArgument(f"{numbers[strange[0]][0]}: expected a shard from {first} to {first + total - 1}; rename or remove it")
        if missing:
            counted = "1 is" if len(missing) == 1 else f"{len(missing)} are"
            raise InvalidArgument(
                f"{every[0].parent}: expected {total} shards like {every[0].name}, but {counted} missing: number {some(missing)}; "
                "put the rest there"
            )


def _left_out(folder: Path, files: list[Path], tables: list[Table]) -> list[str]:
    """Notes on the files that are not read; refuses images in folders of classes beside tables with images in them."""
    others = sorted(set(files_below(folder)) - set(files))
    images = [file for file in others if file.suffix.lower() in SUFFIXES]
    if images:
        named = {(folder / path).resolve() for table in tables for path in _paths(table)}
        others = [file for file in others if file.resolve() not in named]
        classes = _class_folders(folder, [file for file in images if file.resolve() not in named])
        if len(classes) > 1 and not named:
            raise InvalidArgument(
                f"{folder}: expected either parquet files or folders of classes, got both: {some(files)}, and images in {some(classes)}; "
                "move one of the two elsewhere"
            )
    return not_read(folder, others, "no parquet file and named in none")


def _paths(table: Table) -> Iterable[str]:
    """The files that a table names in place of the bytes of its images."""
    for name in IMAGE_COLUMNS:
        if name in table.rows.column_names:
            column: Any = table.rows.data.column(name)
            kind = str(column.type)
            if kind in ("string", "large_string"):
                return [path for path in column.to_pylist() if path]
            if kind.startswith("struct") and {"bytes", "path"} <= {column.type.field(i).name for i in range(column.type.num_fields)}:
                compute = require("pyarrow.compute", "vision")
                inside = compute.is_valid(compute.struct_field(column, "bytes")).to_pylist()
                paths = compute.struct_field(column, "path").to_pylist()
                return [path for path, held in zip(paths, inside, strict=True) if path and not held]
            return []
    return []


def _class_folders(folder: Path, images: list[Path]) -> list[Path]:
    """The folders ROOT/CLASS, or ROOT/SPLIT/CLASS, that hold some of these images."""
    found = set()
    for image in images:
        parts = image.relative_to(folder).parts[:-1]
        depth = 2 if parts and role(parts[0]) else 1
        if len(parts) >= depth:
            found.add(folder.joinpath(*parts[:depth]))
    return sorted(found)
