"""The table of the tasks that are looked after here. Neither it nor the ids of the simulators need torch."""

from __future__ import annotations

from typing import NamedTuple

from nchl.simulators import bullet, suites


class TaskInfo(NamedTuple):
    """A line of the table of tasks."""

    id: str
    simulators: str
    observation: str
    action: str
    note: str
    family: str = ""


_BOTH = "envpool, gymnasium"
_WARP_TOO = f"{_BOTH}, warp"
DESCRIBED = (
    TaskInfo("CartPole-v1", _BOTH, "4", "2 choices", "balance a pole; 500 is perfect", "classic_control"),
    TaskInfo("Acrobot-v1", _BOTH, "6", "3 choices", "swing up; fewer steps are better", "classic_control"),
    TaskInfo("MountainCarContinuous-v0", _BOTH, "2", "1 number", "drive out of a valley", "classic_control"),
    TaskInfo("Pendulum-v1", _BOTH, "3", "1 number", "swing up; 0 is perfect", "classic_control"),
    TaskInfo("FrozenLake-v1", _BOTH, "16 (one-hot)", "4 choices", "walk over ice", "toy_text"),
    TaskInfo("LunarLander-v3", _BOTH, "8", "4 choices", "land; 200 is good", "box2d"),
    TaskInfo("BipedalWalker-v3", _BOTH, "24", "4 numbers", "walk; 300 is good", "box2d"),
    TaskInfo("HalfCheetah-v5", _WARP_TOO, "17", "6 numbers", "run", "mujoco"),
    TaskInfo("Hopper-v5", _WARP_TOO, "11", "3 numbers", "hop", "mujoco"),
    TaskInfo("Walker2d-v5", _WARP_TOO, "17", "6 numbers", "walk on two legs", "mujoco"),
    TaskInfo("Swimmer-v5", _WARP_TOO, "8", "2 numbers", "swim", "mujoco"),
    TaskInfo("Ant-v5", _WARP_TOO, "105", "8 numbers", "walk on four legs", "mujoco"),
    TaskInfo("Humanoid-v5", _WARP_TOO, "348", "17 numbers", "walk upright", "mujoco"),
    TaskInfo(
        "CarRacing-v3", _BOTH, "picture 96x96x3", "3 numbers", "drive; early stop after more than 20 negative rewards in a row", "box2d"
    ),
    TaskInfo(bullet.ID, "gymnasium", "28", "8 numbers", "extra bullet; fitness is the progress reward; early stop as published", "bullet"),
)


def known() -> list[TaskInfo]:
    """The tasks that are looked after here; any other id of EnvPool or Gymnasium, and `module:Id`, works too."""
    return [*DESCRIBED, *(TaskInfo(id, "envpool", str(seen), _numbers(count), "", family) for family, id, seen, count in suites.rows())]


def _numbers(count: int) -> str:
    return f"{count} number{'' if count == 1 else 's'}"
