"""A lane: a simulator and its networks, which one thread plays with."""

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

_KEPT = 3  # networks: slices have two lengths at most, validation has one


class Lane:
    """A simulator and its networks, for one thread at a time.

    Args:
        recipe: what to build.
        task: the lane's own.
        largest: individuals that it steps side by side at most.
    """

    def __init__(self, recipe: Recipe, task: Task, largest: int) -> None:
        self.recipe, self.task, self.largest = recipe, task, largest
        self.networks: dict[int, PlasticNetwork] = {}
        self.notes: list[str] = []

    def network(self, rows: int, backend: str) -> PlasticNetwork:
        """A network of so many individuals, the latest few of which are kept."""
        # A compiled function is a special one where there is but one row.
        rows = max(rows, 2)
        network = self.networks.pop(rows, None) or network_of(replace(self.recipe, backend=backend), self.task, rows)
        self.networks[rows] = network  # the latest stands last
        while len(self.networks) > _KEPT:
            dropped = self.networks.pop(next(iter(self.networks)))
            self.notes += dropped.notes
        return network

    def rollout(self, part: Slice, backend: str, **how: Any) -> Rollout:
        """Scores of some individuals of a generation; `how`: as `nchl.rollout.rollout` wants it."""
        network = self.network(min(len(part), self.largest), backend)
        return rollout(network, self.task, part, run_seed=self.recipe.seed, purpose=Purpose.TRAINING, **how)

    def evaluate(self, first: int, after: int, backend: str, genomes: np.ndarray, **how: Any) -> Float[np.ndarray, "k part"]:
        """Returns of a few individuals in the episodes from `first` to before `after`; `how`: as `nchl.rollout.evaluate` wants it."""
        network = self.network(min(len(genomes) * (after - first), self.largest), backend)
        seed = self.recipe.seed
        return evaluate(network, self.task, genomes, run_seed=seed, first_episode=first, episodes=after - first, **how).returns

    def close(self) -> None:
        """Give back the simulator and the networks; a task that was given as an object stays its owner's."""
        if self.task is not self.recipe.played:
            self.task.close()
        self.networks.clear()
