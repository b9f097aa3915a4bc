"""Optimisers, PGPE and SNES against plain loops of their equations, and what each does where there is nothing to learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nchl import strategies
from nchl.errors import InvalidArgument, UnknownName
from nchl.strategies import decay
from nchl.strategies.optimizers import OPTIMIZERS, make_optimizer
from reference.landscapes import ellipsoid, sphere


def test_adam_and_clipup_are_their_equations():
    gradients = np.random.default_rng(0).normal(size=(6, 3)) * [[1], [1e-3], [5], [0], [2], [1]]
    adam, clipup = make_optimizer("adam", 3), make_optimizer("clipup", 3)
    m, v, velocity = [0.0] * 3, [0.0] * 3, [0.0] * 3
    for t, g in enumerate(gradients, 1):
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        expected = [0.3 * (a / (1 - 0.9**t)) / (math.sqrt(b / (1 - 0.999**t)) + 1e-8) for a, b in zip(m, v, strict=True)]
        np.testing.assert_allclose(adam.step(4 * g, 4.0, 0.3), expected, rtol=1e-12)
        length = math.sqrt(sum(x * x for x in g))
        velocity = [0.9 * a + (0.3 * b / length if length else 0) for a, b in zip(velocity, g, strict=True)]
        speed = math.sqrt(sum(x * x for x in velocity))
        velocity = [a * min(1, 0.6 / speed) for a in velocity]
        np.testing.assert_allclose(clipup.step(4 * g, 4.0, 0.3), velocity, rtol=1e-12)


def test_plain_steps_have_the_bits_that_they_always_had():
    total = np.random.default_rng(1).normal(size=7)
    np.testing.assert_array_equal(make_optimizer("sgd", 7).step(total.copy(), 200 * 0.1, 0.2), total * (0.2 / (200 * 0.1)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["openai-es", "pgpe"])
def test_a_generation_of_equal_scores_changes_no_memory(name, optimizer):
    strategy = strategies.make(name, 5, 8, 0, optimizer=optimizer, weight_decay=0.1)
    strategy.tell(sphere(strategy.ask().rows()))
    before = strategy.state()
    strategy.ask()
    strategy.tell(np.full(8, 500.0))
    after = strategy.state()
    for key in before.keys() - {"lr", "generation", "best", "best_score"} - ({"sigma"} if name == "openai-es" else set()):
        np.testing.assert_array_equal(after[key], before[key], err_msg=key)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["openai-es", "pgpe"])
def test_each_optimizer_climbs(name, optimizer):
    # In the ellipsoid all coordinates but a few are nearly flat for plain steps.
    rate = {"sgd": 0.05, "adam": 0.05, "clipup": 0.1}[optimizer] * (100 if (name, optimizer) == ("pgpe", "sgd") else 1)
    strategy = strategies.make(name, 20, 60, 1, optimizer=optimizer, lr=rate, lr_schedule="cosine:150")
    begin = float(np.linalg.norm(strategy.centre))
    for _ in range(150):
        strategy.tell(sphere(strategy.ask().rows()))
    assert np.linalg.norm(strategy.centre) < 0.15 * begin


def test_weight_decay_draws_to_zero():
    centres = [
        strategies.make("openai-es", 30, 20, 0, weight_decay=weight_decay, sigma_schedule="constant", lr_schedule="constant")
        for weight_decay in (0.0, 0.2)
    ]
    for strategy in centres:
        for generation in range(40):
            strategy.ask()
            strategy.tell(np.random.default_rng(generation).normal(size=20))
    assert np.linalg.norm(centres[1].centre) < 0.8 * np.linalg.norm(centres[0].centre)


@pytest.mark.parametrize(("name", "power", "options"), [("pgpe", 0, {}), ("openai-es", 2, {"sigma_schedule": "constant"})])
def test_weight_decay_has_the_unit_that_is_documented(name, power, options):
    # A genome and a sigma that are ten times as large, with weight decay and plain steps in their units, are the same search.
    centres = []
    for scale in (1.0, 10.0):
        rates = {"weight_decay": 0.02 / scale**power, "lr": 0.2 * scale**power, "lr_schedule": "constant", "optimizer": "sgd", **options}
        strategy = strategies.make(name, 5, 20, 0, centre=np.arange(5) * scale, sigma=0.5 * scale, **rates)
        for _ in range(10):
            strategy.tell(sphere(strategy.ask().rows() / scale))
        centres.append(strategy.centre / scale)
    np.testing.assert_allclose(centres[1], centres[0], rtol=1e-9)


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_plain_steps_of_pgpe_cross_the_sphere_by_default(sigma):
    strategy = strategies.make("pgpe", 20, 40, seed=0, optimizer="sgd", sigma=sigma)
    begin = sphere(strategy.centre[None]).item()
    for _ in range(300):
        strategy.tell(sphere(strategy.ask().rows()))
    assert begin < -20
    assert sphere(strategy.centre[None]).item() > -0.01


def test_pgpe_settles_in_an_optimum_by_default():
    strategy = strategies.make("pgpe", 10, 20, 1)
    for _ in range(800):
        strategy.tell(sphere(strategy.ask().rows()))
    assert -sphere(strategy.centre[None])[0] < 1e-3


def test_pgpe_and_snes_learn_a_sigma_for_each_coordinate():
    for name, generations in (("pgpe", 200), ("snes", 60)):
        strategy = strategies.make(name, 6, 40, 2, centre="zeros", sigma=0.3)
        for _ in range(generations):
            strategy.tell(ellipsoid(strategy.ask().rows()))
        # The last coordinate is the steepest of the ellipsoid.
        assert strategy.sigmas[-1] < 0.5 * strategy.sigmas[0], name


def test_what_travels_does_not_grow_with_the_population():
    for name, vectors in (("openai-es", 1), ("pgpe", 2), ("snes", 2)):
        described = strategies.make(name, 1_000, 5_000, 0).ask().describe()
        assert sum(np.size(value) for value in described.values() if isinstance(value, np.ndarray)) == vectors * 1_000


def test_refusals_that_teach():
    with pytest.raises(UnknownName, match="did you mean 'clipup'"):
        strategies.make("pgpe", 3, 4, 0, optimizer="clip-up")
    for name in ("openai-es", "pgpe"):
        for lr in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InvalidArgument, match="lr must be a finite number above 0"):
                strategies.make(name, 3, 4, 0, lr=lr)
        with pytest.raises(InvalidArgument, match="weight_decay must be a finite number of at least 0; got -1"):
            strategies.make(name, 3, 4, 0, weight_decay=-1.0)
    with pytest.raises(InvalidArgument, match="sigma_lr must be"):
        strategies.make("pgpe", 3, 4, 0, sigma_lr=0.0)
    with pytest.raises(InvalidArgument, match="population 5 is odd, but PGPE's noise comes in pairs; use 6"):
        strategies.make("pgpe", 3, 5, 0)
    with pytest.raises(InvalidArgument, match="cosine needs the generations over which it falls, as in cosine:300; got 'cosine'"):
        strategies.make("openai-es", 3, 4, 0, lr_schedule="cosine")
    with pytest.raises(UnknownName, match="unknown schedule 'exponentiall': did you mean 'exponential'"):
        strategies.make("elite", 3, 4, 0, sigma_schedule="exponentiall")
    with pytest.raises(InvalidArgument, match="--lr-decay does not apply to --lr-schedule constant, only to exponential"):
        strategies.make("openai-es", 3, 4, 0, lr_schedule="constant", lr_decay=0.9)
    with pytest.raises(InvalidArgument, match="takes no number"):
        decay.read_schedule("constant:3")
