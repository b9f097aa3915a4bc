"""A stage: one environment of a task that can also draw itself, without a display.

Promise: the world that is drawn is the one that is stepped, and where its simulator is the run's it steps as it does in a
rollout, so the rewards of an episode on a stage add up to the return that an evaluation tells of the same start.
Renderers: EnvPool draws its classic and Box2D tasks, Gymnasium's renderers all else, PyBullet's software renderer the Bullet ant.
EnvPool's own MuJoCo renderer, which draws the robots that Gymnasium lacks, is called in a process of its own: where it finds no OpenGL
it ends the process (see `render_envpool`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from nchl import tasks
from nchl.errors import DrawingError, InvalidArgument, NchlError, TaskError
from nchl.quiet import quiet_output
from nchl.simulators import bullet, families, gym_environments
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds, Step
from nchl.simulators.envpool import EnvPool
from nchl.simulators.gym import Gymnasium
from nchl.simulators.gym_ids import plain
from nchl.simulators.host import HostSimulator, Rows
from nchl.tasks import render_mujoco
from nchl.tasks.perturbed import Variants, body_of
from nchl.tasks.task import Task

SIZE = (480, 360)
_NOT_DRAWN = "this stage was opened without pictures; open it with draw=True"
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
                how = render_mujoco.HOW
                raise DrawingError(f"{task.id} cannot be made to be drawn: {type(error).__name__}: {error}; {how}") from error
            raise TaskError(f"{task.id} cannot be made: {type(error).__name__}: {error}") from error
        self._environment = self._environments.first()
        plainly = self._environment.unwrapped
        drawn_by = "Gymnasium" if draw else "nothing"
        if draw and hasattr(plainly, "mujoco_renderer"):
            with quiet_output():
                drawn_by = render_mujoco.prepare(plainly, size)
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
            raise DrawingError(_NOT_DRAWN)
        return render_mujoco.picture(self._environment, self.task.id)

    def close(self) -> None:
        """See `Stage`."""
        self._environments.close()


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
            raise DrawingError(_NOT_DRAWN)
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
            drawn_by = render_mujoco.prepare(self._model.unwrapped, size)
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
        return render_mujoco.picture(self._model, self.task.id)

    def close(self) -> None:
        """See `Stage`."""
        self._model.close()
        for name in ("_pool", "_twin"):
            self.__dict__.pop(name, None)


def open_stage(
    id: str,
    simulator: str = "auto",
    seed: int = 0,
    size: Sequence[int] | None = None,
    image_size: Sequence[int] | None = None,
    max_episode_steps: int | None = None,
    draw: bool = True,
    **more: Any,
) -> Stage:
    """One environment of a task that can draw itself.

    Args:
        id: as for `tasks.make`.
        simulator: "envpool", "gymnasium" or "auto". Where EnvPool has the task and cannot draw it, Gymnasium plays it instead,
            and a note says so.
        seed: of the environment.
        size: (width, height) of a picture, for renderers that take one; None: 480 x 360, or what the simulator likes best.
        image_size: (height, width) of what the network sees, for tasks with pictures.
        max_episode_steps: another limit of steps than the task's own.
        draw: False: without pictures, which every task can do.
        **more: of `tasks.make`: `observe`, `env`, `action_repeat`, `wrap`, `texts`.

    Raises:
        NchlError: as `tasks.make`; a DrawingError for a task that cannot be drawn here.
    """
    if size is not None and (len(size) != 2 or not all(16 <= side <= 4096 for side in size)):
        raise InvalidArgument(f"size: expected two numbers from 16 to 4096, width and height, got {' '.join(map(str, size))}")
    wished = None if size is None else (int(size[0]), int(size[1]))
    task = tasks.make(id, simulator, max_episode_steps, image_size, threads=1, **more)
    notes: list[str] = list(task.notes)
    if isinstance(task.simulator, Variants):
        task.close()
        task = tasks.make(id, "gymnasium", max_episode_steps, image_size, threads=1, **more)
        notes = [*task.notes, f"{task.id} is played in Gymnasium here, where one environment has the bodies of all episodes"]
    if isinstance(task.simulator, EnvPool):
        if not draw:
            return EnvPoolStage(task, seed, None, notes, draw=False)
        if task.id in DRAWN_BY_ENVPOOL:
            return EnvPoolStage(task, seed, wished, notes)
        if task.id in render_mujoco.TWINS:
            if more.get("env"):
                notes.append(f"{task.id} is drawn with the body of its defaults: --env changes what is played, not what is drawn")
            return TwinStage(task, seed, wished or SIZE, notes)
        from nchl.tasks.render_envpool import FAMILIES, DrawnTwinStage

        if families.of(task.id) in FAMILIES:
            return DrawnTwinStage(task, seed, wished or SIZE, notes)
        task.close()
        name = task.id
        try:
            task = tasks.make(name, "gymnasium", max_episode_steps, image_size, threads=1, **more)
        except NchlError as error:
            raise DrawingError(
                f"{name} cannot be drawn: EnvPool does not draw it here, and Gymnasium does not have it ({error})"
            ) from error
        notes += [*task.notes, f"EnvPool cannot draw {name}: it is played in Gymnasium, where the same seed is another start"]
    if task.simulator.name == "warp":
        from nchl.tasks.render_warp import WarpStage

        return WarpStage(task, seed, wished or SIZE, notes, dict(more.get("env") or {}), draw)
    kind = BulletStage if draw and task.id == bullet.ID else GymnasiumStage
    return kind(task, seed, wished or SIZE, notes, draw)


def _render_mode(id: str) -> str:
    """`rgb_array`, where a task has it.

    Raises:
        DrawingError: it has not; the message names what it has, and what to write in the environment.
    """
    with quiet_output():
        probe = plain(id)
        modes = list(probe.metadata.get("render_modes", []))
        probe.close()
    if "rgb_array" not in modes:
        has = f"its render modes are {', '.join(modes)}" if modes else "it has no render mode"
        raise DrawingError(f"{id} cannot be drawn: it needs the render mode rgb_array, and {has}; {render_mujoco.HOW}")
    return "rgb_array"
