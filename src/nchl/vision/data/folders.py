"""Labelled images as files: a folder per class, optionally within folders for training and test.

Unlike the imagefolder of the package datasets, this module lists every file that is not read, and writes no cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from nchl.errors import InvalidArgument
from nchl.vision.data.source import Row, Source, choose, role, some

# File names of the formats that `images` decodes.
SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}


def read_folder(folder: Path) -> Source:
    """The images ROOT/train/CLASS/FILE and ROOT/test/CLASS/FILE (or `validation`, or none), or ROOT/CLASS/FILE.

    Raises:
        InvalidArgument: there are no classes, or the test set has a class that the training set lacks.
    """
    found = _inside(folder)
    splits = [name for name in found if role(name)]
    others: list[Path] = []
    if splits:
        train_name, test_name, notes = choose(str(folder), "folder", found)
        if train_name is None or not _inside(folder / train_name):
            raise InvalidArgument(
                f"{folder}: expected a folder `train` with one folder of images per class in it, got {some(found)}; "
                f"{splits[0]!r} names a split and is never a class: put the folders of the classes below {folder / 'train'}"
            )
        train, test = folder / train_name, None if test_name is None else folder / test_name
        others += _loose(folder)
    else:
        train, test, notes = folder, None, []
    classes = _inside(train)
    if not classes:
        raise InvalidArgument(f"{folder}: expected parquet files, or one folder of images per class, got neither")
    rows = _rows(train, classes, others)
    test_rows = None
    if test is not None:
        tested = _inside(test)
        if not tested:
            raise InvalidArgument(f"{test}: expected one folder of images per class, as in {train}, got none; sort its images into such")
        for name in tested:
            if name not in classes:
                raise InvalidArgument(f"{test}/{name}: the training set has no class {name!r}; it has {', '.join(classes[:12])}")
        test_rows = _rows(test, tested, others)
    notes += not_read(folder, others, "no image by name or in no class's folder")
    return Source(str(folder), rows, test_rows, classes, notes)


@dataclass(frozen=True)
class _FolderRows:
    files: list[tuple[str, Path]]

    def __iter__(self) -> Iterator[Row]:
        for name, path in self.files:
            try:
                yield Row(path.read_bytes(), name, str(path))
            except OSError as error:
                raise InvalidArgument(f"{path}: cannot be read ({error.strerror or error})") from error


def _rows(folder: Path, classes: list[str], others: list[Path]) -> _FolderRows:
    """The images of the classes; all other files are added to `others`."""
    files = []
    others += _loose(folder)
    for name in classes:
        for path in sorted(files_below(folder / name)):
            if path.suffix.lower() in SUFFIXES:
                files.append((name, path))
            else:
                others.append(path)
    return _FolderRows(files)


def not_read(folder: Path, others: list[Path], why: str) -> list[str]:
    """A note on the files of a folder that are not read, if there are any."""
    if not others:
        return []
    names = some([path.relative_to(folder) for path in others])
    files = "1 file is" if len(others) == 1 else f"{len(others)} files are"
    return [f"{files} not read, being {why}: {names}"]


def files_below(folder: Path) -> Iterator[Path]:
    """All files that are not hidden; programs hide files such as `._0.png` and folders such as `.ipynb_checkpoints/`.

    Links to folders are returned like files and not followed, because they may form a cycle.
    """
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (Path(root, name) for name in folders if Path(root, name).is_symlink())
        yield from (Path(root, name) for name in files if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _inside(folder: Path) -> list[str]:
    return [path.name for path in _entries(folder) if path.is_dir()]


def _loose(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if not path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _hidden(path.name))
    except OSError as error:
        _unreadable(error)


def _unreadable(error: OSError) -> NoReturn:
    raise InvalidArgument(f"{error.filename}: cannot be read ({error.strerror or error})") from error
