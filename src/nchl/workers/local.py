"""Evaluation in this process: one task, one network of a whole block of individuals, used for every generation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nchl import tasks
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import build
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
        self._block = block
        self.network = self._build(block)
        check(self.network, self.task)
        self._players: dict[int, PlasticNetwork] = {}
        self.nparams = self.network.nparams
        self.observation_shape = self.task.observation_shape
        self.backend = self.network.backend
        self.simulator = self.task.simulator

    @property
    def notes(self) -> list[str]:
        """See `Workers`; a network may find only at its first step that there is no compiler."""
        return [*self.task.notes, *self.network.notes]

    def _build(self, population: int) -> PlasticNetwork:
        recipe, task = self._recipe, self.task
        return build(
            recipe.network,
            task.observation_shape,
            task.action_size,
            population=population,
            device=recipe.device,
            backend=recipe.backend,
        )

    def _player(self, lives: int) -> PlasticNetwork:
        """A network for so many lives side by side. Where a step is compiled, once is enough: then it is the whole block."""
        if self.backend == "compiled" or lives >= self._block:
            return self.network
        if lives not in self._players:
            self._players[lives] = self._build(lives)
        return self._players[lives]

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
        genomes: Float[np.ndarray, "k nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None = None,
    ) -> Float[np.ndarray, "k episodes"]:
        """See `Workers.play`."""
        played = evaluate(
            self._player(len(genomes) * episodes),
            self.task,
            genomes,
            run_seed=self._recipe.seed,
            purpose=purpose,
            generation=generation,
            episodes=episodes,
            statistics=statistics,
        )
        return played.returns

    def close(self) -> None:
        """See `Workers.close`."""
        self.task.close()
