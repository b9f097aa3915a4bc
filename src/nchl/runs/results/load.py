"""`net, task = nchl.load(RUN)`: a run's result for a loop of your own, or a robot.

net, task = nchl.load("runs/first")
net.reset()                         # before each episode
action = net.act(observation)       # also one update of the weights; net.act(observation, reward) if the network learns from rewards
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nchl.errors import InvalidArgument, NchlError
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import build
from nchl.networks.graph.lifetime import MissingReward
from nchl.rollout import ObservationStatistics
from nchl.runs.results.result import read_result
from nchl.runs.search.objects import Objects
from nchl.runs.store import trust
from nchl.simulators.host import tensor_of, type_of_actions
from nchl.tasks import Task, recorded
from nchl.user_code import using
from nchl.workers.build import task_of


class Agent:
    """A network with the normalisation of its observations and the mapping of its actions. Other attributes are the network's.

    Attributes:
        network: the plastic network of one individual, with its rules set.
        statistics: the normalisation of its observations, or None.
    """

    def __init__(self, network: PlasticNetwork, task: Task, statistics: ObservationStatistics | None) -> None:
        self.network = network
        self.statistics = statistics
        self._task = task
        self.reset()

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # not set yet, while the agent is being copied
            raise AttributeError(name)
        return getattr(self.network, name)

    def reset(self, seed: int | None = None) -> None:
        """Begin a new lifetime, with initial weights as in each episode of the evolution.

        Args:
            seed: of the initial weights; None: the next ones of the network's generator.
        """
        self.network.reset(generator=None if seed is None else torch.Generator().manual_seed(seed))

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """The action for one observation, and one step of plasticity.

        Args:
            observation: of the Gymnasium environment, without any leading axis; a dict or tuple if it has parts. If the task repeats
                actions (`task.action_repeat`), the one after the last repetition.
            reward: of the last action; only a network that learns from rewards uses it. None on an episode's first step, where such a
                network refuses any other.

        Returns:
            An action for `env.step`: an integer for Discrete, an array within the bounds for Box.

        Raises:
            ShapeError: an observation of another shape than the task's.
            InvalidArgument: not numbers, numbers that are not finite, or no reward though the network needs one; the network is unchanged.
            OrderError: a reward on the first step; the network was not stepped.
            NchlError: the network's outputs are no longer finite.
        """
        raw = self._task.simulator.packing.of_one(observation)
        _refuse_not_finite(raw, "finite")
        seen = self._task.map_observations(tensor_of(raw))
        if self.statistics is not None:
            seen = self.statistics.normalise(seen)
        inputs = seen[0].to(self.network.device, self.network.dtype)
        if not torch.isfinite(inputs).all():  # 1e300 is not finite in single precision
            _refuse_not_finite(inputs.cpu().numpy(), "within the range of the network's precision")
        if reward is not None and not np.isfinite(reward):
            raise InvalidArgument(f"reward: expected a finite number, got {reward}; the network was not stepped")
        try:
            outputs = self.network.step(inputs, reward=reward).detach().cpu()[None]
        except MissingReward as error:  # which names the network's calls
            raise InvalidArgument(
                f"this network needs the reward of the last action ({error.why}), got none: call act(observation, reward), with "
                "reward=None on the first step after each reset(); the network was not stepped"
            ) from error
        if not torch.isfinite(outputs).all():
            raise NchlError("the network's outputs are not finite: its weights have grown beyond all bounds; reset() begins a new lifetime")
        action = self._task.map_actions(outputs, self.network.output_bounded).numpy()[0]
        dtype = type_of_actions(self._task.simulator.action_space)
        # EnvPool's spaces are of double precision, Gymnasium's of single.
        return action.astype(np.float32 if dtype == np.float64 else dtype or action.dtype, copy=False)


def _refuse_not_finite(numbers: np.ndarray, wanted: str) -> None:
    """One step with a number that is not finite would spoil the weights for the rest of the lifetime."""
    bad = numbers.size - int(np.count_nonzero(np.isfinite(numbers)))
    if bad:
        raise InvalidArgument(
            f"{bad} of the {numbers.size} numbers of the observation are not {wanted}; the network was not stepped: "
            "look at the sensor, or act on the last good observation again"
        )


def load(
    run: Path | str,
    which: str = "best",
    *,
    simulator: str | None = None,
    rule: str | None = None,
    network: Any = None,
    generator: torch.Generator | None = None,
) -> tuple[Agent, Task]:
    """A run's result, and its task.

    Neither the simulator nor the environment's package is needed: spaces and maps are in the run's record. `task` makes its simulator at
    the first use of it.

    Args:
        run: the run folder, or "zoo:NAME".
        which: "best" (the best individual) or "centre" (of the search).
        simulator: for `task`, which is then made at once; None: the run's own.
        rule: in place of the run's own: "FILE.py:NAME".
        network: the run's, if it was begun with an object that its folder cannot hold.
        generator: of the initial weights; None: a new one, always the same.

    Raises:
        RunError: no run folder, an altered one, or no result yet.
    """
    found = read_result(run, which, with_task=simulator is not None, rule=rule, given=Objects(network=network), call="nchl.load")
    record, about = found.record, found.recipe()

    def make(with_simulator: str) -> Task:
        trust.check(found.folder.path, (about.task, *about.wrap))
        return task_of(about, with_simulator)

    if simulator is not None or record.task is None:
        task = make(about.simulator if simulator is None else simulator)
    else:
        name = str(record.task.get("simulator"))  # the one that `auto` chose
        task = recorded.from_record(record.task, about.image_size, lambda: make(name).simulator, file=found.folder.config)
    with using(about.code):
        acting = build(
            about.network,
            task.observation_shape,
            task.action_size,
            device=about.device,
            generator=generator,
            backend="eager",
            seed=about.seed,
            constants=about.constants,
            template=about.template,
        )
    found.check_length(acting)
    acting.notes += found.notes_on(acting, "none")
    acting.set_hrules(found.genome)
    return Agent(acting, task, found.statistics(task)), task
