"""One episode, step by step, to be looked at: for a film, a microscope.

Promise: it is the episode that a rollout plays. Observation, normalisation, freezing, early stop and the end by a number that is
not finite follow `rollout.play`, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.perturbations.surgery import Surgery
from nchl.rollout.scores import check_sizes
from nchl.rollout.statistics import ObservationStatistics
from nchl.tasks.stages.stage import Stage


@dataclass(frozen=True)
class Moment:
    """One step of an episode.

    Attributes:
        step: how many steps came before it: the first moment has 0.
        observation: input of the network (after the observation map and the normalisation), `network.input_shape`.
        outputs: of the network, before they become an action.
        action: of the simulator.
        reward: for this step.
        total: rewards so far, this one included; NaN once a number was not finite, as in a rollout.
        frame: the world before the action, (height, width, 3); None where it was not to be drawn.
        done: whether the episode ended with this step.
        plastic: whether the network rewired itself in this step.
    """

    step: int
    observation: np.ndarray
    outputs: Float[np.ndarray, " outputs"]
    action: np.ndarray
    reward: float
    total: float
    frame: UInt8[np.ndarray, "height width 3"] | None
    done: bool
    plastic: bool


def always(step: int) -> bool:
    """Draw every step."""
    return True


def never(step: int) -> bool:
    """Draw nothing."""
    return False


def watch(
    network: PlasticNetwork,
    stage: Stage,
    *,
    statistics: ObservationStatistics | None = None,
    draw: Callable[[int], bool] = always,
    freeze_after: int | None = None,
) -> Iterator[Moment]:
    """Let one individual play an episode on a stage, and show each step.

    Between two moments the network stands after the first one's update, by that moment's reward if it needs one: its `weights` may
    be read then.

    Args:
        network: one individual (population 1, or None), with its rules set and its weights drawn.
        stage: its episode is begun first: equal stages give equal episodes.
        statistics: normalisation of the observations.
        draw: which steps, counted from 0, are drawn.
        freeze_after: number of steps after which the weights stay as they are; 0: they never move; None: they always do.

    Yields:
        The moments up to the end of the episode; the last one is `done`. Only where an observation, or an output of the network, is not
        finite does it end without such a moment: its return is NaN.

    Raises:
        InvalidArgument: a network of several individuals.
        ShapeError: a network that does not fit the task.
    """
    if network.population not in (None, 1):
        raise InvalidArgument(f"one individual can be watched, got a population of {network.population}")
    check_sizes(network, stage.task)
    task, was_plastic = stage.task, network.plastic
    lead = network.population is not None
    raw = stage.begin()
    lesions = task.plan.of_kind("network")
    surgery = Surgery(network, lesions, [stage.seed], None, task.action_repeat) if lesions else None
    total, negative, done = 0.0, torch.zeros(1, dtype=torch.int64), False
    try:
        for step in range(task.decisions):
            if freeze_after is not None and step >= freeze_after:
                network.plastic = False
            plastic = network.plastic
            frame = stage.frame() if draw(step) else None
            observation = task.map_observations(raw)
            if raw.is_floating_point() and not torch.isfinite(observation).all():
                return
            if statistics is not None:
                observation = statistics.normalise(observation)
            shown = observation[0].numpy().copy()
            seen = observation.to(network.device, network.dtype, copy=True)
            if surgery is not None:
                surgery.before(step * task.action_repeat, None)
            outputs = network.step(seen if lead else seen[0]).detach().cpu().reshape(1, -1)
            if not torch.isfinite(outputs).all():
                return
            action = task.map_actions(outputs, network.output_bounded)
            taken = stage.act(action)
            raw, reward = taken.observations, float(taken.rewards[0])
            total += reward
            done = bool(taken.terminated[0] or taken.truncated[0]) or not np.isfinite(reward) or step + 1 == task.decisions
            if task.early_stop is not None:
                negative = task.early_stop.count(negative, taken.rewards)
                done = done or bool(task.early_stop.stops(negative, step + 1)[0])
            if not np.isfinite(total) or (done and not _finite(network)):
                total = float("nan")
            if network.needs_reward and plastic and np.isfinite(reward):
                # A rollout tells the reward with the next step; told at once, the moment shows the weights that it made.
                network.update(reward=reward)
            yield Moment(step, shown, outputs[0].numpy().copy(), action[0].numpy().copy(), reward, total, frame, done, plastic)
            if done:
                return
    finally:
        network.plastic = was_plastic


def _finite(network: PlasticNetwork) -> bool:
    """Whether the weights are finite at the end of the episode; to ask for the weights first does an update that waits, once."""
    _ = network.weights
    return bool(network.finite(torch.tensor([0])))
