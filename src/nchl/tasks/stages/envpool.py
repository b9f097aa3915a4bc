"""Stages for tasks that EnvPool steps: it draws its classic and Box2D tasks itself, Gymnasium the bodies of its MuJoCo tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.errors import DrawingError
from nchl.quiet import quiet_output
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds
from nchl.simulators.envpool import EnvPool
from nchl.simulators.gym_ids import plain
from nchl.simulators.host import Rows
from nchl.tasks.perturbed import body_of
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.stage import NOT_DRAWN, Stage
from nchl.tasks.task import Task

# Tasks that EnvPool draws without OpenGL (tried one by one), and their steps per second by Gymnasium's metadata.
DRAWN_BY_ENVPOOL = {
    "CartPole-v1": 50,
    "Acrobot-v1": 15,
    "MountainCar-v0": 30,
    "MountainCarContinuous-v0": 30,
    "Pendulum-v1": 30,
    "LunarLander-v3": 50,
    "LunarLanderContinuous-v3": 50,
    "BipedalWalker-v3": 50,
    "BipedalWalkerHardcore-v3": 50,
    "CarRacing-v3": 50,
}


class EnvPoolStage(Stage):
    """An environment of EnvPool that draws itself without OpenGL; with `draw=False` any of them, without pictures."""

    def __init__(self, task: Task, seed: int, size: tuple[int, int] | None, notes: list[str], draw: bool = True) -> None:
        assert isinstance(task.simulator, EnvPool)
        self._simulator, self._draw = task.simulator, draw
        self._options: dict[str, Any] = {"render_mode": "rgb_array"} if draw else {}
        if draw and size is not None:
            self._options |= {"render_width": size[0], "render_height": size[1]}
        super().__init__(task, seed, "EnvPool" if draw else "nothing", DRAWN_BY_ENVPOOL.get(task.id, 30), notes)

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`. EnvPool takes a seed only when it is made, so this makes it anew."""
        self._pool = self._simulator.one(seeds.each[0], **self._options)
        return self._pool.reset()

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        return self._pool.step(actions, rows)

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        if not self._draw:
            raise DrawingError(NOT_DRAWN)
        return self._pool.picture()

    def close(self) -> None:
        """See `Stage`."""
        self.__dict__.pop("_pool", None)


class TwinStage(Stage):
    """A MuJoCo task of EnvPool, drawn by Gymnasium.

    A twin pool with the same seed gets the same actions; its observations also hold the position of the body, which the tasks
    hide. With all positions known, Gymnasium's model is put into that posture and drawn.
    """

    def __init__(self, task: Task, seed: int, size: tuple[int, int], notes: list[str]) -> None:
        assert isinstance(task.simulator, EnvPool)
        self._simulator = task.simulator
        with simulator_arithmetic(), quiet_output():
            self._model = plain(task.id, render_mode="rgb_array", **body_of(task.simulator))
            drawn_by = mujoco_renderer.prepare(self._model.unwrapped, size)
            self._model.reset(seed=0)
        super().__init__(task, seed, drawn_by, self._model.metadata["render_fps"], notes)

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`."""
        self._pool = self._simulator.one(seeds.each[0])
        self._twin = self._simulator.one(seeds.each[0], exclude_current_positions_from_observation=False)
        self._positions = self._twin.reset()
        return self._pool.reset()

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        self._positions = self._twin.step(actions, rows).observations
        return self._pool.step(actions, rows)

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        world = self._model.unwrapped
        with simulator_arithmetic():
            world.set_state(self._positions[0][: world.model.nq], np.zeros(world.model.nv))
        return mujoco_renderer.picture(self._model, self.task.id)

    def close(self) -> None:
        """See `Stage`."""
        self._model.close()
        for name in ("_pool", "_twin"):
            self.__dict__.pop(name, None)
