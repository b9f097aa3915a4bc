"""Ids of Gymnasium environments, `Id-v0` or `module:Id-v0`: imports the module, makes an environment; errors say what to write."""

from __future__ import annotations

import importlib
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from nchl.errors import MissingExtra, TaskError, install_command, nearest, require
from nchl.simulators.registry import unknown_task

_SHOWN = 8  # ids in a message


def plain(name: str, **options: Any) -> Any:
    """One Gymnasium environment, with this package's errors in place of Gymnasium's.

    Raises:
        UnknownName: no such id is registered.
        MissingExtra: Gymnasium, or what the environment needs, is not installed.
        TaskError: the module of `module:Id` cannot be imported or does not register the id, the id has no version, or the environment
            cannot be made.
    """
    gymnasium = require("gymnasium", "sim")
    import_module_of(name)
    module, _, plain_id = name.rpartition(":")
    _refuse_unregistered(gymnasium.registry, module, plain_id)
    try:
        return gymnasium.make(plain_id, disable_env_checker=True, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtra(
            f"{plain_id} needs a package that is not installed ({error}); install it with: {install_command('sim')}"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise unknown_task(name, gymnasium.registry) from error
    except Exception as error:
        missing = re.search(r"missing \d+ required [\w-]+ arguments?: '(\w+)'", str(error)) if isinstance(error, TypeError) else None
        key = missing and missing[1]
        hint = f"; give it with `--env {key}=VALUE`, or in gymnasium.register(..., kwargs={{{key!r}: VALUE}})" if key else ""
        raise TaskError(f"Gymnasium cannot make {name!r}: {type(error).__name__}: {error}{hint}") from error


def import_module_of(name: str) -> None:
    """Import the module of `module:Id`, which registers the id.

    Raises:
        TaskError: it cannot be imported.
    """
    module, _, plain_id = name.rpartition(":")
    if not module:
        return
    if module.endswith(".py"):
        file, versioned = Path(module), plain_id and not plain_id.isidentifier()
        id, entry = (plain_id, "CLASS") if versioned else ("ID-v0", plain_id or "CLASS")
        raise TaskError(
            f"{name!r} names a file, and an environment is MODULE:ID: register it in {file.name} "
            f'(gymnasium.register("{id}", entry_point={entry})), then, in the folder of that file: '
            f"`PYTHONPATH=. nchl evolve {file.stem}:{id}`"
        )
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the module may be the user's: whatever goes wrong there
        hint = ""
        # Not a module that it imports in its turn.
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = f"; it must be importable: from the folder that holds it, write `PYTHONPATH=. nchl ...` (here: {name})"
        raise TaskError(f"the module of {name!r} could not be imported: {type(error).__name__}: {error}{hint}") from error


def _refuse_unregistered(registry: dict[str, Any], module: str, plain_id: str) -> None:
    """Refuse an id that is not registered, where the ids that were probably meant are known: versions of it, or those of its module."""
    if plain_id in registry:
        return
    before = f"{module}:" if module else ""
    versions = [spec for spec in registry.values() if spec.version is not None and spec.id == f"{plain_id}-v{spec.version}"]
    if versions:
        newest = max(versions, key=lambda spec: int(spec.version)).id
        said = f"{module} registers {newest}" if module else f"Gymnasium has {newest}"
        raise TaskError(f"the task {before + plain_id!r} has no version: {said}; write {before}{newest}")
    ids = [spec.id for spec in registry.values() if module and f"{_module_of(spec)}.".startswith(f"{module}.")]
    if ids:
        shown = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
        near = ids[0] if len(ids) == 1 else nearest(plain_id, ids)
        write = f"write {before}{near}" if near else f"write for example {before}{ids[0]}"
        raise TaskError(f"unknown task {before + plain_id!r}: {module} registers {shown}; {write}")


def registered_here(entry_point: str) -> bool:
    """Whether an environment of this entry point was registered by code of this process, and not by Gymnasium or a plug-in of it."""
    plugins = {point.value.partition(":")[0].partition(".")[0] for point in metadata.entry_points(group="gymnasium.envs")}
    return entry_point.partition(":")[0].partition(".")[0] not in {"gymnasium", *plugins}


def _module_of(spec: Any) -> str:
    """The module of a registered environment's entry point."""
    entry = spec.entry_point
    return entry.partition(":")[0] if isinstance(entry, str) else str(getattr(entry, "__module__", ""))
