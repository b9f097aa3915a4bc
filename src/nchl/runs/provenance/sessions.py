"""The record of a new run, and the versions of each of its sessions: a run may be continued with another commit of nchl."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nchl.runs.provenance import machine
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.code_copy import Code
from nchl.runs.store.record import Record

if TYPE_CHECKING:
    from nchl.workers import Workers

COMMIT = "nchl_commit"
_DIRTY = " (dirty)"


def new_record(
    config: EvolveConfig,
    same_bits: dict[str, str],
    files: dict[str, str],
    workers: Workers,
    code: Code,
    command: list[str] | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Record:
    """The record of a run that begins now."""
    from nchl.tasks import fingerprint, recorded  # imports torch, which readers of a run do without

    versions = machine.versions() | machine.commit()
    now = session(versions=versions)
    return Record(
        settings=config,
        same_bits=same_bits,
        files=files,
        versions=versions,
        command=list(sys.argv) if command is None else command,
        started=now["started"],
        task=recorded.to_record(workers.task),
        environment=fingerprint(workers.task),
        code=code.record() if code.texts else None,
        objects=objects,
        plastic=workers.plastic,
        sessions=[now],
    )


def session(started: str | None = None, versions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The entry of one session in a record.

    Args:
        started: local time, for people; None: now.
        versions: as `machine.versions() | machine.commit()`; None: the present ones.

    Returns:
        `started`; `commit` of nchl, None if unknown; `dirty`, whether the sources differed from it, None if unknown; and `versions` of the
        packages.
    """
    versions = machine.versions() | machine.commit() if versions is None else versions
    told = versions.get(COMMIT, "")
    commit = told.partition(" ")[0] or None
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z") if started is None else started,
        "commit": commit,
        "dirty": told.endswith(_DIRTY) if told in (commit, f"{commit}{_DIRTY}") else None,
        "versions": {name: version for name, version in versions.items() if name != COMMIT},
    }


def with_this_one(
    sessions: list[dict[str, Any]] | None, started: str, versions: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The sessions of a run with one that begins now, and a line for the user if its nchl differs from that of the session before.

    Args:
        sessions: the earlier ones; None in a record of an earlier version, which has the first one alone.
        started: of the first one.
        versions: of the first one.
    """
    before, now = sessions or [session(started, versions)], session()
    old, new = nchl_of(before[-1]), nchl_of(now)
    notes = []
    if old is not None and new is not None and old != new:
        notes = [f"the session before used nchl {old}, this one uses nchl {new}; both are in config.json, under sessions"]
    return [*before, now], notes


def nchl_of(session: Mapping[str, Any]) -> str | None:
    """Version and commit of nchl in words; None if unknown."""
    versions, commit = session.get("versions"), session.get("commit")
    version = versions.get("nchl") if isinstance(versions, Mapping) else None
    if version is None:
        return None
    dirty = " with changes of its own" if session.get("dirty") else ""
    return f"{version} (commit {str(commit)[:10]}{dirty})" if commit else f"{version} (no commit known)"
