"""The path of the weights of a run's result over lifetimes of an evaluation; see `rollout.dynamics`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from nchl.rollout.dynamics import Dynamics, WeightPath, plastic_weights, together
from nchl.rollout.episode import never
from nchl.runs.results.scene import Scene, open_run

EPISODES = 3


def lifetimes(
    run: os.PathLike[str] | str,
    *,
    episodes: int = EPISODES,
    seed: int = 10000,
    which: str = "best",
    simulator: str | None = None,
    rule: str | None = None,
    perturb: Sequence[str] | str | None = None,
) -> list[Dynamics]:
    """Play the first episodes of an evaluation again and follow the weights; empty for a static network; arguments as in `evaluate`.

    Raises:
        NchlError: no such run or result.
    """
    with open_run(run, seed, which, simulator=simulator, draw=False, rule=rule, perturb=perturb) as scene:
        found = []
        for episode in range(episodes if scene.network.plastic else 0):
            scene.to_episode(episode)
            found.append(_one(scene))
        return found


def static() -> Dynamics:
    """The dynamics of a network with constant weights."""
    return Dynamics(None, "the network is static: its weights are constant", 0)


def dynamics_of(run: os.PathLike[str] | str, *, episodes: int, **options: Any) -> dict[str, Any]:
    """The entry `dynamics` of an evaluation, from at most `EPISODES` of its lifetimes; see `rollout.dynamics.together`."""
    lives = lifetimes(run, episodes=min(episodes, EPISODES), **options)
    return together(lives) if lives else together([static()]) | {"per_episode": []}


def _one(scene: Scene) -> Dynamics:
    path = WeightPath()
    scene.draw_weights()
    path.look(plastic_weights(scene.network))
    for _ in scene.watch(draw=never):
        path.look(plastic_weights(scene.network))
    return path.dynamics()
