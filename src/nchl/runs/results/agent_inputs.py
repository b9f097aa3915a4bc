"""Checks of what a loop gives to an agent: rewards and observations."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from nchl.errors import InvalidArgument

UNCHANGED = "the network was not stepped"


def number(reward: Any) -> float:
    """A reward as a float, from a number of any type or an array of one."""
    try:
        array = reward.detach().cpu().numpy() if isinstance(reward, Tensor) else np.asarray(reward)
    except ValueError:  # ragged lists
        array = np.zeros(0)
    if array.dtype.kind not in "fiub" or array.size != 1:
        raise InvalidArgument(f"reward: expected a number, got {reward!r}; {UNCHANGED}")
    if not np.isfinite(array).all():
        raise InvalidArgument(f"reward: expected a finite number, got {reward}; {UNCHANGED}")
    return float(array.reshape(()))


def refuse_not_finite(numbers: np.ndarray, wanted: str) -> None:
    """One step with a number that is not finite would spoil the weights for the rest of the lifetime."""
    bad = numbers.size - int(np.count_nonzero(np.isfinite(numbers)))
    if bad:
        raise InvalidArgument(
            f"{bad} of the {numbers.size} numbers of the observation are not {wanted}; {UNCHANGED}: "
            "look at the sensor, or act on the last good observation again"
        )
