"""One life for each row of a network: observe, act and rewire, collect the reward, until everyone is done.

Finished individuals are masked in the network and not stepped in the simulator. A life whose action, reward or weight
is not finite ends there, and hurts nobody else.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from nchl.rollout.statistics import ObservationStatistics, ObservationSums
from nchl.tasks import Lives, Task


class Interrupted(Exception):
    """Lives were ended from another thread; who asked for it knows why."""


@dataclass
class Recorder:
    """Keeps the actions of each step, so that the bare simulator can replay them."""

    steps: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def keep(self, rows: Int[np.ndarray, " k"], actions: Shaped[np.ndarray, "k ..."]) -> None:
        """One step: who acted, and how."""
        self.steps.append((rows, actions))


@dataclass
class Played:
    """What n lives gave; lengths are steps of the simulator."""

    returns: Float[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    non_finite: Bool[np.ndarray, " n"]


def play(
    network: Any,
    task: Task,
    lives: Lives,
    first: Shaped[np.ndarray, "n ..."],
    playing: Bool[np.ndarray, " n"],
    *,
    statistics: ObservationStatistics | None = None,
    sums: ObservationSums | None = None,
    recorder: Recorder | None = None,
    freeze_after: int | None = None,
    stop: threading.Event | None = None,
) -> Played:
    """Play one life for each of the first n rows of a network that was reset already.

    Args:
        network: a population of at least n individuals, with its rules set and its weights drawn.
        task: observation map, action map and early stop.
        lives: n lives that were just begun.
        first: their first observations.
        playing: who takes part; the others get no step.
        statistics: normalisation of the observations, fixed during the lives.
        sums: where to add what was observed (before normalisation), row by row.
        recorder: keeps the actions.
        freeze_after: number of the network's steps after which the weights stay as they are; None: they never do.
        stop: looked at before each step.

    Raises:
        Interrupted: `stop` was set.
    """
    n = len(first)
    dtype, device = kind(network)
    inputs = torch.zeros((network.population, *task.observation_shape), dtype=dtype)
    active = torch.zeros(network.population, dtype=torch.bool)
    input_rows, active_rows = inputs.numpy(), active.numpy()
    on_device = device.type != "cpu"
    mask = active.to(device)

    played = Played(np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_))
    rows = np.flatnonzero(playing).astype(np.int32)
    active_rows[rows] = True
    mask.copy_(active)
    raw = first if len(rows) == n else first[rows]
    negative = np.zeros(len(rows), dtype=np.int64)
    was_plastic = network.plastic
    # What each individual's last action earned, for networks that learn from it.
    earned = torch.zeros(network.population, dtype=dtype) if network.needs_reward else None

    def bury(dead: np.ndarray) -> np.ndarray:
        """Take the dead (positions within `rows`) out; returns who stays."""
        nonlocal rows, negative
        stay = ~dead
        # A weight that is not finite stays so: looking once, before the network forgets the dead, finds them all.
        played.non_finite[rows[dead]] |= ~network.finite(torch.from_numpy(rows[dead])).cpu().numpy()
        active_rows[rows[dead]] = False
        mask.copy_(active)
        rows, negative = rows[stay], negative[stay]
        return stay

    try:
        for steps in range(1, task.decisions + 1):
            if not len(rows):
                break
            if stop is not None and stop.is_set():
                raise Interrupted
            if freeze_after is not None and steps > freeze_after:
                network.plastic = False
            observations = task.map_observations(raw)
            if sums is not None:
                sums.add(rows, observations)
            if statistics is not None:
                observations = statistics.normalise(observations)
            input_rows[slice(n) if len(rows) == n else rows] = observations
            reward = None if earned is None or steps == 1 else earned.to(device)
            outputs = network.step(inputs.to(device) if on_device else inputs, active=mask, reward=reward).detach().cpu().numpy()
            outputs = outputs[:n] if len(rows) == n else outputs[rows]
            if not np.isfinite(outputs.sum()):
                bad = ~np.isfinite(outputs).all(axis=1)
                if bad.any():
                    played.non_finite[rows[bad]] = True
                    outputs = outputs[bury(bad)]
                    if not len(rows):
                        break
            actions = task.map_actions(outputs, network.output_bounded)
            if recorder is not None:
                recorder.keep(rows, actions)
            raw, rewards, terminated, truncated, taken = lives.step(actions, rows)
            if earned is not None:
                earned[torch.from_numpy(rows).long()] = torch.from_numpy(np.asarray(rewards)).to(dtype)
            played.returns[rows] += rewards
            played.lengths[rows] += taken
            dead = terminated | truncated
            if task.early_stop is not None:
                negative = task.early_stop.count(negative, rewards)
                dead |= task.early_stop.stops(negative, steps)
            if not np.isfinite(rewards.sum()):
                bad = ~np.isfinite(rewards)
                played.non_finite[rows[bad]] = True
                dead |= bad
            if dead.any():
                raw = raw[bury(dead)]
    finally:
        network.plastic = was_plastic
    if len(rows):  # who is alive at the limit of steps
        bury(np.ones(len(rows), dtype=np.bool_))
    played.returns[played.non_finite | ~playing] = np.nan
    return played


def kind(network: Any) -> tuple[torch.dtype, torch.device]:
    """Precision and device of a network."""
    return getattr(network, "dtype", torch.float32), torch.device(getattr(network, "device", "cpu"))
