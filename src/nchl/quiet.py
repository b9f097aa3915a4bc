"""Silence for code of others that warns about itself, also where several threads ask for it."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

_filters = threading.RLock()


@contextlib.contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore the warnings of what runs inside; one thread at a time.

    The filters of warnings belong to the whole process: of two threads that change them and put them back side by side, the later
    one would put back the silence of the other, for good.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
