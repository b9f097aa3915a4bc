"""Which family a task is of: the suite that it comes from."""

from __future__ import annotations

import sys

from nchl.errors import MissingExtra, require

# EnvPool's module -> the family.
_MODULES = {
    "envpool.mujoco.dmc": "dm_control",
    "envpool.mujoco.gym": "mujoco",
    "envpool.mujoco.metaworld": "metaworld",
    "envpool.mujoco.myosuite": "myosuite",
    "envpool.mujoco.playground": "playground",
    "envpool.mujoco.robotics": "robotics",
}
# Families of games and puzzles, of one or two players: their ids play, with legal actions left to the network, and are no control tasks.
GAMES = frozenset(["pgx", "jumanji", "gfootball", "procgen", "vizdoom", "atari", "minigrid"])


def of_envpool() -> dict[str, list[str]]:
    """The ids of the installed EnvPool by family.

    Raises:
        MissingExtra: EnvPool is not installed.
    """
    require("envpool", "sim")
    specs = sys.modules["envpool.registration"].registry.specs
    found: dict[str, list[str]] = {}
    for id, about in specs.items():
        module = str(about[0])
        found.setdefault(_MODULES.get(module, module.rpartition(".")[2]), []).append(id)
    return found


def of_gymnasium() -> dict[str, list[str]]:
    """The ids that are registered with Gymnasium by family: its own, and other packages by their names. Nothing without Gymnasium."""
    try:
        registry = require("gymnasium", "sim").registry
    except MissingExtra:
        return {}
    found: dict[str, list[str]] = {}
    for id, spec in registry.items():
        entry = spec.entry_point
        parts = (entry if isinstance(entry, str) else str(getattr(entry, "__module__", "other"))).split(".")
        own = parts[:2] == ["gymnasium", "envs"] and len(parts) > 2
        found.setdefault(parts[2].partition(":")[0] if own else parts[0].partition(":")[0], []).append(id)
    return found


def of(task: str) -> str | None:
    """The family of one of EnvPool's tasks; None where EnvPool does not have it, or is not installed."""
    try:
        families = of_envpool()
    except MissingExtra:
        return None
    return next((family for family, ids in families.items() if task in ids), None)
