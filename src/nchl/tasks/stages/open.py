"""The stage for a task, by the simulator that steps it and the renderer that can draw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nchl import tasks
from nchl.errors import DrawingError, InvalidArgument, NchlError
from nchl.simulators import bullet, families
from nchl.simulators.envpool import EnvPool
from nchl.tasks.perturbed import Variants
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.envpool import DRAWN_BY_ENVPOOL, EnvPoolStage, TwinStage
from nchl.tasks.stages.envpool_robots import FAMILIES, DrawnTwinStage
from nchl.tasks.stages.gymnasium import BulletStage, GymnasiumStage
from nchl.tasks.stages.stage import Stage

SIZE = (480, 360)


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
        if task.id in mujoco_renderer.TWINS:
            if more.get("env"):
                notes.append(f"{task.id} is drawn with the body of its defaults: --env changes what is played, not what is drawn")
            return TwinStage(task, seed, wished or SIZE, notes)
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
        from nchl.tasks.stages.warp import WarpStage

        return WarpStage(task, seed, wished or SIZE, notes, dict(more.get("env") or {}), draw)
    kind = BulletStage if draw and task.id == bullet.ID else GymnasiumStage
    return kind(task, seed, wished or SIZE, notes, draw)
