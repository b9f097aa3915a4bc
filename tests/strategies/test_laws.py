"""Laws that every strategy obeys, checked over the registry: a new one is tested without a new test."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from nchl import seeds, strategies
from nchl.errors import InvalidArgument, NchlError, OrderError, ShapeError, UnknownName
from nchl.strategies import Strategy
from nchl.strategies.gradient_settings import GradientSettings, gradient_settings, step_length
from reference.landscapes import rosenbrock, sphere

VARIANTS = [
    *((name, {}) for name in strategies.STRATEGIES),
    ("openai-es", {"antithetic": False}),
    ("openai-es", {"optimizer": "adam", "lr_schedule": "cosine:9"}),
    ("openai-es", {"optimizer": "sgd"}),
    ("openai-es", {"optimizer": "clipup", "weight_decay": 0.01, "sigma_schedule": "constant"}),
    ("pgpe", {"optimizer": "sgd"}),
]
SIZE, POPULATION = 6, 14


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join([variant[0], *variant[1]]))
def variant(request: pytest.FixtureRequest):
    return request.param


def build(variant, seed: int = 3, size: int = SIZE, population: int = POPULATION, **more) -> Strategy:
    name, given = variant
    return strategies.make(name, size, population, seed, **given, **more)


def advance(strategy: Strategy, generations: int, fitness=rosenbrock) -> Strategy:
    for _ in range(generations):
        strategy.tell(fitness(strategy.ask().rows()))
    return strategy


def assert_same(one: Strategy, other: Strategy) -> None:
    first, second = one.state(), other.state()
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(variant):
    assert_same(advance(build(variant), 12), advance(build(variant), 12))
    assert not np.array_equal(build(variant).ask().rows(), build(variant, seed=4, centre=build(variant).centre).ask().rows())


def test_noise_is_new_in_each_generation(variant):
    strategy = build(variant, centre="zeros")
    first = strategy.ask().rows()
    strategy.tell(np.arange(POPULATION))
    assert not np.isin(strategy.ask().rows()[1:], first).any()


def test_rows_are_the_same_however_they_are_cut_and_in_any_order(variant):
    population = advance(build(variant, population=16), 5).ask()
    whole = population.rows()
    assert whole.shape == (16, SIZE)
    assert len(population) == 16
    assert population.size == SIZE
    for start, stop in [(15, 16), (3, 9), (0, 1), (8, 8), (0, 16), (1, 2), (2, 15)]:
        np.testing.assert_array_equal(population.rows(start, stop), whole[start:stop])
    for start, stop in [(-1, 3), (3, 2), (0, 17)]:
        with pytest.raises(InvalidArgument, match="use 0 <= start <= stop <= 16"):
            population.rows(start, stop)


def test_writing_into_rows_changes_nothing(variant):
    strategy = build(variant)
    strategy.ask().rows()[:] = 0
    np.testing.assert_array_equal(strategy.ask().rows(), build(variant).ask().rows())


def test_a_population_is_made_again_from_its_description(variant):
    population = advance(build(variant), 4).ask()
    description = population.describe()
    for value in description.values():
        assert value is None or isinstance(value, (np.ndarray, int, float, str))
    np.testing.assert_array_equal(strategies.population_from(description).rows(3, 9), population.rows(3, 9))


def test_a_population_outlives_the_generation_that_it_was_asked_for(variant):
    strategy = build(variant)
    population = strategy.ask()
    before = population.rows()
    advance(strategy, 3)
    np.testing.assert_array_equal(population.rows(), before)


@pytest.mark.parametrize("asked", [False, True], ids=["between", "after-ask"])
@pytest.mark.parametrize("generations", [0, 1, 17])
def test_restored_in_the_middle_it_continues_bit_by_bit(variant, generations, asked):
    strategy = advance(build(variant), generations)
    if asked:
        strategy.ask()
    # A checkpoint holds arrays, as bytes with a shape and a type, and settings as JSON.
    saved = {key: (value.tobytes(), value.shape, value.dtype.str) for key, value in strategy.state().items()}
    settings = json.loads(json.dumps(strategy.settings))
    state = {key: np.frombuffer(data, dtype).reshape(shape) for key, (data, shape, dtype) in saved.items()}

    restored = strategies.make(variant[0], SIZE, POPULATION, 3, **settings)
    advance(restored, 2)  # whatever it was before
    restored.restore(state)
    assert_same(restored, build(variant) if generations == 0 else strategy)
    for _ in range(40):
        np.testing.assert_array_equal(restored.ask().rows(), strategy.ask().rows())
        advance(restored, 1)
        advance(strategy, 1)
        assert_same(restored, strategy)
    assert restored.generation == generations + 40


@pytest.mark.parametrize("population", [4, 5])
def test_a_small_population_continues_bit_by_bit_too(variant, population):
    """Below 6 the library of CMA-ES has ways of its own."""
    if population % 2 and (variant[0] == "pgpe" or (variant[0] == "openai-es" and variant[1].get("antithetic", True))):
        pytest.skip("antithetic noise comes in pairs")
    strategy = build(variant, population=population)
    for _ in range(30):
        restored = build(variant, population=population)
        restored.restore(strategy.state())
        np.testing.assert_array_equal(restored.ask().rows(), strategy.ask().rows())
        for one in (restored, strategy):
            advance(one, 1)
        assert_same(restored, strategy)


def test_a_state_is_a_copy(variant):
    strategy = advance(build(variant), 3)
    for value in strategy.state().values():
        value[...] = 0
    assert_same(strategy, advance(build(variant), 3))


def test_a_foreign_state_is_refused(variant):
    strategy = build(variant)
    state = strategy.state()
    with pytest.raises(InvalidArgument, match="missing \\['centre'\\]"):
        strategy.restore({key: value for key, value in state.items() if key != "centre"})
    with pytest.raises(InvalidArgument, match="unknown \\['stranger'\\]"):
        strategy.restore(state | {"stranger": np.zeros(1)})
    with pytest.raises(ShapeError, match=r"'centre' must have shape \(6,\); got \(7,\)"):
        strategy.restore(state | {"centre": np.zeros(7)})


@pytest.mark.parametrize(
    "change", [lambda f: 3 * f + 7, lambda f: np.sign(f) * np.abs(f) ** 0.25, lambda f: -np.log1p(-f)], ids=["affine", "root", "log"]
)
def test_an_order_preserving_change_of_fitness_changes_no_bit(variant, change):
    plain, changed = build(variant), build(variant)
    for _ in range(30):
        scores = rosenbrock(plain.ask().rows())
        assert np.array_equal(np.argsort(change(scores), kind="stable"), np.argsort(scores, kind="stable"))
        plain.tell(scores)
        changed.ask()
        changed.tell(change(scores))
    assert plain.state().keys() == changed.state().keys()
    for key in plain.state().keys() - {"best_score"}:
        np.testing.assert_array_equal(plain.state()[key], changed.state()[key], err_msg=key)


def test_a_score_that_is_not_finite_counts_as_the_worst(variant):
    states = []
    for bad in [np.nan, np.inf, -np.inf, -1e300]:
        strategy = advance(build(variant), 2)
        scores = rosenbrock(strategy.ask().rows())
        scores[int(np.argmax(scores))] = bad
        strategy.tell(scores)
        states.append(strategy.state())
    for state in states[1:]:
        for key in state:
            np.testing.assert_array_equal(state[key], states[0][key], err_msg=key)


def test_one_finite_score_is_enough_and_none_is_an_error_that_changes_nothing(variant):
    strategy = build(variant)
    strategy.ask()
    scores = np.full(POPULATION, np.nan)
    scores[1] = -np.inf
    with pytest.raises(NchlError, match=r"generation 1 has no finite score \(13 NaN, 1 infinite\)"):
        strategy.tell(scores)
    assert_same(strategy, build(variant))
    scores[5] = 2.0
    strategy.tell(scores)
    assert np.isfinite(strategy.centre).all()
    assert strategy.best_score == 2.0


def test_the_best_ever_is_kept(variant):
    strategy = build(variant)
    best, seen = -np.inf, None
    for _ in range(15):
        rows = strategy.ask().rows()
        scores = sphere(rows)
        strategy.tell(scores)
        if scores.max() > best:
            best, seen = scores.max(), rows[np.argmax(scores)]
        assert strategy.best_score == best
        np.testing.assert_array_equal(strategy.best, seen)


def test_a_plateau_is_survived(variant):
    strategy = advance(build(variant), 100, fitness=lambda rows: np.zeros(len(rows)))
    assert np.isfinite(strategy.centre).all()
    assert 1e-3 < strategy.sigma < 10


def test_calls_out_of_order_and_wrong_shapes(variant):
    strategy = build(variant)
    with pytest.raises(OrderError, match="ask"):
        strategy.tell(np.zeros(POPULATION))
    assert strategy.ask() is strategy.ask()
    for shape in [(POPULATION + 1,), (POPULATION, 1), ()]:
        with pytest.raises(ShapeError, match=r"scores must have shape \(14,\)"):
            strategy.tell(np.zeros(shape))
    for scores in (["a"] * POPULATION, [[1.0], *[2.0] * (POPULATION - 1)], [1j] * POPULATION):
        with pytest.raises(InvalidArgument, match="scores must be numbers, one per individual; got list"):
            strategy.tell(scores)
    strategy.tell(list(range(POPULATION)))
    with pytest.raises(OrderError, match="ask"):
        strategy.tell(np.zeros(POPULATION))


def test_bad_arguments(variant):
    for given, message in [
        ({"population": 1}, "population must be at least 2.*got 1"),
        ({"size": 0}, "size 0"),
        ({"sigma": 0.0}, "sigma must be"),
        ({"sigma": float("nan")}, "sigma must be"),
        ({"population": 4.0}, "population: expected a whole number, got 4.0"),
        ({"size": "6"}, "size: expected a whole number, got '6'"),
        ({"seed": -1, "centre": np.zeros(SIZE)}, "seed: expected a whole number, at least 0, got -1"),
        ({"seed": 1.5}, "seed: expected a whole number, at least 0, got 1.5"),
        ({"centre": np.zeros(5)}, r"must have shape \(6,\).*got \(5,\)"),
        ({"centre": [0, 0, 0, np.nan, 0, 0]}, "element 3 is not"),
        ({"centre": "norml"}, "did you mean 'normal'"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            build(variant, **given)


def test_the_given_centre_is_copied(variant):
    given = np.ones(SIZE)
    strategy = build(variant, centre=given)
    given[:] = 5
    np.testing.assert_array_equal(strategy.centre, np.ones(SIZE))


def test_settings_are_those_of_the_constructor_and_make_refuses_others(variant):
    name, given = variant
    known = strategies.settings(name)
    assert set(build(variant).settings) == set(known)
    decided = {"mu": 10} if name == "elite" else {}
    if "optimizer" in known:
        decided = gradient_settings(name, *(given.get(each, known[each]) for each in GradientSettings._fields))._asdict()
        decided["lr"] = step_length(decided["sigma"], SIZE) if decided["lr"] is None else decided["lr"]
    assert build(variant).settings == known | given | decided
    parameters = inspect.signature(strategies.STRATEGIES[name].load().__init__).parameters.values()
    keywords = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert keywords == known | {"centre": "normal"}
    with pytest.raises(InvalidArgument, match="has no setting 'sgma'"):
        strategies.make(name, SIZE, POPULATION, 0, sgma=1)
    if "lr" not in known:
        with pytest.raises(InvalidArgument, match="has no setting 'lr'; it applies to openai-es and pgpe"):
            strategies.make(name, SIZE, POPULATION, 0, lr=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: seeds.environment_seed(-1, seeds.Purpose.TRAINING, 0, 0), "run_seed: expected a whole number, at least 0, got -1"),
        (lambda: seeds.generator(None, seeds.Purpose.NOISE), "run_seed: expected a whole number, at least 0, got None"),
        (lambda: seeds.weights_seed(0, seeds.Purpose.TRAINING, -1, 0), "generation: expected .* at least 0, got -1"),
        (lambda: seeds.generator(0, seeds.Purpose.NOISE, 0, 2.5), "index or episode: expected a whole number, at least 0, got 2.5"),
    ],
)
def test_what_names_no_stream_of_random_numbers_is_refused(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()
    same = [seeds.weights_seed(of(3), seeds.Purpose.NOISE, of(1), of(2)) for of in (int, np.int64, np.uint8)]
    assert len(set(same)) == 1


def test_an_unknown_strategy_is_told_the_nearest():
    for call in (lambda: strategies.make("openai", 2, 2, 0), lambda: strategies.settings("openai")):
        with pytest.raises(UnknownName, match="did you mean 'openai-es'"):
            call()
    with pytest.raises(UnknownName, match="kind of population"):
        strategies.population_from({"kind": "gausian"})


def test_a_leaf_stands_directly_under_the_base():
    for name, entry in strategies.STRATEGIES.items():
        leaf = entry.load()
        assert leaf.name == name
        assert leaf.__bases__ == (Strategy,)
        assert not inspect.isabstract(leaf)


def test_a_subclass_has_a_name_of_its_own_and_the_search_and_settings_of_its_base(variant):
    strategy = build(variant)
    own = type("Mine", (type(strategy),), {})(SIZE, POPULATION, 3, **variant[1])
    assert own.name == "Mine"
    assert own.settings == strategy.settings
    assert_same(advance(own, 2), advance(strategy, 2))


def test_initial_centres():
    normal = strategies.initial_centre("normal", 100_000, 1)
    assert normal.dtype == np.float64
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.01
    np.testing.assert_array_equal(normal, strategies.initial_centre("normal", 100_000, 1))
    assert not np.array_equal(normal, strategies.initial_centre("normal", 100_000, 2))
    uniform = strategies.initial_centre("uniform", 100_000, 1)
    assert -1 <= uniform.min() < -0.99
    assert 0.99 < uniform.max() < 1
    assert abs(uniform.mean()) < 0.01
    np.testing.assert_array_equal(strategies.initial_centre("zeros", 3, 1), np.zeros(3))
