"""Stages for tasks that Gymnasium or PyBullet steps and draws."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from nchl.errors import DrawingError, TaskError
from nchl.quiet import quiet_output
from nchl.simulators import bullet, gym_environments
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds
from nchl.simulators.gym import Gymnasium, close
from nchl.simulators.gym_ids import plain
from nchl.simulators.host import Rows
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.stage import NOT_DRAWN, Stage
from nchl.tasks.task import Task


class GymnasiumStage(Stage):
    """An environment of Gymnasium in this process, drawn by its own `rgb_array` renderer (here MuJoCo's with the wished size).

    With `draw=False` it is made without a render mode, and has no pictures.
    """

    def __init__(self, task: Task, seed: int, size: tuple[int, int], notes: list[str], draw: bool = True) -> None:
        assert isinstance(task.simulator, Gymnasium)
        recipe = dict(task.simulator.recipe)
        mode = {} if task.id == bullet.ID or not draw else {"render_mode": _render_mode(task.id)}
        recipe["options"] = {**recipe.get("options", {}), **mode}
        try:
            with simulator_arithmetic():
                self._environments = gym_environments.Environments(recipe, 1)
        except Exception as error:
            if draw:
                how = mujoco_renderer.HOW
                raise DrawingError(f"{task.id} cannot be made to be drawn: {type(error).__name__}: {error}; {how}") from error
            raise TaskError(f"{task.id} cannot be made: {type(error).__name__}: {error}") from error
        self._environment = self._environments.first()
        plainly = self._environment.unwrapped
        drawn_by = "Gymnasium" if draw else "nothing"
        if draw and hasattr(plainly, "mujoco_renderer"):
            with quiet_output():
                drawn_by = mujoco_renderer.prepare(plainly, size)
        self._size, self._draw = size, draw
        super().__init__(task, seed, drawn_by, plainly.metadata.get("render_fps") or 30, notes)

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`."""
        with simulator_arithmetic():
            return self.packing.put_together(self._environments.reset(seeds.each))

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        try:
            with simulator_arithmetic():
                *seen, rewards, terminated, truncated = self._environments.step([0], actions)
                return Rows(self.packing.put_together(seen), rewards, terminated, truncated)
        except Exception as error:
            raise TaskError(f"the environment failed in a step: {gym_environments.in_words(error)}") from error

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        if not self._draw:
            raise DrawingError(NOT_DRAWN)
        return mujoco_renderer.picture(self._environment, self.task.id)

    def close(self) -> None:
        """See `Stage`."""
        close(self._environments)


class BulletStage(GymnasiumStage):
    """The Bullet ant, drawn by PyBullet's own software renderer with a camera that goes along with it."""

    def __init__(self, task: Task, seed: int, size: tuple[int, int], notes: list[str], draw: bool = True) -> None:
        super().__init__(task, seed, size, notes, draw)
        self.drawn_by = "PyBullet (software)"

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        world = self._environment.unwrapped
        client, (width, height) = world._p, self._size
        x, y, _ = world.robot.body_real_xyz
        view = client.computeViewMatrixFromYawPitchRoll(
            cameraTargetPosition=[x, y, 0.4], distance=3.2, yaw=20, pitch=-25, roll=0, upAxisIndex=2
        )
        lens = client.computeProjectionMatrixFOV(fov=50, aspect=width / height, nearVal=0.1, farVal=100)
        pixels = client.getCameraImage(width, height, view, lens, renderer=client.ER_TINY_RENDERER)[2]
        return np.ascontiguousarray(np.asarray(pixels, dtype=np.uint8).reshape(height, width, -1)[:, :, :3])


def _render_mode(id: str) -> str:
    """`rgb_array`, where a task has it.

    Raises:
        DrawingError: it has not; the message names what it has, and what to write in the environment.
    """
    with quiet_output():
        probe = plain(id)
        modes = list(probe.metadata.get("render_modes", []))
        close(probe)
    if "rgb_array" not in modes:
        has = f"its render modes are {', '.join(modes)}" if modes else "it has no render mode"
        raise DrawingError(f"{id} cannot be drawn: it needs the render mode rgb_array, and {has}; {mujoco_renderer.HOW}")
    return "rgb_array"
