"""One action for several steps of the simulator (`--action-repeat`).

The observation is that of the last step, the reward the sum of all. A life that ends on the way is not stepped on. Limits of steps are
limits of the simulator's steps: the last action of a life is repeated as often as the limit leaves room for.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Shaped

from nchl.tasks.base import Lives, Step


class Repeated(Lives):
    """Lives that were just begun, each of whose actions is repeated.

    Args:
        lives: of the simulator.
        times: steps for each action.
        limit: steps after which a life is truncated.
    """

    def __init__(self, lives: Lives, times: int, limit: int) -> None:
        super().__init__(lives.size, lives.observation_space, lives.action_space)
        self._lives, self._times, self._limit = lives, times, limit
        self._steps = np.zeros(lives.size, dtype=np.int64)

    def _step(self, actions: Shaped[np.ndarray, "k ..."], rows: Int[np.ndarray, " k"]) -> Step:
        going = np.arange(len(rows))  # positions within `rows` of the lives that have not ended
        rewards, taken = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        terminated, truncated = np.zeros((2, len(rows)), dtype=np.bool_)
        observations: np.ndarray | None = None
        for _ in range(self._times):
            step = self._lives.replay(actions[going], rows[going])
            if observations is None:
                observations = step.observations.copy()
            else:
                observations[going] = step.observations
            rewards[going] += step.rewards
            taken[going] += 1
            terminated[going], truncated[going] = step.terminated, step.truncated
            truncated[going] |= self._steps[rows[going]] + taken[going] >= self._limit
            # A reward that is not finite ends an episode; another step would only add to it.
            going = going[~(terminated | truncated)[going] & np.isfinite(rewards[going])]
            if not len(going):
                break
        assert observations is not None
        self._steps[rows] += taken
        return Step(observations, rewards, terminated, truncated, taken)
