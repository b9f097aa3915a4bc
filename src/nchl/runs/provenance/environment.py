"""Whether a run's Gymnasium environment is still the one in which it was evolved. Imports neither torch nor a simulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nchl.errors import RunError
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.record import Record


def check_environment(folder: RunFolder, record: Record, now: Mapping[str, Any] | None, *, allow: bool) -> list[str]:
    """The changes of the environment of a resumed run, as lines for the user; fingerprint `now`: see `tasks.fingerprint`.

    Raises:
        RunError: it has changed and `allow` is false.
    """
    found = changes(record.environment, now)
    if found and not allow:
        raise RunError(
            f"{record.settings.task} is no longer the environment in which {folder.path} was evolved: {'; '.join(found)}. "
            "Restore it, begin a new run, or go on in the changed one with --allow-other-environment"
        )
    return [f"{record.settings.task} has changed since the run was begun, and the run goes on in it: {'; '.join(found)}"] if found else []


def notes_on_environment(record: Record, now: Mapping[str, Any] | None) -> list[str]:
    """The changes of the environment of a result that is evaluated, as lines for the user."""
    found = changes(record.environment, now)
    return [f"{record.settings.task} has changed since the run was evolved in it: {'; '.join(found)}"] if found else []


def digest(environment: Mapping[str, Any] | None) -> str | None:
    """SHA-256 of a fingerprint; None for None."""
    return None if environment is None else hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()


def changes(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """The differences between two fingerprints, one line each; none if one of them was not recorded."""
    if before is None or now is None:
        return []
    lines = []
    for group, kind in (("files", ""), ("packages", ""), ("kwargs", "keyword argument ")):
        old, new = (value if isinstance(value := each.get(group), Mapping) else {} for each in (before, now))
        for name in sorted({*old, *new}):
            if name not in new:
                lines.append(f"{kind}{name} is no longer part of it")
            elif name not in old:
                lines.append(f"{kind}{name} is new")
            elif old[name] != new[name]:
                lines.append(f"{name} has changed" if group == "files" else f"{kind}{name} was {old[name]} and is {new[name]}")
    return lines + [
        f"{name} was {before.get(name)} and is {now.get(name)}"
        for name in ("entry_point", "max_episode_steps", "wrappers")
        if before.get(name) != now.get(name)
    ]
