"""What a run's result does to its weights in the lifetimes of an evaluation; `rollout.dynamics` says what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nchl.rollout.dynamics import Dynamics, WeightPath, plastic_weights, together
from nchl.rollout.watch import never
from nchl.runs.results.scene import Scene, open_run

EPISODES = 3


def lifetimes(
    run: Path | str,
    *,
    episodes: int = EPISODES,
    seed: int = 10000,
    which: str = "best",
    simulator: str | None = None,
    rule: str | None = None,
    perturb: Sequence[str] | str | None = None,
) -> list[Dynamics]:
    """Play the first episodes of an evaluation again, one at a time, and follow the weights; a static network plays none.

    Args:
        run: the run folder.
        episodes: how many.
        seed: of the evaluation, and so are which, simulator and rule.
        which: "best" or "centre".
        simulator: None: the run's own.
        rule: another rule than the run's own, on purpose: "FILE.py:NAME".
        perturb: what goes wrong, in place of what went wrong in training; None: as in training.

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
    """What is said of a network whose weights nothing moves."""
    return Dynamics(None, "the network is static: nothing moves its weights", 0)


def evaluated(run: Path | str, *, episodes: int, **options: Any) -> dict[str, Any]:
    """The entry `dynamics` of an evaluation: at most `EPISODES` of its lifetimes, together; see `rollout.dynamics.together`."""
    lives = lifetimes(run, episodes=min(episodes, EPISODES), **options)
    return together(lives) if lives else together([static()]) | {"per_episode": []}


def _one(scene: Scene) -> Dynamics:
    path = WeightPath()
    scene.draw_weights()
    path.look(plastic_weights(scene.network))
    for _ in scene.watch(draw=never):
        path.look(plastic_weights(scene.network))
    return path.dynamics()
