"""The evolution loop: an iterator over generations, for the command line and for notebooks.

Classes are loaded when they are first used, so that `nchl.evolve.limits` can be read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nchl.evolve.limits import TARGET_EPISODES as TARGET_EPISODES
    from nchl.evolve.limits import Limits as Limits
    from nchl.evolve.loop import CONSTANT as CONSTANT
    from nchl.evolve.loop import Evolution as Evolution
    from nchl.evolve.records import Best as Best
    from nchl.evolve.records import Generation as Generation

# Public name -> the module that defines it.
_HOMES = {
    "Best": "records",
    "CONSTANT": "loop",
    "Evolution": "loop",
    "Generation": "records",
    "Limits": "limits",
    "TARGET_EPISODES": "limits",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"nchl.evolve.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'nchl.evolve' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
