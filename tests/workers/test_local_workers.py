"""Workers of this process: scores follow from recipe, population and generation alone."""

from __future__ import annotations

import numpy as np
import pytest

from nchl.errors import NchlError
from nchl.networks.build import NetworkSpec
from nchl.seeds import Purpose
from nchl.strategies import GaussianPopulation, MatrixPopulation, population_from
from nchl.workers import LocalWorkers, Recipe

RECIPE = Recipe("CartPole-v1", NetworkSpec(hidden=(4,)), seed=2, population=10)


@pytest.fixture(scope="module")
def workers() -> LocalWorkers:
    return LocalWorkers(RECIPE)


def population(workers: LocalWorkers) -> GaussianPopulation:
    return GaussianPopulation(np.zeros(workers.nparams), 1.0, 10, seed=2, generation=0)


def test_scores_are_a_function_of_the_generation(workers: LocalWorkers) -> None:
    first = workers.rollout(population(workers), generation=0)
    other = workers.rollout(population(workers), generation=1)
    again = LocalWorkers(RECIPE).rollout(population_from(population(workers).describe()), generation=0)
    np.testing.assert_array_equal(first.fitness, again.fitness)
    assert (first.fitness != other.fitness).any()
    assert first.env_steps == first.lengths.sum() == first.fitness.sum()


def test_everyone_meets_the_same_starts(workers: LocalWorkers) -> None:
    row = np.random.default_rng(0).normal(size=workers.nparams).astype(np.float32)
    alike = workers.rollout(MatrixPopulation(np.repeat(row[None], 10, axis=0)), generation=3)
    assert len(set(alike.fitness)) == 1


def test_validation_meets_starts_of_its_own(workers: LocalWorkers) -> None:
    rows = np.random.default_rng(1).normal(size=(2, workers.nparams)).astype(np.float32)

    def play(rows: np.ndarray, generation: int = 0) -> np.ndarray:
        return workers.evaluate(rows, generation=generation, purpose=Purpose.VALIDATION, episodes=6)

    first = play(rows)
    assert first.shape == (2, 6)
    assert len(set(first[0])) > 1
    np.testing.assert_array_equal(first, play(rows))
    np.testing.assert_array_equal(first, np.concatenate([play(rows[:1]), play(rows[1:])]))  # side by side is one by one
    assert (first != play(rows, generation=1)).any()


def test_a_failed_individual_affects_no_other(workers: LocalWorkers) -> None:
    rows = population(workers).rows()
    sound = workers.rollout(MatrixPopulation(rows), generation=0)
    rows[3] = np.nan
    spoilt = workers.rollout(MatrixPopulation(rows), generation=0)
    assert np.isnan(spoilt.fitness[3])
    assert spoilt.non_finite == 1
    others = np.arange(10) != 3
    np.testing.assert_array_equal(sound.fitness[others], spoilt.fitness[others])


def test_what_cannot_be_built_is_an_error_of_ours() -> None:
    for recipe in (Recipe("CartPole-v2", NetworkSpec(), 0, 4), Recipe("CartPole-v1", NetworkSpec(network="static", normalise="max"), 0, 4)):
        with pytest.raises(NchlError):
            LocalWorkers(recipe)
