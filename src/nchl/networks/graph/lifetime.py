"""The position of a network in its lifetime, and the waiting update of its last step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nchl.errors import InvalidArgument, OrderError


class MissingReward(InvalidArgument):
    """An update without the reward that it needs.

    Attributes:
        why: what needs it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"this network needs the reward of the last action ({why}), got none: call update(reward=r) or step(x, reward=r)")
        self.why = why


@dataclass
class Lifetime:
    """The position of a network in its lifetime. A separate object, because setting attributes of a torch module is slow.

    Attributes:
        steps: number of steps so far.
        waiting: whether the update of the last step is still to be done.
        batched: whether the last step had a batch.
        frozen: whether the last step was a `step` without plasticity, for which a reward has no effect.
    """

    steps: int = 0
    waiting: bool = False
    batched: bool = False
    frozen: bool = False

    def begin_forward(self, needs_reward: bool) -> None:
        """Refuse a forward pass if its activations would replace those of a waiting update.

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
    """The update of the last step that is still to be done.

    Attributes:
        applies: whether weights move.
        keeps: whether traces and states of rules move.
        gain: m(t) `(population,)`, or None for 1.
        reward: `(population,)`, or None if no rule uses it.
    """

    applies: bool = False
    keeps: bool = False
    gain: Tensor | None = None
    reward: Tensor | None = None

    @property
    def any(self) -> bool:
        """Whether there is an update to do."""
        return self.applies or self.keeps
