"""Runs rollouts for one recipe, in one thread: a simulator and its networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl.networks.base import PlasticNetwork
from nchl.rollout import Rollout, evaluate, rollout
from nchl.seeds import Purpose
from nchl.tasks import Task
from nchl.workers.base import Recipe
from nchl.workers.build import network_of
from nchl.workers.slices import Slice

_KEPT = 3  # networks: slices have at most two lengths, validation has one


class Lane:
    """A simulator and its networks, for one thread at a time.

    Args:
        recipe: the task and the network.
        task: the lane's own task.
        largest: most individuals that step together.
    """

    def __init__(self, recipe: Recipe, task: Task, largest: int) -> None:
        self.recipe, self.task, self.largest = recipe, task, largest
        self.networks: dict[int, PlasticNetwork] = {}
        self.notes: list[str] = []

    def network(self, rows: int, backend: str) -> PlasticNetwork:
        """A network of so many individuals; the networks used last are cached."""
        # torch compiles another function for a single row.
        rows = max(rows, 2)
        network = self.networks.pop(rows, None) or network_of(replace(self.recipe, backend=backend), self.task, rows)
        self.networks[rows] = network  # the most recent one is last
        while len(self.networks) > _KEPT:
            dropped = self.networks.pop(next(iter(self.networks)))
            self.notes += dropped.notes
        return network

    def rollout(self, part: Slice, backend: str, **how: Any) -> Rollout:
        """Scores of some individuals of a generation; `how`: keywords of `nchl.rollout.rollout`."""
        network = self.network(min(len(part), self.largest), backend)
        return rollout(network, self.task, part, run_seed=self.recipe.seed, purpose=Purpose.TRAINING, **how)

    def evaluate(self, first: int, after: int, backend: str, genomes: np.ndarray, **how: Any) -> Float[np.ndarray, "k part"]:
        """Returns of a few individuals in the episodes from `first` to before `after`; `how`: keywords of `nchl.rollout.evaluate`."""
        network = self.network(min(len(genomes) * (after - first), self.largest), backend)
        seed = self.recipe.seed
        return evaluate(network, self.task, genomes, run_seed=seed, first_episode=first, episodes=after - first, **how).returns

    def close(self) -> None:
        """Release the simulator and the networks. A task that was given as an object is left open."""
        if self.task is not self.recipe.played:
            self.task.close()
        self.networks.clear()
