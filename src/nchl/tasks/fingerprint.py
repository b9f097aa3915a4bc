"""Fingerprint of a Gymnasium environment, so that a run can tell whether it is still the one that it was evolved in.

The files of a user's module (and those beside it that it imports) by their SHA-256, packages by their version, and how the
environment is registered: its entry point, its keyword arguments, its limit of steps. Gymnasium's own environments and
EnvPool's are not looked at: the versions of these packages say it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nchl.simulators import bullet
from nchl.sources import digests, is_installed, with_imports
from nchl.tasks.task import Task

_DEEPEST = 4  # levels of a keyword argument that are looked at


def fingerprint(task: Task) -> dict[str, Any] | None:
    """Plain data, equal for equal environments; None where the simulator's version says all.

    Args:
        task: as `tasks.make` made it, so that its environment is registered.

    Returns:
        `entry_point`, `kwargs`, `max_episode_steps`, `wrappers`, `files` (name -> SHA-256), `packages` (name -> version).
    """
    if task.simulator.name != "gymnasium":
        return None
    if task.id == bullet.ID:
        return {"packages": _package(bullet.MODULE)}
    registry = sys.modules["gymnasium"].registry
    module, _, name = task.id.rpartition(":")
    spec = registry.get(name)
    if spec is None:  # an id without a version stands for the newest one
        spec = sys.modules["gymnasium"].spec(name)
    entry = spec.entry_point
    maker = entry.partition(":")[0] if isinstance(entry, str) else str(getattr(entry, "__module__", ""))
    wrappers = [place.rpartition(":")[0] for place in getattr(task.simulator, "recipe", {}).get("wrap", ()) if ".py:" not in place]
    modules = [each for each in dict.fromkeys((module, maker, *wrappers)) if each and each.partition(".")[0] != "gymnasium"]
    if not modules:
        return None
    files: dict[str, str] = {}
    packages: dict[str, str] = {}
    for each in modules:
        files |= {key: digest for key, digest in _files(each, entry).items() if key not in files}
        packages |= _package(each.partition(".")[0])
    return {
        "entry_point": entry if isinstance(entry, str) else _name(entry),
        "kwargs": _plain(spec.kwargs, 0),
        "max_episode_steps": spec.max_episode_steps,
        "wrappers": [[each.name, each.entry_point, _plain(each.kwargs, 0)] for each in spec.additional_wrappers],
        "files": dict(sorted(files.items())),
        "packages": dict(sorted(packages.items())),
    }


def _files(module: str, entry: Any) -> dict[str, str]:
    """Digests of a module's files; of a script or notebook, which is no module, the digest of the class's own lines."""
    if module == "__main__":
        try:
            return {f"__main__:{_name(entry)}": hashlib.sha256(inspect.getsource(entry).encode()).hexdigest()}
        except (OSError, TypeError):  # typed in
            return {}
    place = getattr(sys.modules.get(module), "__file__", None)
    if place is None or not place.endswith(".py"):
        return {}
    file = Path(place).resolve()
    levels = module.count(".") + (file.name == "__init__.py")
    try:
        return digests(with_imports(file, file.parents[levels]))
    except (OSError, ValueError, IndexError):
        return {}


def _package(name: str) -> dict[str, str]:
    """The version of an installed package, by the name that pip knows; nothing where a module is just a file."""
    try:
        return {name: importlib.metadata.version(name)}
    except (importlib.metadata.PackageNotFoundError, ValueError):
        pass
    place = getattr(sys.modules.get(name), "__file__", None)
    if place is None or not any(is_installed(folder) for folder in Path(place).parents):
        return {}
    return {each: importlib.metadata.version(each) for each in importlib.metadata.packages_distributions().get(name, [])}


def _name(entry: Any) -> str:
    return f"{getattr(entry, '__module__', '')}:{getattr(entry, '__qualname__', type(entry).__qualname__)}"


def _plain(value: Any, depth: int) -> Any:
    """A keyword argument as JSON that is the same in every process: no address, no NaN."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.generic):
        return _plain(value.item(), depth)
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest() if value.dtype.kind in "fiub" else ""
        return ["array", str(value.dtype), list(value.shape), content]
    if isinstance(value, Path):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    if depth >= _DEEPEST:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_plain(item, depth + 1), sort_keys=True) for item in value)
    return [_name(type(value)), _plain(dict(sorted(vars(value).items())), depth + 1) if hasattr(value, "__dict__") else ""]
