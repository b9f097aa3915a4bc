"""Evaluation in this process: one task, one network of a whole block of individuals, used for every generation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nchl import networks, tasks
from nchl.rollout import ObservationStatistics, Rollout, evaluate, rollout
from nchl.rollout.scores import check
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.workers.base import Recipe


class LocalWorkers:
    """The workers of a run that stays in its own process; see `Workers`.

    Args:
        recipe: what to build.

    Raises:
        NchlError: the task or the network cannot be made, or the two do not fit.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.task = tasks.make(recipe.task, recipe.simulator, image_size=recipe.image_size, threads=recipe.threads)
        # A function of the settings alone: the shapes of the kernels, and with them the bits, follow from it.
        block = min(recipe.population, self.task.largest_slice)
        self.network = networks.build(
            recipe.network,
            self.task.observation_shape,
            self.task.action_size,
            population=block,
            device=recipe.device,
            backend=recipe.backend,
        )
        check(self.network, self.task)
        self.nparams = self.network.nparams
        self.observation_shape = self.task.observation_shape
        self.backend = self.network.backend
        self.simulator = self.task.simulator
        self.notes = [*self.task.notes, *self.network.notes]

    def evaluate(
        self, population: Population, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None
    ) -> Rollout:
        """See `Workers.evaluate`."""
        return rollout(
            self.network,
            self.task,
            population,
            run_seed=self._recipe.seed,
            purpose=Purpose.TRAINING,
            generation=generation,
            episodes=episodes,
            statistics=statistics,
        )

    def play(
        self,
        genome: Float[np.ndarray, " nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None = None,
    ) -> Float[np.ndarray, " episodes"]:
        """See `Workers.play`."""
        played = evaluate(
            self.network,
            self.task,
            genome,
            run_seed=self._recipe.seed,
            purpose=purpose,
            generation=generation,
            episodes=episodes,
            statistics=statistics,
        )
        return played.returns[0]

    def close(self) -> None:
        """See `Workers.close`."""
        self.task.close()
