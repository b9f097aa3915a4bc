"""AntBulletEnv-v0, the task of the neuron-centric Hebbian paper, through PyBullet.

Fitness is the sum of the progress reward, the second summand of the environment's reward: the speed towards a far point,
in metres per second, step by step. A life ends after more than 30 negative ones in a row once 200 steps are over.
The environment's other summands (1 for each step alive, for example) would reward standing still.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nchl.errors import MissingExtra, TaskError, require
from nchl.tasks.base import EarlyStop
from nchl.tasks.flatten import packing
from nchl.tasks.gym import Gymnasium

ID = "AntBulletEnv-v0"
MODULE = "pybullet_envs_gymnasium"
EARLY_STOP = EarlyStop(in_a_row=30, after=200)
LARGEST_SLICE = 256
_LIMIT = 1000


def make(
    threads: int,
    max_episode_steps: int | None,
    observe: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    wrap: Sequence[str] = (),
) -> Gymnasium:
    """The ant, always in processes of its own: PyBullet writes to standard output, and holds many worlds only slowly.

    Raises:
        MissingExtra: PyBullet or its environments are not installed.
        TaskError: settings, wrappers or parts of the observation, which the published task has none of.
    """
    said = {"--observe": observe, "--env": settings, "--wrap": wrap}
    for option, value in said.items():
        if value:
            raise TaskError(f"{option} has no meaning for {ID}, which is played as it was published; leave it out")
    for module in ("pybullet", MODULE):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"{ID} needs {module!r}, which is not installed; install it with: pip install 'nchl[bullet]'")
    spaces: Any = require("gymnasium", "sim").spaces
    observation = spaces.Box(-np.inf, np.inf, (28,), np.float32)
    action = spaces.Box(-1, 1, (8,), np.float32)
    limit = max_episode_steps or _LIMIT
    # The first life of a PyBullet world differs from all later ones by 1e-7, so it is thrown away.
    recipe = {"id": ID, "module": MODULE, "options": {"max_episode_steps": limit}, "warm_up": True, "reward": "progress"}
    return Gymnasium(recipe, (observation, action), packing(observation, None, ID), limit, threads, "processes")
