"""A user's environment in a file: a small robot that is registered when the file is imported, with or without pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = """
import gymnasium
import numpy as np


class Robot(gymnasium.Env):
    {metadata}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    {init}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-0.5, 0.5, 2).astype(np.float32)
        return self.at.copy(), {{}}

    def step(self, action):
        self.at = np.clip(self.at + 0.1 * np.float32(action[0]), -1, 1)
        return self.at.copy(), float(-np.abs(self.at).sum()), False, False, {{}}

    {render}


gymnasium.register("Robot-v0", entry_point=Robot, max_episode_steps=12)
"""
METADATA = 'metadata = {"render_modes": ["rgb_array"], "render_fps": 20}'
INIT = "def __init__(self, render_mode=None): self.render_mode = render_mode"
RENDER = "def render(self): return np.full((24, 32, 3), 100 + 100 * self.at[0], dtype=np.uint8)"


@contextmanager
def robot(folder: Path, *, metadata: str = METADATA, init: str = INIT, render: str = RENDER) -> Iterator[str]:
    """Write the robot's module into the folder, which must be on the path; gives `MODULE:ID`, and forgets it again at the end."""
    import gymnasium

    name = f"robot_of_{abs(hash(str(folder)))}"
    (folder / f"{name}.py").write_text(SOURCE.format(metadata=metadata, init=init, render=render))
    try:
        yield f"{name}:Robot-v0"
    finally:
        sys.modules.pop(name, None)
        gymnasium.registry.pop("Robot-v0", None)
