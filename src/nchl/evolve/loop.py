"""The evolution loop: ask the strategy, evaluate on workers, tell the strategy; an iterator over generations.

    for generation in evolution:
        print(generation.generation, generation.mean)

All results but the times are a function of the settings. The clock matters for `max_minutes` alone, which ends a run after a whole
generation. Between two generations, `state` and `restore` continue a run bit by bit.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl.errors import CheckpointError, InvalidArgument
from nchl.evolve.episodes import count_in, schedule
from nchl.evolve.failure import refuse_nothing_finite
from nchl.evolve.limits import Limits
from nchl.evolve.records import Best, Generation
from nchl.rollout import ObservationStatistics
from nchl.seeds import Purpose
from nchl.strategies import Strategy
from nchl.workers import Workers

# Attributes that a generation changes, besides the strategy; they are replaced, never changed in place.
_MOVING = ("statistics", "best", "reason", "evaluations", "env_steps", "best_so_far")
_STRATEGY, _STATISTICS, _BEST, _BEST_STATISTICS = "strategy.", "statistics.", "best.genome", "best.statistics."
CONSTANT = "constant."


class Evolution:
    """A search on a task; iterating continues it, one generation at a time.

    Args:
        strategy: the search over genomes.
        workers: evaluate genomes.
        limits: the limits of the run.
        episodes: episodes of each individual in a generation; or pairs (first generation, counted from 0; episodes from then on).
        statistics: running statistics of the observations, if they are normalised.
        clock: seconds that only grow.

    Raises:
        InvalidArgument: `episodes` is neither a number of at least 1 nor pairs of which the first begins at generation 0.

    Attributes:
        best: the best individual so far; None before the first generation.
        statistics: the observation statistics of the next generation.
        reason: the limit that has ended the run, or None.
    """

    def __init__(
        self,
        strategy: Strategy,
        workers: Workers,
        limits: Limits,
        *,
        episodes: int | Sequence[tuple[int, int]] = 1,
        statistics: ObservationStatistics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.strategy = strategy
        self.workers = workers
        self.limits = limits
        self.statistics = statistics
        self.best: Best | None = None
        self.reason: str | None = None
        self.evaluations = 0
        self.env_steps = 0
        self.best_so_far = float("-inf")
        self._episodes = schedule(episodes)
        self._clock = clock
        self._begun = clock()

    @property
    def generation(self) -> int:
        """Finished generations."""
        return self.strategy.generation

    @property
    def centre(self) -> Float[np.ndarray, " nparams"]:
        """The centre of the search."""
        return self.strategy.centre

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start of the run, those of earlier sessions included."""
        return self._clock() - self._begun

    def __iter__(self) -> Iterator[Generation]:
        self.reason = self.reason or self.limit_reached()
        while self.reason is None:
            yield self.step()

    def step(self) -> Generation:
        """Run one generation. An exception leaves the state as it was before, and the next call runs the generation again.

        Raises:
            NchlError: no individual had a finite fitness.
        """
        with self._all_or_nothing():
            return self._step()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Undo a generation that is interrupted; validation comes after the strategy has moved."""
        before, own = self.strategy.state(), {name: getattr(self, name) for name in _MOVING}
        try:
            yield
        except BaseException:
            self.strategy.restore(before)
            vars(self).update(own)
            raise

    def _step(self) -> Generation:
        number, sigma, lr, statistics = self.strategy.generation, self.strategy.sigma, self.strategy.lr, self.statistics
        episodes = count_in(self._episodes, number)
        begin = self._clock()
        sent, received = self.workers.sent_bytes, self.workers.received_bytes
        population = self.strategy.ask()
        asked = self._clock()
        scores = self.workers.rollout(population, generation=number, episodes=episodes, statistics=statistics)
        evaluated = self._clock()
        refuse_nothing_finite(scores.fitness, number, self.workers)
        self.strategy.tell(scores.fitness)
        told = self._clock()
        if statistics is not None:
            # A new object: the best individual keeps the statistics of its episodes.
            self.statistics = copy.deepcopy(statistics)
            if scores.observation_sums is not None:
                self.statistics.update(scores.observation_sums)
        finite = scores.fitness[np.isfinite(scores.fitness)]
        leader = int(np.argmax(np.where(np.isfinite(scores.fitness), scores.fitness, -np.inf)))
        champion = Best(population.rows(leader, leader + 1)[0], float(scores.fitness[leader]), None, number + 1, statistics)
        validations = self._validate(champion, float(finite.mean()))
        self.best_so_far = max(self.best_so_far, float(finite.max()))
        self.evaluations += len(population)
        self.env_steps += scores.env_steps
        self.reason = self._reason(validations)
        return Generation(
            generation=number + 1,
            fitness=scores.fitness,
            best=float(finite.max()),
            mean=float(finite.mean()),
            std=float(finite.std()),
            best_so_far=self.best_so_far,
            sigma=sigma,
            lr=lr,
            evaluations=self.evaluations,
            env_steps=self.env_steps,
            non_finite=scores.non_finite,
            length=scores.env_steps / (len(population) * episodes),
            validation_best=validations[0],
            validation_centre=validations[1],
            centre=self.centre.copy(),
            seconds=self.seconds,
            evaluate_seconds=evaluated - asked,
            search_seconds=(asked - begin) + (told - evaluated),
            steps_per_s=scores.env_steps / max(evaluated - asked, 1e-9),
            sent_mb=(self.workers.sent_bytes - sent) / (1 << 20),
            received_mb=(self.workers.received_bytes - received) / (1 << 20),
            reason=self.reason,
        )

    def _validate(self, champion: Best, mean: float) -> tuple[float, float]:
        """Validate the generation's best and the new centre, if validation is due; keep the best individual.

        Returns:
            Their mean returns, NaN without validation or where they were not finite.
        """
        target = self.limits.target
        assert champion.fitness is not None
        if self.limits.validation_episodes == 0 and (target is None or max(champion.fitness, mean) < target):
            self._consider(champion)
            return float("nan"), float("nan")
        centre = Best(self.centre.copy(), None, None, champion.generation, self.statistics)
        # In one call, unless they normalise observations by different statistics.
        together = [[champion, centre]] if champion.statistics is centre.statistics else [[champion], [centre]]
        means: list[float] = []
        for candidates in together:
            returns = self.workers.evaluate(
                np.stack([candidate.genome for candidate in candidates]),
                generation=champion.generation - 1,
                purpose=Purpose.VALIDATION,
                episodes=self.limits.episodes_of_a_validation,
                statistics=candidates[0].statistics,
            )
            means += [float(mean) for mean in returns.mean(axis=1)]
        for candidate, validated in zip((champion, centre), means, strict=True):
            if np.isfinite(validated):
                self._consider(Best(candidate.genome, candidate.fitness, validated, candidate.generation, candidate.statistics))
        if self.best is None:
            self._consider(champion)
        return means[0], means[1]

    def rescore(self) -> None:
        """Evaluate the best individual again, on the episodes that it was chosen by, because its task has changed.

        It is dropped if a score is not finite; the next generation's best then replaces it. `best_so_far` restarts from its score.
        """
        best, self.best, self.best_so_far = self.best, None, float("-inf")
        if best is None:
            return

        def mean(purpose: Purpose, episodes: int) -> float:
            genomes, number = best.genome[np.newaxis], best.generation - 1
            return float(
                self.workers.evaluate(genomes, generation=number, purpose=purpose, episodes=episodes, statistics=best.statistics).mean()
            )

        fitness = None if best.fitness is None else mean(Purpose.TRAINING, count_in(self._episodes, best.generation - 1))
        validated = None if best.validated is None else mean(Purpose.VALIDATION, self.limits.episodes_of_a_validation)
        if all(score is None or np.isfinite(score) for score in (fitness, validated)):
            self.best = dataclasses.replace(best, fitness=fitness, validated=validated)
            self.best_so_far = self.best_so_far if fitness is None else fitness

    def _consider(self, candidate: Best) -> None:
        if self.best is None or self.best.gives_way_to(candidate):
            self.best = candidate

    def _reason(self, validations: tuple[float, float]) -> str | None:
        target = self.limits.target
        # Comparisons with NaN are false: without validation no target is reached.
        if target is not None and any(validation >= target for validation in validations):
            return "target"
        return self.limit_reached()

    def limit_reached(self) -> str | None:
        """The limit other than the target that is reached now, or None."""
        limits = self.limits
        if limits.generations is not None and self.generation >= limits.generations:
            return "generations"
        if limits.max_steps is not None and self.env_steps >= limits.max_steps:
            return "max_steps"
        if limits.max_minutes is not None and self.seconds >= 60 * limits.max_minutes:
            return "max_minutes"
        return None

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The state of the run between two generations: arrays by name, and plain JSON."""
        tensors = {_STRATEGY + name: array for name, array in self.strategy.state().items()}
        if self.statistics is not None:
            tensors |= {_STATISTICS + name: array for name, array in self.statistics.state_dict().items()}
        tensors |= {CONSTANT + name: array for name, array in self.workers.constants.items()}
        about: dict[str, Any] = {
            "strategy": self.strategy.name,
            "evaluations": self.evaluations,
            "env_steps": self.env_steps,
            "seconds": self.seconds,
            "best_so_far": self.best_so_far if np.isfinite(self.best_so_far) else None,
            "reason": self.reason,
            "best": None,
        }
        if self.best is not None:
            tensors[_BEST] = self.best.genome
            if self.best.statistics is not None:
                tensors |= {_BEST_STATISTICS + name: array for name, array in self.best.statistics.state_dict().items()}
            about["best"] = {name: getattr(self.best, name) for name in ("fitness", "validated", "generation")}
        return tensors, about

    def _statistics(self, state: Mapping[str, np.ndarray]) -> ObservationStatistics:
        restored = ObservationStatistics(self.workers.observation_shape)
        restored.load_state_dict(state)
        return restored

    def restore(self, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        """Continue from a state of a run with the same settings.

        Raises:
            CheckpointError: the state belongs to another search or network; names both.
        """
        if about.get("strategy") not in (self.strategy.name, *self.strategy.formerly):
            raise CheckpointError(f"this state belongs to the strategy {about.get('strategy')!r}, the run's is {self.strategy.name!r}")
        saved = np.shape(tensors.get(_STRATEGY + "centre", ()))
        if saved != self.centre.shape:
            raise CheckpointError(
                f"this state belongs to another network: its genome has shape {saved}, the run's network needs {self.centre.shape}"
            )
        constants = _under(tensors, CONSTANT)
        # States of earlier versions have no constants.
        if constants and not _equal(constants, self.workers.constants):
            raise CheckpointError("this state belongs to a network with other constants (biases, BatchNorm statistics): make it with those")
        try:
            self.strategy.restore(_under(tensors, _STRATEGY))
            if self.statistics is not None:
                self.statistics = self._statistics(_under(tensors, _STATISTICS))
            self.evaluations, self.env_steps = int(about["evaluations"]), int(about["env_steps"])
            self.best_so_far = float("-inf") if about["best_so_far"] is None else float(about["best_so_far"])
            self.reason = about["reason"]
            self.best = None
            if about["best"] is not None:
                statistics = None if self.statistics is None else self._statistics(_under(tensors, _BEST_STATISTICS))
                self.best = Best(genome=tensors[_BEST], statistics=statistics, **about["best"])
            self._begun = self._clock() - float(about["seconds"])
        except (KeyError, TypeError, ValueError, OverflowError, InvalidArgument) as error:
            raise CheckpointError(f"this state does not fit the run: {error}") from error


def _under(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays under a prefix, by their names without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _equal(some: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> bool:
    return set(some) == set(others) and all(np.array_equal(some[name], others[name], equal_nan=True) for name in some)
