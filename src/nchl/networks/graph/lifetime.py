"""Where a network is in its lifetime, and what is still to be done of its last step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nchl.errors import OrderError


@dataclass
class Lifetime:
    """Where a network is in its lifetime. An object of its own, because attributes of a torch module are slow to set.

    Attributes:
        steps: made so far.
        waiting: whether the update of the last one is still to be done.
        batched: whether it had a batch.
        frozen: whether it was a `step` without plasticity, whose reward moves nothing.
    """

    steps: int = 0
    waiting: bool = False
    batched: bool = False
    frozen: bool = False

    def begin_forward(self, needs_reward: bool) -> None:
        """Refuse a forward whose activations would replace those of an update that waits.

        Raises:
            OrderError: the last step waits for its reward.
        """
        if self.waiting and needs_reward:
            raise OrderError("the update of the last step still waits for its reward: call update(reward=r), or step(x, reward=r)")
        self.frozen = False

    def takes_reward(self, needs_reward: bool) -> bool:
        """Whether the update of the last step is still to be done, now that `step` is given a reward.

        Raises:
            OrderError: the network learns from rewards, and there is no update that this one belongs to.
        """
        if self.waiting or self.frozen or not needs_reward:
            return self.waiting
        if not self.steps:
            raise OrderError(
                "step(x, reward=r): expected no reward on the first step of an episode, since no action has earned one yet, got one; "
                "write step(x), or reward=None, after each reset()"
            )
        raise OrderError(
            "step(x, reward=r): expected that the last step was a step(), whose update waits for its reward, got one after forward() or "
            "update(); after forward(x) call update(reward=r), and then step(x) without a reward"
        )


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
