"""A folder for compiled code to which no other user can write: a library placed there by another user would run with our rights.

The folder is `$NCHL_CACHE`, else `$XDG_CACHE_HOME/nchl`, else `~/.cache/nchl`. If that one is not safe, this process gets a
temporary folder of its own, which is removed when the process ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

_log = logging.getLogger("nchl")


def wanted() -> Path:
    """The folder for compiled code that the environment asks for."""
    if named := os.environ.get("NCHL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nchl"


def objection(path: Path) -> str:
    """The reason why code at a path must not be run, if another user could have written it; empty otherwise."""
    try:
        about = path.lstat()
    except OSError as error:
        return f"{path} cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(about.st_mode):
        return f"{path} is a symbolic link"
    if not hasattr(os, "getuid"):  # Windows: a home folder belongs to one user
        return ""
    if about.st_uid not in (os.getuid(), 0):
        return f"{path} belongs to another user ({about.st_uid})"
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {path} (its mode is {stat.S_IMODE(about.st_mode):o}; chmod go-w helps)"
    return ""


def folder() -> Path:
    """The folder to compile into and to load from; created if missing."""
    return _folder(wanted())


@lru_cache
def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = path.resolve()
        problem = objection(path)
        if not problem and not os.access(path, os.W_OK):
            problem = f"{path} cannot be written to"
    except OSError as error:
        problem = f"{path} cannot be made ({error.strerror})"
    if not problem:
        return path
    private = Path(tempfile.mkdtemp(prefix="nchl-"))  # of mode 0700, with a random name
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    _log.warning("%s; so what is compiled serves this process alone", problem)
    return private
