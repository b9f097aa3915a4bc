"""Atomic writing: beside the file, fsync, rename, fsync of the folder. A reader, and a power failure, find the old file or the new one."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nchl.errors import RunError


def write_atomically(path: Path, data: bytes, *, of_a_run: bool = True) -> None:
    """Replace a file by new content, which is on the disk when this returns.

    Args:
        path: the file.
        data: its new content.
        of_a_run: whether a run that can be resumed is writing.

    Raises:
        RunError: the disk is full or the folder is not writable; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:  # a new file: an existing one could be a link to anywhere
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise cannot_write(path, error, of_a_run=of_a_run) from error


def cannot_write(path: Path, error: OSError, *, of_a_run: bool = True) -> RunError:
    """The error for a file that could not be written, with the system's reason."""
    if not of_a_run:
        return RunError(f"cannot write {path}: {error.strerror or error}; make room, give write permission, or name another place")
    return RunError(
        f"cannot write {path}: {error.strerror or error}. Everything that the run had saved before is untouched; "
        "make room or give write permission, then continue with `nchl resume` (a run of SoftHebb: `nchl softhebb --resume`)"
    )


@contextlib.contextmanager
def writing_to(path: Path, *, of_a_run: bool = True) -> Iterator[None]:
    """A block that writes a file: an `OSError` in it becomes the `RunError` of `cannot_write`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error, of_a_run=of_a_run) from error


def check_writable(folder: Path) -> None:
    """Check that files can be created in a folder, before hours are spent on computing them.

    Raises:
        RunError: they cannot.
    """
    probe = folder / f".{os.getpid()}.tmp"
    with writing_to(folder, of_a_run=False):
        probe.unlink(missing_ok=True)
        probe.open("xb").close()
        probe.unlink()


def write_json(path: Path, data: Mapping[str, Any], *, of_a_run: bool = True) -> None:
    """Write an object as readable JSON; see `write_atomically`. NaN and infinity become null, as JSON has neither."""
    write_atomically(path, (json.dumps(finite(data), indent=2, allow_nan=False) + "\n").encode(), of_a_run=of_a_run)


def finite(value: Any) -> Any:
    """The same as plain values for JSON, which has no words for NaN and infinity: they become null."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "dtype"):  # a number of NumPy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is on the disk with the file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
