"""Random numbers of a perturbation: functions of the episode's seed, the same wherever they are computed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from nchl.perturbations.objects import Perturbation

if TYPE_CHECKING:
    import numpy as np

_MOMENT, _VALUE, _STREAM = 0, 1, 2


def generator(seed: int, name: str, kind: int = _STREAM) -> np.random.Generator:
    """A Philox generator of its own for each (episode's seed, name, kind)."""
    import numpy as np  # settings name perturbations, and the command line reads them without waiting for it

    key = (zlib.crc32(name.encode()), kind)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def moment_of(each: Perturbation, seed: int) -> int:
    """The step at which it comes in the episode of a seed. Equal ranges give equal moments."""
    low, high = each.moment
    return int(low if low == high else generator(seed, str(each.moment), _MOMENT).integers(int(low), int(high), endpoint=True))


def decision_of(each: Perturbation, seed: int, repeat: int) -> int:
    """The network's step at which it comes in the episode of a seed, where each action is repeated.

    A body changes in the middle of a repeated action, so it is the step of that action; all else comes with the next one.
    """
    moment = moment_of(each, seed)
    return moment // repeat if each.kind == "body" else -(-moment // repeat)


def value_of(each: Perturbation, seed: int) -> float:
    """The number of a perturbation in the episode of a seed."""
    low, high = each.number
    return low if low == high else float(generator(seed, str(each), _VALUE).uniform(low, high))
