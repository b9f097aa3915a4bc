"""The evolution loop: an iterator over generations, for the command line and for notebooks.

Classes are loaded when they are first used, so that `nchl.evolve.limits` can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nchl import lazy

if TYPE_CHECKING:
    from nchl.evolve.limits import TARGET_EPISODES as TARGET_EPISODES
    from nchl.evolve.limits import Limits as Limits
    from nchl.evolve.loop import CONSTANT as CONSTANT
    from nchl.evolve.loop import Evolution as Evolution
    from nchl.evolve.records import Best as Best
    from nchl.evolve.records import Generation as Generation

_HOMES = {
    "Best": "records",
    "CONSTANT": "loop",
    "Evolution": "loop",
    "Generation": "records",
    "Limits": "limits",
    "TARGET_EPISODES": "limits",
}

__getattr__, __dir__ = lazy.names(__name__, _HOMES)
