"""Small disks of a test's own, mounted for real; skipped where mounting is not allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True)


class Disk:
    """A tmpfs; it can be filled up to a few free bytes, enlarged, and made read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def leave(self, free: int) -> None:
        """Fill it with a file until so many bytes are free (rounded up to pages)."""
        filler = self.path / "filler"
        filler.unlink(missing_ok=True)
        about = os.statvfs(self.path)
        filler.write_bytes(b"x" * max(0, about.f_bavail * about.f_bsize - free))

    def empty(self) -> None:
        """Take the filling file away."""
        (self.path / "filler").unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing can be written while the block runs."""
        assert _mount("-o", "remount,ro", str(self.path)).returncode == 0
        try:
            yield
        finally:
            assert _mount("-o", "remount,rw", str(self.path)).returncode == 0


@contextmanager
def disk(path: Path, size: str = "1m") -> Iterator[Disk]:
    """Mount a small disk at a folder, which is made."""
    if not sys.platform.startswith("linux"):
        pytest.skip("a disk of its own is mounted on Linux only")
    path.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
