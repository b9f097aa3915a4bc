"""Networks that rewire themselves while they act, and the evolution that finds their rules.

The names below are loaded when they are first used, so that `nchl --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nchl import rules as rules
    from nchl.errors import NchlError as NchlError

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOMES = {
    "NchlError": "nchl.errors",
}
_SUBMODULES = ("rules", "networks", "tasks", "strategies")

__all__ = ["NchlError", "__version__", "rules"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"nchl.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'nchl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_SUBMODULES})
