"""Whether a run's Gymnasium environment is still the one that it was evolved in, and how a difference is told to the user.

Nothing of torch or of a simulator is loaded, but by `of_settings`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nchl.errors import RunError
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.code_copy import Code
from nchl.runs.store.folder import Record, RunFolder


def check_environment(folder: RunFolder, record: Record, now: Mapping[str, Any] | None, *, allow: bool) -> list[str]:
    """What has changed, as lines for the user.

    Args:
        folder: the run.
        record: its record.
        now: the environment as it is here; see `tasks.fingerprint`.
        allow: whether a run may go on all the same.

    Raises:
        RunError: something has changed and `allow` is false.
    """
    found = changes(record.environment, now)
    if found and not allow:
        raise RunError(
            f"{record.settings.task} is not the environment any more that {folder.path} was evolved in: {'; '.join(found)}. "
            "Restore it, begin a new run, or go on in the changed one with --allow-other-environment"
        )
    return [f"{record.settings.task} has changed since the run was begun, and the run goes on in it: {'; '.join(found)}"] if found else []


def notes_on_environment(record: Record, now: Mapping[str, Any] | None) -> list[str]:
    """What a user should know where a result is only played: the same, and never refused."""
    found = changes(record.environment, now)
    return [f"{record.settings.task} has changed since the run was evolved in it: {'; '.join(found)}"] if found else []


def of_settings(config: EvolveConfig) -> dict[str, Any] | None:
    """The fingerprint of the environment that a configuration names, as it is here now. It is made for that, which runs its module.

    Raises:
        NchlError: it cannot be made here.
    """
    from nchl.runs.search.evolution import recipe
    from nchl.tasks import fingerprint
    from nchl.workers.build import task_of

    task = task_of(recipe(config, code=Code()), threads=1)
    try:
        return fingerprint(task)
    finally:
        task.close()


def digest(environment: Mapping[str, Any] | None) -> str | None:
    """SHA-256 of a fingerprint; None for None."""
    return None if environment is None else hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()


def changes(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """What differs between two fingerprints, one line each. Nothing where one of them was not recorded."""
    if before is None or now is None:
        return []
    lines = []
    for group, kind in (("files", ""), ("packages", ""), ("kwargs", "keyword argument ")):
        old, new = (_object(each.get(group)) for each in (before, now))
        for name in sorted({*old, *new}):
            if name not in new:
                lines.append(f"{kind}{name} is not part of it any more")
            elif name not in old:
                lines.append(f"{kind}{name} is new")
            elif old[name] != new[name]:
                lines.append(f"{name} has changed" if group == "files" else f"{kind}{name} was {old[name]} and is {new[name]}")
    lines += [
        f"{name} was {before.get(name)} and is {now.get(name)}"
        for name in ("entry_point", "max_episode_steps", "wrappers")
        if before.get(name) != now.get(name)
    ]
    return lines


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
