"""The process in which EnvPool draws a robot: answers the requests of `envpool_robots`. It may die of drawing; its parent tells why."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import IO, Any

import numpy as np

from nchl.child import pipes_to_parent
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.envpool import Pool
from nchl.simulators.flatten import packing
from nchl.wire import receive, send

_ROW = np.zeros(1, dtype=np.int32)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the input ends.

    Requests: `make` with `task`, `seed`, `options` and `observe`, and `step` with the array `actions`, are answered with `observations`;
    `draw` is answered with `picture`, and what fails with its words.
    """
    pool: Pool | None = None
    while True:
        try:
            (request, arrays), _ = receive(requests)
        except EOFError:
            return
        header: dict[str, Any] = {}
        found: dict[str, np.ndarray] = {}
        try:
            with simulator_arithmetic():
                if request["do"] == "make":
                    pool, observations = begun(request["task"], request["seed"], request["options"], request["observe"])
                    found = {"observations": observations}
                elif pool is None:
                    raise RuntimeError(f"{request['do']!r} before 'make'")
                elif request["do"] == "step":
                    found = {"observations": pool.step(arrays["actions"], _ROW).observations}
                else:
                    found = {"picture": pool.picture()}
        except Exception as error:  # EnvPool's, in words for the parent
            header = {"error": f"{type(error).__name__}: {error}"}
        send(answers, header, found)


def begun(task: str, seed: int, options: dict[str, Any], observe: list[str]) -> tuple[Pool, np.ndarray]:
    """An environment at its start, seen by its first camera, which in most robots follows the body; where there is none, from afar."""
    drawn = {**options, "render_mode": "rgb_array"}
    for camera in ({"render_camera_id": 0}, {}):
        pool = Pool(task, [seed], 1, {**drawn, **camera}, lambda space: packing(space, observe, task))
        observations = pool.reset()
        try:
            pool.picture()
        except IndexError:  # there is no camera of that number
            continue
        return pool, observations
    raise RuntimeError("no camera")


def main() -> None:
    """Load OpenGL, then serve the parent; what EnvPool prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    if sys.argv[1]:
        ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
    serve(*pipes_to_parent())
    os._exit(0)  # EnvPool's threads and OpenGL would end in any order
