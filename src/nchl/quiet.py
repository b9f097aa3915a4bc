"""Silence for code of other packages: its warnings, and what it prints."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

_filters = threading.RLock()


@contextlib.contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore warnings inside; one thread at a time.

    The filters of warnings belong to the whole process: if two threads changed and restored them at the same time, the later one
    would restore the other's silence, for good.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet_output() -> Iterator[None]:
    """Discard what C and C++ libraries print inside: PyBullet and MuJoCo write the same line for every environment."""
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        _flush()
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            for place, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, place)
                os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
