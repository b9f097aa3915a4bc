"""Where a network is in its lifetime, and what is still to be done of its last step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Lifetime:
    """Where a network is in its lifetime. An object of its own, because attributes of a torch module are slow to set.

    Attributes:
        steps: made so far.
        waiting: whether the update of the last one is still to be done.
        batched: whether it had a batch.
    """

    steps: int = 0
    waiting: bool = False
    batched: bool = False


@dataclass(frozen=True)
class Waiting:
    """What is still to be done of the last step.

    Attributes:
        applies: whether weights move.
        keeps: whether traces and states of rules move.
        gain: m(t) `(population,)`, or None for 1.
        reward: `(population,)`, or None where no rule looks at it.
    """

    applies: bool = False
    keeps: bool = False
    gain: Tensor | None = None
    reward: Tensor | None = None

    @property
    def any(self) -> bool:
        """Whether there is anything to be done."""
        return self.applies or self.keeps
