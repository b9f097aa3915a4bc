"""The loop's side of workers elsewhere: cuts a generation into slices, has them played by a crew, puts the scores together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl import cores
from nchl.rollout import ObservationStatistics, Rollout
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.wire import Message
from nchl.workers.base import Recipe
from nchl.workers.local import LocalWorkers
from nchl.workers.patience import Patience
from nchl.workers.processes import Processes
from nchl.workers.requests import describe_recipe, describe_shared, identity, parse_returns, parse_scores
from nchl.workers.slices import SLICES_PER_WORKER, cut
from nchl.workers.supervisor import Crew, Job, Supervisor, check_count


class RemoteWorkers:
    """Workers that are other processes, here or on other machines; see `Workers`.

    This process makes the task and a network of two as well: what cannot be made is found here first, and what this process
    would compute is what the others must compute.

    Args:
        here: made from the recipe in this process.
        crew: what is asked.
        patience: how long they may take.

    Raises:
        WorkerError: the crew cannot be started.
    """

    def __init__(self, here: LocalWorkers, crew: Crew, patience: Patience | None = None) -> None:
        self._here, self._crew = here, crew
        self.nparams = here.nparams
        self.layout = here.layout
        self.observation_shape = here.task.observation_shape
        self.backend = here.backend
        self.simulator = here.simulator
        self.plastic = here.plastic
        self.constants: Mapping[str, np.ndarray] = here.constants
        self.task = here.task
        self._supervisor = Supervisor(crew, identity(here), patience)
        self._numbers = itertools.count()
        try:
            crew.muster()
        except BaseException:
            self.close()
            raise

    @property
    def notes(self) -> list[str]:
        """See `Workers`; what has happened to workers is among them."""
        return [*self._here.notes, *self._supervisor.notes]

    @property
    def sent_bytes(self) -> int:
        """See `Workers`."""
        return self._crew.sent_bytes

    @property
    def received_bytes(self) -> int:
        """See `Workers`."""
        return self._crew.received_bytes

    def rollout(
        self, population: Population, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None
    ) -> Rollout:
        """See `Workers.rollout`.

        Raises:
            WorkerError: workers were lost again and again.
        """
        task, size = self._here.task, self._crew.size
        slices = cut(population, 1 if size <= 1 else SLICES_PER_WORKER * size, task.largest_slice)
        key = self._share(describe_shared(population, statistics))
        jobs = [
            self._job(
                {"do": "rollout", "slice": [each.start, each.stop], "generation": generation, "episodes": episodes},
                key,
                len(each) * episodes * task.step_limit,
                f"the slice of individuals {each.start} to {each.stop - 1} of generation {generation + 1}",
            )
            for each in slices
        ]
        observation = None if statistics is None else task.observation_shape

        def parse(job: Job, answer: Message) -> tuple[Rollout, int]:
            start, stop = job.request.header["slice"]
            scores = parse_scores(answer, stop - start, episodes, task.step_limit, observation)
            return scores, scores.env_steps

        return Rollout.concatenate(self._supervisor.run(jobs, parse))

    def evaluate(
        self,
        genomes: Float[np.ndarray, "k nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None = None,
    ) -> Float[np.ndarray, "k episodes"]:
        """See `Workers.evaluate`; each worker plays some of the episodes of every individual.

        Raises:
            WorkerError: workers were lost again and again.
        """
        genomes = np.atleast_2d(np.asarray(genomes))
        pieces = min(episodes, max(1, self._crew.size))  # a cluster may have no processor for a moment
        edges = [episodes * piece // pieces for piece in range(pieces + 1)]
        key = self._share(describe_shared(None, statistics))
        jobs = [
            self._job(
                {"do": "evaluate", "generation": generation, "purpose": int(purpose), "first_episode": first, "episodes": last - first},
                key,
                len(genomes) * (last - first) * self._here.task.step_limit,
                f"validation episodes {first} to {last - 1} of generation {generation + 1}",
                {"genomes": genomes},
            )
            for first, last in itertools.pairwise(edges)
        ]

        def parse(job: Job, answer: Message) -> tuple[np.ndarray, int]:
            return parse_returns(answer, len(genomes), job.request.header["episodes"]), job.most_steps

        return np.concatenate(self._supervisor.run(jobs, parse), axis=1)

    def close(self) -> None:
        """See `Workers.close`."""
        self._crew.close()
        self._here.close()

    def _share(self, message: Message) -> int:
        key = next(self._numbers)
        self._crew.share(key, message)
        return key

    def _job(self, header: dict[str, Any], key: int, most_steps: int, name: str, arrays: dict[str, np.ndarray] | None = None) -> Job:
        header = {**header, "shared": key, "id": next(self._numbers)}
        return Job(Message(header, arrays or {}), most_steps, name)


def process_workers(recipe: Recipe, count: int, patience: Patience | None = None) -> RemoteWorkers:
    """Workers in processes on this machine, which share its processors evenly.

    Args:
        recipe: what to build; its `threads` are each worker's, None: processors // count.
        count: number of processes.
        patience: how long they may take.

    Raises:
        InvalidArgument: no process.
        WorkerError: so many processes cannot be started.
        NchlError: the task or the network cannot be made.
    """
    check_count("workers", count)
    threads = recipe.threads or max(1, len(cores.available()) // count)
    here = LocalWorkers(replace(recipe, threads=threads))
    here.warm_up()
    return RemoteWorkers(here, Processes(describe_recipe(here.recipe), count, threads), patience)
