"""The protocol between the loop and what evaluates populations.

The loop passes a population and gets scores; it does not know where they are computed. A worker builds its task and its network from a
`Recipe`, plain data that is sent once; afterwards each generation sends the population's description alone (`Population.describe`).

Scores are a function of (recipe, population, generation), wherever and in whatever slices they are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from nchl.genome import Layout
from nchl.networks.build import NetworkSpec
from nchl.rollout import ObservationStatistics, Rollout
from nchl.seeds import Purpose
from nchl.strategies import Population
from nchl.tasks import Task


@dataclass(frozen=True)
class Recipe:
    """The description of a task and a network, from which a worker builds them.

    Attributes:
        task: the task's id.
        network: the network.
        seed: the run's seed.
        population: individuals in a generation.
        simulator: its name, or "auto".
        image_size: (height, width) for networks of pictures.
        max_episode_steps: another limit of an episode than the task's own.
        observe: the parts of observations that networks get, see `tasks.make`; None: all.
        env: settings of the environment.
        action_repeat: steps of the environment for each action.
        wrap: wrappers for a Gymnasium environment, the innermost first.
        perturb: perturbations of every episode, see `tasks.make`.
        perturb_training: sets of perturbations; one is drawn for each episode.
        backend: "auto", "eager" or "compiled".
        device: of the networks.
        threads: of the simulator; None: one per processor. Scores do not depend on it.
        constants: of the network, see `PlasticNetwork.constants`; None: drawn from the seed.
        code: the text of the user's files that `network` and `wrap` name, by path, see `user_code.using`; others are read from the disk.
        template: a network given as an object that cannot be described by plain data, see `networks.user.own`; it stays in this process.
        played: a task given as an object that cannot be made from its name; it stays in this process.
    """

    task: str
    network: NetworkSpec
    seed: int
    population: int
    simulator: str = "auto"
    image_size: tuple[int, int] | None = None
    max_episode_steps: int | None = None
    observe: tuple[str, ...] | None = None
    env: Mapping[str, Any] | None = field(default=None, hash=False)
    action_repeat: int = 1
    wrap: tuple[str, ...] = ()
    perturb: tuple[str, ...] = ()
    perturb_training: tuple[str, ...] = ()
    backend: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    constants: Mapping[str, np.ndarray] | None = field(default=None, compare=False)
    code: Mapping[str, bytes] = field(default_factory=dict, hash=False)
    template: Any = field(default=None, compare=False, hash=False)
    played: Task | None = field(default=None, compare=False, hash=False)

    @property
    def task_words(self) -> dict[str, Any]:
        """The further keywords of `tasks.make`: all but the task's id, the simulator, sizes and limits."""
        wrong = {"perturb": self.perturb, "perturb_training": self.perturb_training}
        return {
            "observe": self.observe,
            "env": self.env,
            "action_repeat": self.action_repeat,
            "wrap": self.wrap,
            "texts": self.code,
            **wrong,
        }


class Workers(Protocol):
    """Evaluates populations.

    Attributes:
        nparams: length of a genome.
        layout: its named blocks.
        observation_shape: shape of the network's observations.
        backend: "eager" or "compiled": how the networks' step is computed.
        simulator: the simulator's name.
        plastic: whether the networks are plastic.
        constants: of the networks, equal on all workers; most networks have none.
        task: the task in this process.
    """

    nparams: int
    layout: Layout
    observation_shape: tuple[int, ...]
    backend: str
    simulator: str
    plastic: bool
    constants: Mapping[str, np.ndarray]
    task: Task

    @property
    def sent_bytes(self) -> int:
        """Bytes sent to other processes so far."""
        ...

    @property
    def received_bytes(self) -> int:
        """Bytes received from other processes so far."""
        ...

    @property
    def notes(self) -> list[str]:
        """Lines for the user; a generation may add some."""
        ...

    def rollout(
        self, population: Population, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None
    ) -> Rollout:
        """Score every individual on the training starts of a generation (counted from 0)."""
        ...

    def evaluate(
        self,
        genomes: Float[np.ndarray, "k nparams"],
        *,
        generation: int,
        purpose: Purpose,
        episodes: int,
        statistics: ObservationStatistics | None = None,
    ) -> Float[np.ndarray, "k episodes"]:
        """Returns of a few individuals on the same starts, one per episode; NaN for an episode that was not finite."""
        ...

    def close(self) -> None:
        """Release processes, threads and memory."""
        ...
