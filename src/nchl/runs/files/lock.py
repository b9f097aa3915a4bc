"""One writer per run folder.

The lock is the kernel's (`flock` on the file `.lock` in the folder), so that it ends with its owner, however suddenly. The file names the
owner, for the error message alone. Readers (`evaluate`, `load`, reports, films) take no lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nchl.errors import RunError
from nchl.runs.files.writing import cannot_write

NAME = ".lock"
ORPHANS_S = 10.0
"""Seconds for which the orphaned processes of a killed owner may delay the next one; they end by themselves."""

_ABSENT = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def locked(folder: Path, *, patience_s: float = ORPHANS_S) -> Iterator[list[str]]:
    """Hold the lock of a folder while the block runs, after at most `patience_s` (see `ORPHANS_S`); yields lines for the user.

    Raises:
        RunError: another process holds it, or the folder cannot be written to.
    """
    path = folder / NAME
    deadline = time.monotonic() + patience_s
    descriptor = _open(path)
    try:
        while (taken := try_lock(descriptor, path)) is False or (taken and not _is_current(descriptor, path)):
            owner = _owner(path)
            if not _is_dead_here(owner) or time.monotonic() > deadline:
                raise RunError(
                    f"{folder} is in use by another process ({_described(owner)}); two writers would spoil the run. "
                    "Wait until that one has ended, or end it; the folder is free then"
                )
            time.sleep(0.05)
            stale, descriptor = descriptor, _open(path)  # the file may have been replaced
            os.close(stale)
        if not taken:
            yield [f"{folder} is on a file system without locks: make sure that no second process continues this run"]
            return
        _sign(descriptor)
        try:
            yield []
        finally:
            # While the lock is held: a process that has opened this file before finds another one, or none, in its place.
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, path: Path) -> bool | None:
    """Take the lock of an open file without waiting: False if another process has it, None if the system has no locks.

    Raises:
        RunError: the lock cannot be taken for another reason.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno in _ABSENT:
            return None
        raise cannot_write(path, error) from error
    return True


def in_use(folder: Path) -> bool:
    """Whether a process seems to hold the lock of a folder now; for readers, which must not disturb a writer."""
    path = folder / NAME
    return path.exists() and not _is_dead_here(_owner(path))


def _open(path: Path) -> int:
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | sum(flags), 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RunError(f"{path} is a symbolic link, which nchl never makes; check the origin of this folder, then remove it") from error
        raise cannot_write(path, error) from error


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one at this path: its last owner may have removed it meanwhile."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _sign(descriptor: int) -> None:
    """Write this process's identity into the file; on a full disk the lock works without."""
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _owner(path: Path) -> dict[str, object]:
    """The owner's identity in the file; empty if there is none."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(1000))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_dead_here(owner: dict[str, object]) -> bool:
    """Whether the owner was a process of this machine that has ended, or has just released the lock and left no name."""
    if not owner:
        return True
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or not 0 < pid < 1 << 31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _described(owner: dict[str, object]) -> str:
    known = [f"{word} {owner[key]!r}" for word, key in (("process", "pid"), ("on", "host"), ("since", "since")) if key in owner]
    return ", ".join(known) or "which one is not known"
