"""Keep memory that was freed: a learning step allocates the same tensors again and again, and fresh pages cost a sixth of it."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to serve large tensors from memory that it keeps; elsewhere do nothing. No result depends on it.

    Returns:
        Whether it was told.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    # Some versions take at most 32 MiB.
    large = any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in (1 << 28, 1 << 25))
    return bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1) == 1 and large)
