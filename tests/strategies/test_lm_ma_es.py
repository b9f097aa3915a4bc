"""LM-MA-ES against a plain loop of the paper's algorithm, and the constants where the paper's are no rates."""

from __future__ import annotations

import numpy as np
import pytest

from nchl import seeds
from nchl.strategies import LMMAES
from reference import lm_ma_es as reference
from reference.landscapes import ellipsoid, rosenbrock


@pytest.mark.parametrize(("function", "size", "population"), [(ellipsoid, 24, 12), (rosenbrock, 30, 14), (rosenbrock, 40, 9)])
def test_equals_the_paper_over_many_generations(function, size, population):
    strategy = LMMAES(size, population, 7, sigma=0.4)
    start = strategy.centre.tolist()

    def noise(generation: int, individual: int) -> list[float]:
        return seeds.generator(7, seeds.Purpose.NOISE, generation, individual).standard_normal(size).tolist()

    expected = reference.minimise(lambda x: float(-function(np.array([x]))[0]), start, 0.4, population, 120, noise)
    for theta, sigma in expected:
        strategy.tell(function(strategy.ask().rows()))
        np.testing.assert_allclose(strategy.centre, theta, rtol=1e-10, atol=1e-10)
        assert strategy.sigma == pytest.approx(sigma, rel=1e-10)


def test_fitness_steers_the_vectors():
    # A known implementation updates its matrix without regard to fitness.
    vectors = []
    for sign in (1, -1):
        strategy = LMMAES(20, 12, 0)
        strategy.tell(sign * strategy.ask().rows()[:, 0])
        vectors.append(strategy.state()["vectors"])
    assert vectors[0][0][0] > 0 > vectors[1][0][0]


def test_constants_are_the_papers_in_its_regime():
    strategy = LMMAES(1000, 24, 0)
    assert len(strategy.c_d) == len(strategy.c_c) == 24
    assert strategy.mu == 12
    assert strategy.c_sigma == 2 * 24 / 1000
    np.testing.assert_allclose(strategy.c_d[:3], [1 / 1000, 1 / 1500, 1 / 2250])
    np.testing.assert_allclose(strategy.c_c[:3], [24 / 1000, 24 / 4000, 24 / 16000])
    assert strategy.weights.sum() == pytest.approx(1)
    assert (strategy.d_sigma, strategy.mu_m) == (1, strategy.mu_w)


@pytest.mark.parametrize(("size", "population"), [(1, 4), (2, 6), (5, 8), (5, 200), (74, 200)])
def test_rates_are_rates_and_the_search_stays_finite_on_a_slope(size, population):
    strategy = LMMAES(size, population, 0)
    assert 0 < strategy.c_sigma <= 1
    assert (strategy.c_c <= 1).all()
    for _ in range(40):
        strategy.tell(strategy.ask().rows().sum(axis=1))
    assert np.isfinite(strategy.centre).all()
    assert strategy.centre.sum() > 10
    for _ in range(40):
        strategy.ask()
        strategy.tell(np.random.default_rng(strategy.generation).standard_normal(population))
    assert np.isfinite(strategy.centre).all()
    assert np.isfinite(strategy.sigma)
