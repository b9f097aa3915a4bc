"""Whoever plays: one task and networks of the sizes that are needed, made from a recipe. In this process or in another one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nchl import tasks
from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import build
from nchl.networks.contract.findings import hold
from nchl.networks.user import own
from nchl.rollout import LANES, Lanes, ObservationStatistics, Rollout, evaluate, rollout
from nchl.rollout.scores import check
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.tasks import Task
from nchl.user_code import using
from nchl.workers.base import Recipe
from nchl.workers.slices import Part, Slice, cut

_KEPT = 3  # networks: slices have two lengths at most, validation has one


def task_of(recipe: Recipe, simulator: str | None = None, threads: int | None = None) -> Task:
    """The task that a recipe names.

    Args:
        recipe: what to build.
        simulator: None: the recipe's own.
        threads: of the simulator; None: one per processor.

    Raises:
        NchlError: what `tasks.make` raises.
    """
    if recipe.played is not None:
        return recipe.played
    return tasks.make(
        recipe.task,
        recipe.simulator if simulator is None else simulator,
        max_episode_steps=recipe.max_episode_steps,
        image_size=recipe.image_size,
        threads=threads,
        **recipe.task_words,
    )


def network_of(recipe: Recipe, task: Task, rows: int) -> PlasticNetwork:
    """A network of `rows` individuals that computes as the run's whole population does.

    What a slice, or a single life, would choose as its back end for itself would depend on the cut, and with it the last digits.

    Raises:
        NchlError: the network cannot be made, or does not fit the task.
    """

    def with_backend(backend: str) -> PlasticNetwork:
        try:
            with using(recipe.code):
                return build(
                    recipe.network,
                    task.observation_shape,
                    task.action_size,
                    population=rows,
                    device=recipe.device,
                    backend=backend,
                    seed=recipe.seed,
                    constants=recipe.constants,
                    template=recipe.template,
                )
        except InvalidArgument as error:
            failed = error.__cause__ is not None  # the user's function itself
            if recipe.network.kind == "file" and recipe.image_size is None and (failed or task.pictures):
                raise InvalidArgument(f"{error}{_without_image_size(task)}") from error
            raise

    network = with_backend(recipe.backend)
    if recipe.backend == "auto":
        wanted = network.backend_for(min(recipe.population, task.largest_slice))
        if wanted != network.backend:
            network = with_backend(wanted)
    return network


def _hold_own(recipe: Recipe, task: Task) -> None:
    """Refuse a class of the user's that does not keep the contract of `PlasticNetwork`, before evolution begins; objects are held before.

    Raises:
        ContractError: it does not; names what is missing.
    """
    if recipe.network.kind != "file" or recipe.template is not None:
        return
    with using(recipe.code):
        made = own.at_place(recipe.network.network, task.observation_shape, task.action_size, recipe.seed)
    if isinstance(made, PlasticNetwork) and made.population is None:
        hold(made)


def _without_image_size(task: Task) -> str:
    """What a network of pictures lacks where no image size was given."""
    size = task.observation_shape[0]
    if not task.pictures:
        return f". {task.id} has no pictures: it gives vectors of {size} numbers, so that the network's function gets the shape ({size},)"
    return (
        f". {task.id} gives pictures, and without --image-size a network gets them as one vector of {size:,} numbers; add "
        "--image-size HEIGHT WIDTH (for example --image-size 64 64), and the network's function gets the shape (channels, HEIGHT, WIDTH)"
    )


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

    def evaluate(self, part: Part, backend: str, **how: Any) -> Rollout:
        """Scores of some individuals of a generation; `how`: as `rollout` wants it."""
        network = self.network(min(len(part), self.largest), backend)
        return rollout(network, self.task, part, run_seed=self.recipe.seed, purpose=Purpose.TRAINING, **how)

    def play(self, first: int, after: int, backend: str, genomes: np.ndarray, **how: Any) -> Float[np.ndarray, "k part"]:
        """Returns of a few individuals in the episodes from `first` to before `after`; `how`: as `rollout.evaluate` wants it."""
        network = self.network(min(len(genomes) * (after - first), self.largest), backend)
        seed = self.recipe.seed
        return evaluate(network, self.task, genomes, run_seed=seed, first_episode=first, episodes=after - first, **how).returns

    def close(self) -> None:
        """Give back the simulator and the networks; a task that was given as an object stays its owner's."""
        if self.task is not self.recipe.played:
            self.task.close()
        self.networks.clear()


