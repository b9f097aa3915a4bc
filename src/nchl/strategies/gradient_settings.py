"""Settings of gradient searches that belong together: sigma and the learning rate follow from the optimizer.

Plain steps have the published values, Adam and ClipUp those that docs/search.md found.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class GradientSettings(NamedTuple):
    """The three settings; `lr` is None where it depends on the length of the genome, see `step_length`."""

    optimizer: str
    sigma: float
    lr: float | None


def gradient_settings(optimizer: str, sigma: float | None = None, lr: float | None = None) -> GradientSettings:
    """The optimizer, with sigma and the learning rate where they are not given."""
    if sigma is None:
        sigma = 0.3 if optimizer == "clipup" else 0.1
    if lr is None:
        lr = 0.2 if optimizer == "sgd" else 0.15 if optimizer == "adam" else None
    return GradientSettings(optimizer, sigma, lr)


def step_length(sigma: float, size: int) -> float:
    """The length of ClipUp's steps where it is not given: a quarter of the distribution's radius."""
    return sigma * math.sqrt(size) / 4
