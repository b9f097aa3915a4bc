"""A stage for the robots that EnvPool draws itself with OpenGL: those of the DeepMind Control suite, MuJoCo Playground and others.

EnvPool's MuJoCo renderer ends its process where it finds no OpenGL, and needs OpenGL loaded before EnvPool. So it draws in a process of
its own (`envpool_robots_child`): a twin of the environment that is stepped here, with the same seed and the same actions.
"""

from __future__ import annotations

import ctypes.util
import os
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.child import Child
from nchl.errors import DrawingError
from nchl.simulators.base import Seeds
from nchl.simulators.envpool import EnvPool
from nchl.simulators.gym_processes import patience
from nchl.simulators.host import Rows
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.stage import Stage
from nchl.tasks.task import Task
from nchl.wire import Message, ProtocolError

FAMILIES = frozenset(["dm_control", "playground", "mujoco", "robotics", "metaworld", "myosuite"])
# Of the simulated time, in most tasks of the Control suite and of Playground; EnvPool does not tell that of the task.
_STEPS_PER_SECOND = 50
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


class DrawnTwinStage(Stage):
    """An environment of EnvPool, whose twin in another process is drawn there. The observations of both are compared at every step.

    Args:
        task: on the simulator `envpool`, of a family in `FAMILIES`.
        seed: of the environment.
        size: (width, height) of a picture.
        notes: for the viewer.

    Raises:
        DrawingError: this machine has no OpenGL that works without a display.
    """

    def __init__(self, task: Task, seed: int, size: tuple[int, int], notes: list[str]) -> None:
        assert isinstance(task.simulator, EnvPool)
        self._simulator, self._size = task.simulator, size
        self._way = mujoco_renderer.choose()
        self._child: Child | None = None
        super().__init__(task, seed, f"EnvPool ({mujoco_renderer.WORDS.get(self._way, self._way)})", _STEPS_PER_SECOND, notes)

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`. EnvPool takes a seed only when it is made, so this makes both anew."""
        if self._child is None:
            library = ctypes.util.find_library(_LIBRARIES.get(self._way, "")) or ""
            variables = {"MUJOCO_GL": self._way}
            self._child = Child("nchl.tasks.stages.envpool_robots_child", library, own_session=True, variables=variables)
        self._pool = self._simulator.one(seeds.each[0])
        observations = self._pool.reset()
        options: dict[str, Any] = {**self._simulator.options, "render_width": self._size[0], "render_height": self._size[1]}
        seen = [leaf.name for leaf in self.packing.leaves if leaf.path]
        self._send({"do": "make", "task": self.task.id, "seed": seeds.each[0], "options": options, "observe": seen})
        self._compare(observations)
        return observations

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        self._send({"do": "step"}, {"actions": actions})
        found = self._pool.step(actions, rows)
        self._compare(found.observations)
        return found

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """See `Stage`."""
        self._send({"do": "draw"})
        return self._answer().arrays["picture"]

    def close(self) -> None:
        """See `Stage`."""
        self.__dict__.pop("_pool", None)
        if self._child is not None:
            self._child.close_pipes()
            self._child.reap(5)
            self._child = None

    def _send(self, header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
        assert self._child is not None
        try:
            self._child.send(header, arrays)
        except OSError as error:
            raise self._gone() from error

    def _answer(self) -> Message:
        assert self._child is not None
        if not self._child.answers_within(patience()):
            self._child.kill()
            raise self._gone()
        try:
            message, _ = self._child.receive()
        except (EOFError, ProtocolError) as error:
            raise self._gone() from error
        if "error" in message.header:
            self.close()
            raise DrawingError(f"{self.task.id} cannot be drawn: EnvPool's renderer: {message.header['error']}")
        return message

    def _compare(self, observations: np.ndarray) -> None:
        twins = self._answer().arrays["observations"]
        if not np.array_equal(observations, twins, equal_nan=observations.dtype.kind == "f"):
            self.close()
            raise DrawingError(
                f"{self.task.id} cannot be drawn: EnvPool gives other observations for the same seed and actions in another process"
            )

    def _gone(self) -> DrawingError:
        assert self._child is not None
        how = self._child.how_it_ended()
        self.close()
        other = "" if os.environ.get("MUJOCO_GL", "") == "osmesa" else ", or set MUJOCO_GL=osmesa"
        return DrawingError(
            f"{self.task.id} cannot be drawn: EnvPool's renderer ended its process ({how}; its last words are above); install OpenGL that "
            f"works without a display: apt install libegl1 libgl1-mesa-dri{other}"
        )
