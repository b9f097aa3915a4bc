"""Known optima within stated budgets of evaluations, for the strategies that adapt; the others to what sigma's floor allows."""

from __future__ import annotations

import numpy as np
import pytest

from nchl import strategies
from nchl.errors import InvalidArgument
from nchl.strategies import decay
from reference import landscapes

# (strategy, settings, function, dimension, population, evaluations, target)
FAST = [
    ("cma-es", {}, "sphere", 10, 10, 2_500, 1e-9),
    ("cma-es", {}, "ellipsoid", 10, 10, 7_000, 1e-9),
    ("cma-es", {}, "rosenbrock", 10, 10, 9_000, 1e-9),
    ("sep-cma-es", {}, "ellipsoid", 10, 10, 7_000, 1e-9),
    ("snes", {}, "sphere", 10, 20, 12_000, 1e-9),
    ("snes", {}, "ellipsoid", 10, 20, 20_000, 1e-9),
    ("lm-ma-es", {}, "sphere", 5, 8, 2_000, 1e-9),
    ("lm-ma-es", {}, "sphere", 10, 10, 3_000, 1e-9),
    ("lm-ma-es", {}, "rosenbrock", 5, 8, 10_000, 1e-9),
    ("lm-ma-es", {}, "rosenbrock", 10, 10, 20_000, 1e-9),
    ("lm-ma-es", {}, "sphere", 100, 20, 16_000, 1e-9),
]
# Searches of minutes (CMA-ES and LM-MA-ES on the 100-dimensional ellipsoid, ...) are in benchmarks/optima.py, their figures in the docs.
SLOW = [
    ("lm-ma-es", {}, "rosenbrock", 5, 100, 80_000, 1e-9),
    ("cma-es", {}, "sphere", 100, 20, 16_000, 1e-8),
    ("sep-cma-es", {}, "ellipsoid", 100, 20, 60_000, 1e-8),
    ("lm-ma-es", {}, "ellipsoid", 10, 10, 250_000, 1e-8),
    ("lm-ma-es", {}, "rosenbrock", 100, 20, 500_000, 1e-8),
]


def name_of(case) -> str:
    return "-".join(map(str, [case[0], *case[1], *case[2:5]]))


def reach(name, given, function, dimension, population, budget, target) -> None:
    strategy = strategies.make(name, dimension, population, seed=1, sigma=0.5, **given)
    score = getattr(landscapes, function)
    for _ in range(budget // population):
        strategy.tell(score(strategy.ask().rows()))
        if strategy.best_score >= -target:
            break
    assert strategy.best_score >= -target
    optimum = 1.0 if function == "rosenbrock" else 0.0
    np.testing.assert_allclose(strategy.best, optimum, atol=100 * np.sqrt(target))


@pytest.mark.parametrize("case", FAST, ids=name_of)
def test_reaches_the_optimum(case):
    reach(*case)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=name_of)
def test_reaches_the_optimum_slowly(case):
    reach(*case)


@pytest.mark.parametrize("dimension", [10, 100])
def test_elite_reaches_the_sphere_to_what_the_floor_of_sigma_allows(dimension):
    strategy = strategies.make("elite", dimension, 100, seed=1, sigma=0.3, sigma_decay=0.98)
    for _ in range(250):
        strategy.tell(landscapes.sphere(strategy.ask().rows()))
    assert strategy.sigma == decay.SIGMA_FLOOR
    assert np.linalg.norm(strategy.centre) < decay.SIGMA_FLOOR * np.sqrt(dimension)


def test_a_large_full_matrix_is_refused_with_its_size_and_the_diagonal_works():
    with pytest.raises(InvalidArgument, match=r"173,284 numbers takes 240\.2 GB.*sep-cma-es"):
        strategies.make("cma-es", 173_284, 10, 0)
    strategy = strategies.make("sep-cma-es", 5_000, 10, 0)
    before = landscapes.sphere(strategy.centre[None])
    for _ in range(20):
        strategy.tell(landscapes.sphere(strategy.ask().rows()))
    assert landscapes.sphere(strategy.centre[None]) > before


def test_cma_es_says_which_populations_and_sizes_it_cannot_use():
    with pytest.raises(InvalidArgument, match="at least 4"):
        strategies.make("cma-es", 5, 3, 0)
    with pytest.raises(InvalidArgument, match="at least 2"):
        strategies.make("cma-es", 1, 8, 0)


def test_cma_es_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    strategy = strategies.make("cma-es", 5, 8, 0)
    strategy.tell(landscapes.sphere(strategy.ask().rows()))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("version", ["1.0.0", "3.9", "10.11.12.dev1"])
@pytest.mark.parametrize("name", ["cma-es", "sep-cma-es"])
def test_a_cma_state_of_another_version_is_refused(name: str, version: str):
    """Also where the two names of versions, kept as arrays, are of different lengths."""
    strategy = strategies.make(name, 5, 8, 0)
    state = strategy.state() | {"cma.version": np.frombuffer(version.encode(), dtype=np.uint8)}
    with pytest.raises(InvalidArgument, match=f"made with cma {version}, and .*pip install cma=={version}"):
        strategy.restore(state)
