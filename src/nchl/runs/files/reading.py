"""Texts and JSON of untrusted files: plain files of limited size, and no pickles."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from nchl.errors import CheckpointError, RunError


def open_file(path: Path) -> BinaryIO:
    """Open a plain file for reading; a pipe, which could block, or a device, which might never end, is an `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file")
    return os.fdopen(descriptor, "rb")


def refuse_pickle(path: Path, start: bytes) -> None:
    """Refuse a file that begins like a pickle or like one of the archives that contain pickles.

    Raises:
        CheckpointError: it does; reading a pickle can run any program.
    """
    protocol = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
    textual = start[:2] in (b"(d", b"(l", b"(i", b"]q", b"}q") or (start[:1] == b"c" and b"\n" in start)
    if protocol or textual or start[:4] == b"PK\x03\x04":
        raise CheckpointError(
            f"{path} is a pickle or an archive, as torch.save and numpy.save write them, and not safetensors. "
            "Reading one can run any program that its author put there, so nchl never does. "
            "Convert it in a place that you trust, with safetensors.numpy.save_file"
        )


def read_text(path: Path, *, largest: int = 16 << 20) -> str:
    """The text of a small file.

    Raises:
        RunError: it cannot be read, is not UTF-8, has more than `largest` bytes, or is a pickle.
    """
    try:
        with open_file(path) as file:
            refuse_pickle(path, file.read(64))
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise RunError(f"{path} has {size} bytes; a file of its kind has at most {largest}")
            file.seek(0)
            data = file.read(size)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not text: byte {error.start} is not UTF-8") from error


def read_json(text: str, *, file: Path | str) -> Mapping[str, Any]:
    """The object in a JSON text.

    Raises:
        RunError: names the file, the mistake, and its position.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{file} is not readable JSON ({short(error)}); restore it from a copy: the run cannot be continued without it"
        ) from error
    if not isinstance(data, dict):
        raise RunError(f"{file} must hold one JSON object, got {type(data).__name__}")
    return data


def short(error: BaseException) -> str:
    """The message of an error, without repeating a whole file."""
    return f"{type(error).__name__}: {str(error)[:200]}"
