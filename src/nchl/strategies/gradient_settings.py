"""Settings of gradient searches that belong together: sigma and the learning rate follow from the optimizer.

Plain steps of OpenAI-ES have the published values, Adam and ClipUp those that docs/search.md found. PGPE's gradient is smaller than that of
OpenAI-ES by sigma^2 and the scale of its ranks, so its plain steps have a rate of their own, which gives the same step in units of sigma
for every sigma. 20 was chosen on the sphere (20 and 100 dimensions, sigma 0.1 and 0.5).
"""

from __future__ import annotations

import math
from typing import NamedTuple

PLAIN = {"openai-es": 0.2, "pgpe": 20.0}  # strategy -> learning rate of plain steps


class GradientSettings(NamedTuple):
    """The three settings; `lr` is None where it depends on the length of the genome, see `step_length`."""

    optimizer: str
    sigma: float
    lr: float | None


def gradient_settings(strategy: str, optimizer: str, sigma: float | None = None, lr: float | None = None) -> GradientSettings:
    """The optimizer of a strategy, with sigma and the learning rate where they are not given."""
    if sigma is None:
        sigma = 0.3 if optimizer == "clipup" else 0.1
    if lr is None:
        lr = PLAIN[strategy] if optimizer == "sgd" else 0.15 if optimizer == "adam" else None
    return GradientSettings(optimizer, sigma, lr)


def step_length(sigma: float, size: int) -> float:
    """The length of ClipUp's steps where it is not given: a quarter of the distribution's radius."""
    return sigma * math.sqrt(size) / 4
