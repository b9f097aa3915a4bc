"""Evaluation in this process: one task, one network of the whole population, used for every generation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from nchl.rollout import ObservationStatistics, Rollout
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.workers.base import Recipe
from nchl.workers.player import Player
from nchl.workers.slices import Slice


class LocalWorkers:
    """The workers of a run that stays in its own process; see `Workers`.

    Args:
        recipe: what to build.

    Raises:
        NchlError: the task or the network cannot be made, or the two do not fit.
    """

    sent_bytes = 0
    received_bytes = 0

    def __init__(self, recipe: Recipe) -> None:
        self._player = Player(recipe)
        self.task = self._player.task
        self.nparams = self._player.nparams
        self.layout = self._player.layout
        self.observation_shape = self.task.observation_shape
        self.backend = self._player.backend
        self.simulator = self.task.simulator
        self.plastic = self._player.plastic
        self.constants: Mapping[str, np.ndarray] = self._player.constants

    @property
    def notes(self) -> list[str]:
        """See `Workers`."""
        return self._player.notes

    def evaluate(
        self, population: Population, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None
    ) -> Rollout:
        """See `Workers.evaluate`."""
        everyone = Slice(0, len(population))
        return self._player.evaluate(population, everyone, generation=generation, episodes=episodes, statistics=statistics)

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
        return self._player.play(genomes, generation=generation, purpose=purpose, episodes=episodes, statistics=statistics)

    def close(self) -> None:
        """See `Workers.close`."""
        self._player.close()
