"""The record of a run that begins, and what it keeps of each session.

A run may be begun with one commit of nchl and continued with another one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nchl.runs.provenance import machine
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.code_copy import Code
from nchl.runs.store.folder import Record

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
    from nchl.tasks import fingerprint, recorded  # brings torch, which readers of a run do without

    started, versions = time.strftime("%Y-%m-%dT%H:%M:%S%z"), machine.versions() | machine.commit()
    return Record(
        settings=config,
        same_bits=same_bits,
        files=files,
        versions=versions,
        command=list(sys.argv) if command is None else command,
        started=started,
        task=recorded.to_record(workers.task),
        environment=fingerprint(workers.task),
        code=code.record() if code.texts else None,
        objects=objects,
        plastic=workers.plastic,
        sessions=[session(started, versions)],
    )


def session(started: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """What a record says of one session.

    Args:
        started: local time, for people.
        versions: as `machine.versions() | machine.commit()` gives them.

    Returns:
        `started`; `commit` of nchl, None where it is not known; `dirty`, whether the sources differed from it, None where that is not
        known; and `versions` of the packages.
    """
    told = versions.get(COMMIT, "")
    commit = told.partition(" ")[0] or None
    dirty = told.endswith(_DIRTY) if told in (commit, f"{commit}{_DIRTY}") else None
    return {
        "started": started,
        "commit": commit,
        "dirty": dirty,
        "versions": {name: version for name, version in versions.items() if name != COMMIT},
    }


def continued(record: Record) -> tuple[Record, list[str]]:
    """The record with a session that begins now, and a line for the user where nchl is another one than in the session before."""
    sessions, notes = with_this_one(record.sessions, record.started, record.versions)
    return replace(record, sessions=sessions), notes


def with_this_one(
    sessions: list[dict[str, Any]] | None, started: str, versions: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The sessions of a run with one that begins now, and a line where nchl is another one than in the session before.

    Args:
        sessions: those before; None in a record of an earlier version, which knows the first one alone.
        started: of the first one.
        versions: likewise.
    """
    before = sessions or [session(started, versions)]
    now = session(time.strftime("%Y-%m-%dT%H:%M:%S%z"), machine.versions() | machine.commit())
    return [*before, now], differences(before[-1], now)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line where the nchl of two sessions differs; no line where it is not known of one of them."""
    old, new = nchl_of(before), nchl_of(now)
    if old is None or new is None or old == new:
        return []
    return [f"the session before was played with nchl {old}, this one is with nchl {new}; both are in config.json, under sessions"]


def nchl_of(session: Mapping[str, Any]) -> str | None:
    """Version and commit of nchl in words; None where they are not known."""
    versions, commit = session.get("versions"), session.get("commit")
    version = versions.get("nchl") if isinstance(versions, Mapping) else None
    if version is None:
        return None
    dirty = " with changes of its own" if session.get("dirty") else ""
    return f"{version} (commit {str(commit)[:10]}{dirty})" if commit else f"{version} (no commit known)"
