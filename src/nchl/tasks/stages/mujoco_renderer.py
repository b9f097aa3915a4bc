"""MuJoCo pictures without a display: which OpenGL, which camera, and how fine.

Promise: nothing here ends the process. Which way of drawing works is found out in another process, because a broken OpenGL
can kill the one that tries it; only then is it used in this one.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.errors import DrawingError
from nchl.quiet import quiet_output
from nchl.simulators.arithmetic import simulator_arithmetic

# MuJoCo tasks of EnvPool whose observations begin with all positions, once they are asked not to hide the body's (tried one by one).
TWINS = frozenset(
    f"{name}-v{version}"
    for name in ("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Humanoid", "HumanoidStandup")
    for version in (4, 5)
)
# Requirements of a film, for the message about an environment that lacks them.
HOW = (
    'a film needs in the environment: `metadata = {"render_modes": ["rgb_array"], "render_fps": 30}`; an `__init__` that takes '
    "`render_mode=None` and keeps it as `self.render_mode`; and a method `render(self)` that returns the picture, an array "
    "(height, width, 3) of uint8"
)
WORDS = {"egl": "EGL", "osmesa": "OSMesa, software", "glfw": "GLFW"}
_SHADOWS = 1024  # edge of the map of shadows, in pixels; MuJoCo's own 4096 cost four times the drawing on a CPU
_WIDER = 25
_SECONDS_TO_TRY = 60
_TRY = "from mujoco.{0} import GLContext; c = GLContext(64, 64); c.make_current(); c.free()"


def prepare(world: Any, size: tuple[int, int]) -> str:
    """Make a MuJoCo environment draw quickly, in this size, with the camera that follows the body; returns who draws, in words.

    Args:
        world: an unwrapped Gymnasium environment that has drawn nothing yet.
        size: (width, height).

    Raises:
        DrawingError: this machine has no OpenGL that works without a display; names the package that brings one.
    """
    import mujoco

    way = choose()
    renderer, model = world.mujoco_renderer, world.model
    renderer.width, renderer.height = size
    model.vis.global_.offwidth, model.vis.global_.offheight = size
    model.vis.quality.offsamples, model.vis.quality.shadowsize = 0, _SHADOWS
    _widen_floor(model, mujoco.mjtGeom.mjGEOM_PLANE)
    camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera >= 0:
        renderer.camera_id = camera
    return f"Gymnasium ({WORDS.get(way, way)})"


def _widen_floor(model: Any, plane: int) -> None:
    """Draw the floor 25 times as far: a cheetah runs off the drawn one. Contacts never end where a drawn plane does."""
    for floor in np.flatnonzero(model.geom_type == plane):
        if model.geom_size[floor, :2].all():  # 0 means without end
            model.geom_size[floor, :2] *= _WIDER
            if model.geom_matid[floor] >= 0:
                model.mat_texrepeat[model.geom_matid[floor]] *= _WIDER  # the tiles keep their size


def picture(environment: Any, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Picture of a Gymnasium environment.

    Raises:
        DrawingError: it fails, or draws something that is no picture.
    """
    try:
        with simulator_arithmetic(), warnings.catch_warnings(), quiet_output():
            warnings.simplefilter("ignore")
            frame = np.asarray(environment.render())
    except Exception as error:  # of OpenGL, of pygame, or of a user's environment
        raise DrawingError(f"{name} cannot be drawn: {type(error).__name__}: {error}; {HOW}") from error
    if frame.ndim != 3 or frame.shape[2] not in (3, 4) or frame.dtype != np.uint8:
        got = "nothing (None)" if frame.dtype == object and frame.ndim == 0 else f"{frame.shape} of {frame.dtype}"
        raise DrawingError(f"{name} cannot be drawn: its render() gave {got}, not a picture (height, width, 3) of uint8; {HOW}")
    return np.ascontiguousarray(frame[:, :, :3])


def choose() -> str:
    """The value of `MUJOCO_GL` that works here; set for this process where the user has not chosen one.

    Raises:
        DrawingError: none works.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen:
        chosen = _first_that_works()
        if chosen:
            os.environ["MUJOCO_GL"] = chosen
    elif (problem := _problem(chosen)) is not None:
        raise DrawingError(f"MUJOCO_GL={chosen} does not work here ({problem}); unset it, or set it to egl or osmesa")
    if not chosen:
        raise DrawingError(
            "MuJoCo tasks are drawn with OpenGL, and neither EGL nor OSMesa works here; install one: "
            "apt install libegl1 libgl1-mesa-dri, or apt install libosmesa6"
        )
    return chosen


@functools.cache
def _first_that_works() -> str:
    # Only Linux has EGL and OSMesa; elsewhere GLFW draws off-screen.
    ways = ("egl", "osmesa") if sys.platform == "linux" else ("glfw",)
    return next((way for way in ways if _problem(way) is None), "")


@functools.cache
def _problem(way: str) -> str | None:
    """Try one way in a process of its own; None, or what went wrong."""
    if way not in WORDS:
        return f"known are {', '.join(WORDS)}"
    if sys.platform != "linux":  # GLFW wants the main thread of a program with windows; Gymnasium tells if it fails
        return None
    command = [sys.executable, "-P", "-c", _TRY.format(way)]
    environment = {**os.environ, "MUJOCO_GL": way}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS_TO_TRY)
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS_TO_TRY} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
