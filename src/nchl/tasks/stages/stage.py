"""A stage: one environment of a task that can also draw itself, without a display."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from nchl.simulators.base import Seeds, Step
from nchl.simulators.host import HostSimulator
from nchl.tasks.task import Task

NOT_DRAWN = "this stage was opened without pictures; open it with draw=True"


class Stage(HostSimulator):
    """A simulator of one environment, which it can draw. `begin` begins the episode that the seed names, the same at every call.

    Attributes:
        task: observation map, action map and early stop, played by this stage.
        seed: of the environment.
        drawn_by: name of the renderer.
        steps_per_second: of the simulated time; where actions are repeated, how many actions.
        notes: lines that a viewer should know, for example that this is not the run's simulator.
    """

    def __init__(self, task: Task, seed: int, drawn_by: str, steps_per_second: float, notes: list[str]) -> None:
        played = task.simulator
        self.name, self.packing, self.step_limit = played.name, played.packing, played.step_limit
        self.observation_space, self.action_space = played.observation_space, played.action_space
        self.recipe = getattr(played, "recipe", {})
        self.task = replace(task, simulator=self)
        self.seed = seed
        self.drawn_by = drawn_by
        self.steps_per_second = float(steps_per_second) / task.action_repeat
        self.notes = notes
        self._active = torch.ones(1, dtype=torch.bool)

    def begin(self) -> Shaped[Tensor, "1 ..."]:
        """Begin the episode; its first observation, as the simulator gives it."""
        return self.task.reset(Seeds.of([self.seed]))

    def act(self, actions: Shaped[Tensor, "1 ..."]) -> Step:
        """One action, as often as the task repeats it, with a leading axis of one environment everywhere."""
        return self.task.step(actions, self._active)

    @abstractmethod
    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """The world as it is now, red, green and blue."""
