"""One action for several steps of the simulator (`--action-repeat`).

The observation is that of the last step, the reward the sum of all. An episode that ends on the way is not stepped on. Limits of steps are
limits of the simulator's steps: the last action of an episode is repeated as often as the limit leaves room for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from nchl.simulators.base import Step


class Repeated:
    """The steps of a batch that was just begun, each action of which is repeated.

    Args:
        step: of the simulator.
        times: steps for each action.
        limit: steps after which an episode is truncated.
        looks: whether the host may look at each step whether any environment goes on, and stop where none does.
    """

    def __init__(self, step: Callable[[Tensor, Tensor], Step], times: int, limit: int, looks: bool = True) -> None:
        self._step, self._times, self._limit, self._looks = step, times, limit, looks
        self._steps: Tensor | None = None

    def __call__(self, actions: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"]) -> Step:
        """One action of each active environment, as `Simulator.step`."""
        if self._steps is None:
            self._steps = torch.zeros_like(active, dtype=torch.int64)
        going = active
        taken = torch.zeros_like(self._steps)
        terminated, truncated = torch.zeros_like(active), torch.zeros_like(active)
        observations: Tensor | None = None
        for _ in range(self._times):
            step = self._step(actions, going)
            if observations is None:
                observations, rewards = step.observations.clone(), step.rewards.clone()
            else:
                shown = going.reshape(-1, *[1] * (observations.ndim - 1))
                observations = torch.where(shown, step.observations, observations)
                rewards += step.rewards
            taken += going
            terminated |= step.terminated
            truncated |= step.truncated | (going & (self._steps + taken >= self._limit))
            # A reward that is not finite ends an episode; another step would only add to it.
            going = going & ~(terminated | truncated) & torch.isfinite(rewards)
            if self._looks and not going.any():
                break
        assert observations is not None
        self._steps += taken
        return Step(observations, rewards, terminated, truncated, taken)
