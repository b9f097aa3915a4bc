"""Open a data set: a local folder of any kind, or a name at Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, require
from nchl.vision.data.folders import read_folder
from nchl.vision.data.parquet_folder import parquet_files, read_parquet
from nchl.vision.data.source import Source
from nchl.vision.data.tables import as_tables, is_saved, read_saved, read_tables

KNOWN = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}


def open_source(data: str) -> Source:
    """Open a local folder (parquet, `save_to_disk`, or a folder per class) or a data set at Hugging Face.

    Raises:
        InvalidArgument: there is no such data, or a part of it is missing.
    """
    folder = Path(data)
    if folder.is_dir():
        if is_saved(folder):
            return read_tables(data, read_saved(folder), folder)
        files = parquet_files(folder)
        if not files:
            return read_folder(folder)
        splits, notes = read_parquet(folder, files)
        return read_tables(data, splits, folder, notes)
    if folder.exists() or data.startswith((".", "/", "~")) or data.count("/") > 1:
        raise InvalidArgument(
            f"there is no folder {data}; give a folder of parquet files, of `save_to_disk`, of one folder per class, or a Hugging Face name"
        )
    return read_tables(data, as_tables(data, _download(data)))


def _download(data: str) -> dict[str, Any]:
    datasets = require("datasets", "vision")
    try:
        loaded = datasets.load_dataset(KNOWN.get(data, data))
    # The library and the network raise many kinds of errors, with the same meaning to the user.
    except Exception as error:
        raise InvalidArgument(
            f"{data!r} is no local folder, and Hugging Face could not give it ({type(error).__name__}: {str(error)[:200].strip()}); "
            "without a network, give the folder that holds its parquet files"
        ) from error
    return dict(loaded)
