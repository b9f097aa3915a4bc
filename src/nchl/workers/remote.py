"""Evaluation by a pool of workers: cuts a generation into slices and joins their scores."""

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
from nchl.workers.messages import describe_recipe, describe_shared, identity, parse_returns, parse_scores
from nchl.workers.processes import Processes
from nchl.workers.slices import SLICES_PER_WORKER, cut
from nchl.workers.supervisor import Job, Pool, Supervisor, check_count
from nchl.workers.timeouts import Timeouts


class RemoteWorkers:
    """Workers that are other processes, here or on other machines; see `Workers`.

    This process makes the task and a network too: mistakes are found before any worker starts, and the identity of this process is
    the one that workers must report.

    Args:
        here: made from the recipe in this process.
        pool: the workers.
        timeouts: their time limits.

    Raises:
        WorkerError: the pool cannot be started.
    """

    def __init__(self, here: LocalWorkers, pool: Pool, timeouts: Timeouts | None = None) -> None:
        self._here, self._pool = here, pool
        self.nparams = here.nparams
        self.layout = here.layout
        self.observation_shape = here.task.observation_shape
        self.backend = here.backend
        self.simulator = here.simulator
        self.plastic = here.plastic
        self.constants: Mapping[str, np.ndarray] = here.constants
        self.task = here.task
        self._supervisor = Supervisor(pool, identity(here), timeouts)
        self._numbers = itertools.count()
        try:
            pool.start_missing()
        except BaseException:
            self.close()
            raise

    @property
    def notes(self) -> list[str]:
        """See `Workers`; notes on lost workers are included."""
        return [*self._here.notes, *self._supervisor.notes]

    @property
    def sent_bytes(self) -> int:
        """See `Workers`."""
        return self._pool.sent_bytes

    @property
    def received_bytes(self) -> int:
        """See `Workers`."""
        return self._pool.received_bytes

    def rollout(
        self, population: Population, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None
    ) -> Rollout:
        """See `Workers.rollout`.

        Raises:
            WorkerError: workers were lost again and again.
        """
        task, size = self._here.task, self._pool.size
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
        """See `Workers.evaluate`; each worker runs some of the episodes of every individual.

        Raises:
            WorkerError: workers were lost again and again.
        """
        genomes = np.atleast_2d(np.asarray(genomes))
        pieces = min(episodes, max(1, self._pool.size))  # a cluster may be without processors for a moment
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
        self._pool.close()
        self._here.close()

    def _share(self, message: Message) -> int:
        key = next(self._numbers)
        self._pool.share(key, message)
        return key

    def _job(self, header: dict[str, Any], key: int, most_steps: int, name: str, arrays: dict[str, np.ndarray] | None = None) -> Job:
        header = {**header, "shared": key, "id": next(self._numbers)}
        return Job(Message(header, arrays or {}), most_steps, name)


def process_workers(recipe: Recipe, count: int, timeouts: Timeouts | None = None) -> RemoteWorkers:
    """Workers in processes on this machine, which share its processors evenly.

    Args:
        recipe: the task and the network; its `threads` are those of each worker, None: processors // count.
        count: number of processes.
        timeouts: their time limits.

    Raises:
        InvalidArgument: `count` is below 1.
        WorkerError: the system cannot start so many processes.
        NchlError: the task or the network cannot be made.
    """
    check_count("workers", count)
    threads = recipe.threads or max(1, len(cores.available()) // count)
    here = LocalWorkers(replace(recipe, threads=threads))
    here.warm_up()
    return RemoteWorkers(here, Processes(describe_recipe(here.recipe), count, threads), timeouts)
