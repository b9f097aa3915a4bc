"""One writer per run folder: the second is refused, and a dead one keeps nobody out.

The lock is the kernel's (`flock` on the file `.lock` in the folder), so that it is gone when its owner is, however suddenly.
The file says who the owner is, for the message alone. Readers (`evaluate`, `load`, reports, films) take no lock.
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
from types import ModuleType

from nchl.errors import RunError
from nchl.runs.store.files import cannot_write

NAME = ".lock"
ORPHANS_S = 10.0
"""How long the processes that a dead owner has left behind may keep us waiting; they end by themselves."""

_ABSENT = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def locked(folder: Path, *, patience_s: float = ORPHANS_S) -> Iterator[list[str]]:
    """Hold the folder while the block runs; gives lines that the user should see.

    Args:
        folder: a run folder.
        patience_s: see `ORPHANS_S`.

    Raises:
        RunError: another process holds it, or the folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield ["this system has no file locks: see to it that no second process continues this run"]
        return
    path = folder / NAME
    deadline = time.monotonic() + patience_s
    descriptor = _open(path)
    try:
        while (answer := _take(fcntl, descriptor, path)) is False:
            owner = _owner(path)
            if not _is_dead_here(owner) or time.monotonic() > deadline:
                raise RunError(
                    f"{folder} is in use by another process ({_described(owner)}); two writers would spoil the run. "
                    "Wait until that one has ended, or end it; whatever ends it, the folder is free then"
                )
            time.sleep(0.05)
            stale, descriptor = descriptor, _open(path)  # the file may be another one by now
            os.close(stale)
        if answer is None:
            yield [f"{folder} lies on a file system without locks: see to it that no second process continues this run"]
            return
        _sign(descriptor)
        try:
            yield []
        finally:
            # While it is still held: whoever opened this file before it went finds another one, or none, in its place.
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RunError(
                f"{path} is a symbolic link, which nchl never makes; look where this folder comes from, then remove it"
            ) from error
        raise cannot_write(path, error) from error


def _take(fcntl: ModuleType, descriptor: int, path: Path) -> bool | None:
    """Whether the lock is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno in _ABSENT:
            return None
        raise cannot_write(path, error) from error
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return True
    return False  # its last owner has removed the file meanwhile


def _sign(descriptor: int) -> None:
    """Write down who we are; on a full disk the lock holds without it."""
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _owner(path: Path) -> dict[str, object]:
    """What the lock's file says of its owner; nothing where it says nothing sensible."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(1000))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_dead_here(owner: dict[str, object]) -> bool:
    """Whether the owner was a process of this machine that is gone, or has just let go without leaving a name."""
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


def in_use(folder: Path) -> bool:
    """Whether a process seems to hold the folder now; for readers, who need no lock and must not disturb a writer's."""
    path = folder / NAME
    return path.exists() and not _is_dead_here(_owner(path))
