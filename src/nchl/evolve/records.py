"""What the loop gives, keeps and obeys: a generation's record, the best individual, the limits of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from nchl.rollout import ObservationStatistics


@dataclass(frozen=True)
class Generation:
    """What one generation was.

    Attributes:
        generation: its number, from 1.
        fitness: (population,), NaN where a life ended with a number that is not finite.
        best: highest finite fitness.
        mean: mean of the finite ones.
        std: their standard deviation.
        best_so_far: highest fitness of any generation so far.
        sigma: standard deviation of the search, as used in this generation.
        lr: learning rate, as used in this generation; NaN where the strategy has none.
        evaluations: individuals evaluated since the start.
        env_steps: environment steps of the search since the start.
        non_finite: lives of this generation that ended with a number that is not finite.
        length: mean length of its episodes, in steps.
        validation_best: mean return of its best individual over its validation episodes; NaN without validation.
        validation_centre: likewise of the centre that the generation has led to.
        centre: (nparams,) that centre.
        seconds: wall-clock seconds since the start of the run.
        evaluate_seconds: seconds in this generation's rollouts.
        search_seconds: seconds in the strategy.
        steps_per_s: environment steps per second in this generation's rollouts.
        sent_mb: mebibytes sent to workers in this generation; 0 where there are none.
        received_mb: mebibytes received from them.
        reason: why the run ends here: generations, target, max_steps or max_minutes; None where it goes on.
    """

    generation: int
    fitness: Float[np.ndarray, " population"]
    best: float
    mean: float
    std: float
    best_so_far: float
    sigma: float
    lr: float
    evaluations: int
    env_steps: int
    non_finite: int
    length: float
    validation_best: float
    validation_centre: float
    centre: Float[np.ndarray, " nparams"] = field(repr=False)
    seconds: float
    evaluate_seconds: float
    search_seconds: float
    steps_per_s: float
    sent_mb: float = 0.0
    received_mb: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Best:
    """The best individual of a run so far: the highest validated mean where there is validation, else the highest fitness.

    Attributes:
        genome: (nparams,), as it was evaluated.
        fitness: its fitness; None for a centre, which was validated only.
        validated: its mean return over validation episodes; None where it was not validated.
        generation: when it was found, from 1.
        statistics: the observation statistics that it acted with, or None.
    """

    genome: Float[np.ndarray, " nparams"]
    fitness: float | None
    validated: float | None
    generation: int
    statistics: ObservationStatistics | None

    def gives_way_to(self, other: Best) -> bool:
        """Whether `other`, a later one, is better. Among equals the later one, from a search that knows more, is taken."""
        if self.validated is not None or other.validated is not None:
            return other.validated is not None and (self.validated is None or other.validated >= self.validated)
        return other.fitness is not None and (self.fitness is None or other.fitness >= self.fitness)


@dataclass(frozen=True)
class Limits:
    """When a run ends, and how its best is validated; None: no such limit.

    Attributes:
        generations: the total, those of earlier sessions included.
        target: the mean return that the centre or a best individual must reach over at least 20 validation episodes.
        max_steps: environment steps of the search.
        max_minutes: wall-clock minutes.
        validation_episodes: for each generation's best and centre, whatever they reached; 0: only for a target.
    """

    generations: int | None = 100
    target: float | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    validation_episodes: int = 0
