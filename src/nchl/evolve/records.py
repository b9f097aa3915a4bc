"""The records Generation and Best."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from nchl.rollout import ObservationStatistics


@dataclass(frozen=True)
class Generation:
    """The figures of one generation.

    Attributes:
        generation: its number, from 1.
        fitness: (population,), NaN where an episode was not finite.
        best: highest finite fitness.
        mean: mean of the finite ones.
        std: their standard deviation.
        best_so_far: highest fitness of any generation so far.
        sigma: standard deviation of the search, as used in this generation.
        lr: learning rate, as used in this generation; NaN for a strategy without one.
        evaluations: individuals evaluated since the start.
        env_steps: environment steps of the search since the start.
        non_finite: individuals of this generation with an episode that ended with a number that is not finite.
        length: mean length of its episodes, in steps.
        validation_best: mean return of its best individual over its validation episodes; NaN without validation.
        validation_centre: likewise of the new centre.
        centre: (nparams,) the centre after this generation.
        seconds: wall-clock seconds since the start of the run.
        evaluate_seconds: seconds in this generation's rollouts.
        search_seconds: seconds in the strategy.
        steps_per_s: environment steps per second in this generation's rollouts.
        sent_mb: mebibytes sent to workers in this generation; 0 without workers.
        received_mb: mebibytes received from them.
        reason: the limit that ends the run after this generation: generations, target, max_steps or max_minutes; None: it continues.
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
    """The best individual of a run so far: by its validated mean if there is validation, else by its fitness.

    Attributes:
        genome: (nparams,), as it was evaluated.
        fitness: its fitness; None for a centre, which has been validated only.
        validated: its mean return over validation episodes; None without validation.
        generation: the generation that found it, from 1.
        statistics: the observation statistics of its episodes, or None.
    """

    genome: Float[np.ndarray, " nparams"]
    fitness: float | None
    validated: float | None
    generation: int
    statistics: ObservationStatistics | None

    def gives_way_to(self, other: Best) -> bool:
        """Whether `other`, from a later generation, replaces it: if it is better or equal."""
        if self.validated is not None or other.validated is not None:
            return other.validated is not None and (self.validated is None or other.validated >= self.validated)
        return other.fitness is not None and (self.fitness is None or other.fitness >= self.fitness)
