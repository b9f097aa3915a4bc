"""Episodes that are ended early because nothing good is to be expected of them, as the published experiments do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nchl.simulators import bullet


@dataclass(frozen=True)
class EarlyStop:
    """End an episode after more than `in_a_row` negative rewards in a row, once more than `after` steps were taken.

    This is the rule of the published experiments: 20 for CarRacing, 30 after step 200 for AntBullet.
    """

    in_a_row: int
    after: int = 0

    def count(self, negative: Int[Tensor, " size"], rewards: Float[Tensor, " size"]) -> Int[Tensor, " size"]:
        """The lengths of the current rows of negative rewards, one step later."""
        return torch.where(rewards < 0, negative + 1, 0)

    def stops(self, negative: Int[Tensor, " size"], steps: int) -> Bool[Tensor, " size"]:
        """Which episodes end after so many steps."""
        return negative > self.in_a_row if steps > self.after else torch.zeros_like(negative, dtype=torch.bool)


PUBLISHED = {"CarRacing-v3": EarlyStop(in_a_row=20), bullet.ID: EarlyStop(in_a_row=30, after=200)}
