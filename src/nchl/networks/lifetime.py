"""Where a network is in its lifetime."""

from __future__ import annotations

from dataclasses import dataclass


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
