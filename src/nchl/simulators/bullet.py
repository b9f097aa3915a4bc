"""AntBulletEnv-v0, the task of the neuron-centric Hebbian paper, through PyBullet and Gymnasium.

Fitness is the sum of the progress reward, the second summand of the environment's reward: the speed towards a far point,
in metres per second, step by step. The environment's other summands (1 for each step alive, for example) would reward standing still.
An episode ends after more than 30 negative ones in a row once 200 steps are over (see `nchl.tasks.early_stop`).
"""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

import numpy as np

from nchl.errors import MissingExtra, TaskError, install_command, require
from nchl.simulators.flatten import Packing, packing
from nchl.simulators.registry import Wanted

ID = "AntBulletEnv-v0"
MODULE = "pybullet_envs_gymnasium"
_LIMIT = 1000


class Recipe(NamedTuple):
    """Arguments of `Gymnasium`, always in processes: PyBullet writes to standard output, and holds many worlds only slowly."""

    recipe: dict[str, Any]
    spaces: tuple[Any, Any]
    pack: Packing
    step_limit: int


def recipe(max_episode_steps: int | None) -> Recipe:
    """The ant."""
    spaces: Any = require("gymnasium", "sim").spaces
    observation = spaces.Box(-np.inf, np.inf, (28,), np.float32)
    action = spaces.Box(-1, 1, (8,), np.float32)
    limit = max_episode_steps or _LIMIT
    # The first episode of a PyBullet world differs from all later ones by 1e-7, so it is thrown away.
    made = {"id": ID, "module": MODULE, "options": {"max_episode_steps": limit}, "warm_up": True, "reward": "progress"}
    return Recipe(made, (observation, action), packing(observation, None, ID), limit)


def refuse_settings(wanted: Wanted) -> None:
    """Refuse what the published task has none of, and a machine without PyBullet.

    Raises:
        MissingExtra: PyBullet or its environments are not installed.
        TaskError: settings, wrappers, or parts of the observation.
    """
    said = {"--observe": wanted.observe, "--env": wanted.env, "--wrap": wanted.wrap}
    for option, value in said.items():
        if value:
            raise TaskError(f"{option} does not apply to {ID}, which is played as it was published; leave it out")
    for module in ("pybullet", MODULE):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"{ID} needs {module!r}, which is not installed; install it with: {install_command('bullet')}")
