"""One generation of OpenAI-ES as its equations stand: ranks by counting, the sum by a loop over individuals."""

from __future__ import annotations

import math


def shaped(scores: list[float]) -> list[float]:
    """Centred ranks, ties averaged, over their standard deviation; a score that is not finite is below all others."""
    values = [score if math.isfinite(score) else -math.inf for score in scores]
    ranks = [sum(other < mine for other in values) + (sum(other == mine for other in values) - 1) / 2 for mine in values]
    mean = sum(ranks) / len(ranks)
    std = math.sqrt(sum((rank - mean) ** 2 for rank in ranks) / len(ranks))
    return [(rank - mean) / std if std else 0.0 for rank in ranks]


def step(theta: list[float], noise: list[list[float]], scores: list[float], lr: float, sigma: float) -> list[float]:
    """theta + lr / (P sigma) * sum_i u_i noise_i, `noise` one list per individual."""
    u = shaped(scores)
    scale = lr / (len(scores) * sigma)
    return [theta[k] + scale * sum(u[i] * noise[i][k] for i in range(len(scores))) for k in range(len(theta))]
