"""A stage for MuJoCo Warp: one world on the CPU, at whose positions an environment of Gymnasium draws the body."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from nchl.errors import DrawingError
from nchl.perturbations.worlds import Worlds
from nchl.quiet import quiet_output
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds
from nchl.simulators.gym_ids import plain
from nchl.simulators.host import Rows
from nchl.simulators.warp import Warp
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.stage import Stage
from nchl.tasks.task import Task


class WarpStage(Stage):
    """A world of MuJoCo Warp's.

    Args:
        task: on the simulator `warp`.
        seed: of the environment.
        size: (width, height) of a picture.
        notes: for the viewer.
        env: settings of the environment, so that the body is drawn that is simulated.
        draw: whether there are pictures.
    """

    def __init__(self, task: Task, seed: int, size: tuple[int, int], notes: list[str], env: dict[str, Any], draw: bool = True) -> None:
        assert isinstance(task.simulator, Warp | Worlds)
        self._simulator = task.simulator
        drawn_by = "nothing"
        with simulator_arithmetic(), quiet_output():
            self._drawn = plain(task.id, **({"render_mode": "rgb_array"} if draw else {}), **env)
            if draw:
                drawn_by = mujoco_renderer.prepare(self._drawn.unwrapped, size)
            self._drawn.reset(seed=0)
        self._draw = draw
        super().__init__(task, seed, drawn_by, self._drawn.metadata["render_fps"], notes)

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`."""
        return self._simulator.reset(seeds).numpy()

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        step = self._simulator.step(torch.from_numpy(actions), torch.ones(1, dtype=torch.bool))
        return Rows(*(each.numpy() for each in step[:4]))

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        if not self._draw:
            raise DrawingError("this stage was opened without pictures; open it with draw=True")
        world = self._drawn.unwrapped
        with simulator_arithmetic():
            if isinstance(self._simulator, Worlds):
                self._simulator.show(world.model)
            world.set_state(self._simulator.qpos[0].double().numpy(), np.zeros(world.model.nv))
        return mujoco_renderer.picture(self._drawn, self.task.id)

    def close(self) -> None:
        """See `Stage`."""
        self._drawn.close()
        self._simulator.close()
