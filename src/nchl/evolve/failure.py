"""The error of a generation in which no individual has a finite score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nchl.errors import NchlError
from nchl.workers import Workers


def refuse_nothing_finite(fitness: Float[np.ndarray, " population"], number: int, workers: Workers) -> None:
    """Refuse scores of which none is finite.

    Args:
        fitness: the scores of a generation.
        number: of the generation, from 0.
        workers: that have evaluated it.

    Raises:
        NchlError: there is nothing to rank; names the task.
    """
    if np.isfinite(fitness).any():
        return
    task = getattr(workers, "task", None)
    where = "" if task is None else f" on {task.id}"
    raise NchlError(
        f"generation {number + 1} has no finite score{where}, so there is nothing to rank: each of the {len(fitness)} individuals had a "
        "reward, an observation, an output or a weight that was not finite. If it is a reward or an observation, correct the environment; "
        "if the weights grow without bound, write --normalise max or a smaller --sigma"
    )
