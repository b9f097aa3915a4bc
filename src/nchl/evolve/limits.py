"""The limits of a run. This module imports nothing heavy: the help and the tables of comparisons name its numbers."""

from __future__ import annotations

from dataclasses import dataclass

TARGET_EPISODES = 20  # of a validation at least, if there is a target


@dataclass(frozen=True)
class Limits:
    """The limits of a run; None: no such limit.

    Attributes:
        generations: the total, those of earlier sessions included.
        target: the mean return that the centre or a best individual must reach over at least 20 validation episodes.
        max_steps: environment steps of the search.
        max_minutes: wall-clock minutes.
        validation_episodes: validation episodes of each generation's best and centre, at least 20 if there is a target; 0: only where
            the fitness is at the target.
    """

    generations: int | None = 100
    target: float | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    validation_episodes: int = 0

    @property
    def episodes_of_a_validation(self) -> int:
        """Validation episodes wherever there are some: one number for a whole run, because the best is chosen by their means."""
        return self.validation_episodes if self.target is None else max(self.validation_episodes, TARGET_EPISODES)