class Player:
    """Plays slices of a generation, and lives of a few individuals, in two lanes where the simulator can be divided.

    Args:
        recipe: what to build.

    Attributes:
        task: what is played.
        backend: "eager" or "compiled", from the configuration alone.
        nparams: length of a genome.
        layout: its named blocks.
        plastic: whether the networks rewire themselves.
        constants: of the networks, see `PlasticNetwork.constants`.

    Raises:
        NchlError: the task or the network cannot be made, or the two do not fit.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.task = task_of(recipe, threads=recipe.threads)
        _hold_own(recipe, self.task)
        probe = network_of(recipe, self.task, 2)
        check(probe, self.task)
        self.nparams, self.layout, self.plastic = probe.nparams, probe.layout, probe.plastic
        self.constants = {name: tensor.detach().cpu().numpy().copy() for name, tensor in probe.constants().items()}
        # Every network from now on, here and at the workers that get this recipe, has exactly these.
        self.recipe = recipe = replace(recipe, constants=self.constants or None)
        self.backend = probe.backend
        self._notes = list(probe.notes)
        # A device of its own works for all lanes, one after the other.
        parts = self.task.divided(LANES) if torch.device(recipe.device).type == "cpu" else [self.task]
        self._lanes = [Lane(recipe, part, -(-self.task.largest_slice // len(parts))) for part in parts]
        self._threads = Lanes(len(parts))

    @property
    def notes(self) -> list[str]:
        """Lines for the user; a network may find only at its first step that there is no compiler."""
        found = [*self.task.notes, *self._notes]
        for lane in self._lanes:
            found += [*lane.notes, *(note for network in lane.networks.values() for note in network.notes)]
        return list(dict.fromkeys(found))

    def warm_up(self) -> None:
        """Compile what has to be compiled, so that `backend` is what it will be and no slice waits for it."""
        network = self._lanes[0].network(2, self.backend)
        network.set_hrules(np.zeros(self.nparams, dtype=np.float32))
        network.reset()
        network.step(torch.zeros(2, *self.task.observation_shape, device=self.recipe.device))
        self.backend = network.backend

    def evaluate(
        self,
        population: Population,
        slice_: Slice,
        *,
        generation: int,
        episodes: int,
        statistics: ObservationStatistics | None,
        slot: int = 0,
    ) -> Rollout:
        """Scores of the individuals of a slice.

        Args:
            population: the generation's, whole.
            slice_: whom to play.
            generation: counted from 0.
            episodes: of each individual.
            statistics: normalisation of the observations.
            slot: which slice of this generation it is for this player, from 0: a simulator that outlives a generation is kept for each.
        """
        how: dict[str, Any] = {
            "generation": generation,
            "episodes": episodes,
            "statistics": statistics,
            "slot": slot,
            "stop": self._threads.stop,
        }
        slices = [Slice(slice_.start + part.start, slice_.start + part.stop) for part in cut(len(slice_), len(self._lanes))]
        jobs = [
            partial(lane.evaluate, Part(population, part), self.backend, **how)
            for lane, part in zip(self._lanes[: len(slices)], slices, strict=True)
        ]
        return Rollout.concatenate(self._threads.run(jobs))

    def play(
        self,
        genomes: Float[np.ndarray, "k nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None,
        first_episode: int = 0,
    ) -> Float[np.ndarray, "k episodes"]:
        """Returns of a few individuals in the episodes from `first_episode` on, who all meet the same starts."""
        how: dict[str, Any] = {"generation": generation, "purpose": purpose, "statistics": statistics, "stop": self._threads.stop}
        count = min(len(self._lanes), episodes)
        edges = pairwise(first_episode + episodes * part // count for part in range(count + 1))
        jobs = [partial(lane.play, *edge, self.backend, genomes, **how) for lane, edge in zip(self._lanes[:count], edges, strict=True)]
        return np.concatenate(self._threads.run(jobs), axis=1)

    def close(self) -> None:
        """Give back the simulators, the networks and the threads."""
        self._threads.close()
        for lane in self._lanes:
            lane.close()
        if self.task is not self.recipe.played:
            self.task.close()
