"""Evaluation in this process: one task, in two lanes if the simulator can be divided.

A worker process uses the same class for its slices of the population.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nchl.rollout import LANES, Lanes, ObservationStatistics, Rollout
from nchl.rollout.scores import check
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.workers.base import Recipe
from nchl.workers.build import hold_own, network_of, task_of
from nchl.workers.lane import Lane
from nchl.workers.slices import Slice, cut


class LocalWorkers:
    """Evaluates in this process; see `Workers`.

    Args:
        recipe: the task and the network.

    Attributes:
        recipe: the recipe with the networks' constants, which all networks made from it have.

    Raises:
        NchlError: the task or the network cannot be made, or the two do not fit.
    """

    sent_bytes = 0
    received_bytes = 0

    def __init__(self, recipe: Recipe) -> None:
        self.task = task_of(recipe, threads=recipe.threads)
        hold_own(recipe, self.task)
        probe = network_of(recipe, self.task, 2)
        check(probe, self.task)
        self.nparams, self.layout, self.plastic = probe.nparams, probe.layout, probe.plastic
        self.constants: Mapping[str, np.ndarray] = {
            name: tensor.detach().cpu().numpy().copy() for name, tensor in probe.constants().items()
        }
        self.recipe = recipe = replace(recipe, constants=self.constants or None)
        self.backend = probe.backend
        self.observation_shape, self.simulator = self.task.observation_shape, self.task.simulator.name
        self._notes = list(probe.notes)
        # On a GPU two lanes would only wait for each other.
        parts = self.task.divided(LANES) if torch.device(recipe.device).type == "cpu" else [self.task]
        self._lanes = [Lane(recipe, part, -(-self.task.largest_slice // len(parts))) for part in parts]
        self._threads = Lanes(len(parts))

    @property
    def notes(self) -> list[str]:
        """See `Workers`; a network may report a missing compiler at its first step only."""
        found = [*self.task.notes, *self._notes]
        for lane in self._lanes:
            found += [*lane.notes, *(note for network in lane.networks.values() for note in network.notes)]
        return list(dict.fromkeys(found))

    def warm_up(self) -> None:
        """Compile the step, so that `backend` is final and no slice waits for the compiler."""
        network = self._lanes[0].network(2, self.backend)
        network.set_hrules(np.zeros(self.nparams, dtype=np.float32))
        network.reset()
        network.step(torch.zeros(2, *self.task.observation_shape, device=self.recipe.device))
        self.backend = network.backend

    def rollout(
        self,
        population: Population | Slice,
        *,
        generation: int,
        episodes: int = 1,
        statistics: ObservationStatistics | None = None,
        slot: int = 0,
    ) -> Rollout:
        """See `Workers.rollout`.

        Args:
            population: the generation's, or a slice of it.
            generation: counted from 0.
            episodes: of each individual.
            statistics: normalisation of the observations.
            slot: ordinal of the slice within this generation and process, from 0; simulators that are reused are kept for each slot.
        """
        how: dict[str, Any] = {
            "generation": generation,
            "episodes": episodes,
            "statistics": statistics,
            "slot": slot,
            "stop": self._threads.stop,
        }
        slices = cut(population, len(self._lanes))
        jobs = [partial(lane.rollout, part, self.backend, **how) for lane, part in zip(self._lanes[: len(slices)], slices, strict=True)]
        return Rollout.concatenate(self._threads.run(jobs))

    def evaluate(
        self,
        genomes: Float[np.ndarray, "k nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None = None,
        first_episode: int = 0,
    ) -> Float[np.ndarray, "k episodes"]:
        """See `Workers.evaluate`; `first_episode` is the first episode's number."""
        how: dict[str, Any] = {"generation": generation, "purpose": purpose, "statistics": statistics, "stop": self._threads.stop}
        count = min(len(self._lanes), episodes)
        edges = pairwise(first_episode + episodes * part // count for part in range(count + 1))
        jobs = [partial(lane.evaluate, *edge, self.backend, genomes, **how) for lane, edge in zip(self._lanes[:count], edges, strict=True)]
        return np.concatenate(self._threads.run(jobs), axis=1)

    def close(self) -> None:
        """See `Workers.close`."""
        self._threads.close()
        for lane in self._lanes:
            lane.close()
        if self.task is not self.recipe.played:
            self.task.close()
