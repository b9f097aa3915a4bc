"""OpenAI-ES against a plain loop of its equation, its decays and floors, and populations too large to exist."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from nchl import seeds, strategies
from nchl.errors import InvalidArgument
from nchl.strategies import OpenAIES, decay
from reference.landscapes import sphere
from reference.openai_es import step


def noise_of(seed: int, generation: int, population: int, size: int, antithetic: bool) -> list[list[float]]:
    rows = []
    for row in range(population):
        stream, sign = (row // 2, 1 - 2 * (row % 2)) if antithetic else (row, 1)
        generator = seeds.generator(seed, seeds.Purpose.NOISE, generation, stream)
        rows.append([sign * float(number) for number in generator.standard_normal(size, dtype=np.float32)])
    return rows


@pytest.mark.parametrize("antithetic", [True, False])
def test_each_generation_is_the_equation(antithetic):
    strategy = OpenAIES(9, 12, 5, sigma=0.3, lr=0.07, antithetic=antithetic)
    scores_of = np.random.default_rng(0)
    for generation in range(8):
        theta, sigma, lr = strategy.centre, strategy.sigma, strategy.lr
        noise = noise_of(5, generation, 12, 9, antithetic)
        np.testing.assert_allclose(strategy.ask().rows(), theta + sigma * np.array(noise), rtol=1e-5, atol=1e-6)
        scores = scores_of.integers(0, 5, 12).astype(float)
        scores[generation % 12] = [np.nan, np.inf][generation % 2]
        strategy.tell(scores)
        np.testing.assert_allclose(strategy.centre, step(theta.tolist(), noise, scores.tolist(), lr, sigma), atol=1e-13)


def test_the_step_estimates_the_gradient_and_is_not_scaled_by_sigma():
    # On a line of slope one, u is close to the noise along the line, so lr / sigma * mean(u noise) is close to lr / sigma.
    # Candidates in place of noise (as in published code) would give lr: sigma times too little.
    for sigma in (0.1, 0.01):
        strategy = OpenAIES(2, 4000, 0, centre="zeros", sigma=sigma, lr=0.5)
        strategy.tell(strategy.ask().rows()[:, 0])
        assert strategy.centre[0] * sigma / 0.5 == pytest.approx(np.sqrt(3 / np.pi), rel=0.02)  # correlation of a normal and its rank
        assert abs(strategy.centre[1] * sigma / 0.5) < 0.05


def test_all_tied_makes_no_step_and_still_decays():
    for optimizer, sigma, lr in (("sgd", 0.1, 0.2), ("adam", 0.1, 0.15), ("clipup", 0.3, 0.3 * np.sqrt(3) / 4)):
        strategy = OpenAIES(3, 6, 0, optimizer=optimizer)
        before = strategy.centre
        strategy.ask()
        strategy.tell(np.full(6, 500.0))
        np.testing.assert_array_equal(strategy.centre, before)
        assert (strategy.sigma, strategy.lr) == (sigma * 0.999, lr * 0.995)


def test_the_length_of_clipups_steps_follows_from_sigma():
    assert OpenAIES(16, 6, 0, optimizer="clipup", sigma=0.1).settings["lr"] == 0.1
    assert OpenAIES(16, 6, 0, optimizer="clipup", sigma=0.1, lr=0.7).settings["lr"] == 0.7


def test_antithetic_rows_mirror_each_other_and_single_rows_do_not():
    rows = OpenAIES(1000, 8, 0, centre="zeros").ask().rows()
    np.testing.assert_array_equal(rows[0::2], -rows[1::2])
    assert abs(np.corrcoef(rows[0::2])[0, 1:]).max() < 0.15
    rows = OpenAIES(1000, 9, 0, centre="zeros", antithetic=False).ask().rows()
    assert abs(np.corrcoef(rows) - np.eye(9)).max() < 0.15
    assert rows.std() == pytest.approx(0.1, rel=0.03)


def test_decays_stop_at_their_floors():
    strategy = OpenAIES(2, 2, 0, sigma=0.0101, lr=0.00101)
    for _ in range(20):
        strategy.ask()
        strategy.tell([0.0, 1.0])
    assert (strategy.sigma, strategy.lr) == (decay.SIGMA_FLOOR, decay.LR_FLOOR)
    below = OpenAIES(2, 2, 0, sigma=0.005, lr=0.0005)
    below.ask()
    below.tell([0.0, 1.0])
    assert (below.sigma, below.lr) == (0.005, 0.0005)


def test_sphere_to_what_the_floor_of_sigma_allows():
    # Individuals stand sigma sqrt(n) from the centre, so nearer than about that the ranks say little.
    strategy = OpenAIES(20, 200, 0, sigma=0.1, sigma_decay=0.98, lr=0.05, lr_decay=0.97)
    for _ in range(200):
        strategy.tell(sphere(strategy.ask().rows()))
    assert strategy.sigma == decay.SIGMA_FLOOR
    assert np.linalg.norm(strategy.centre) < 2 * decay.SIGMA_FLOOR * np.sqrt(20)


def test_refusals_that_teach():
    with pytest.raises(InvalidArgument, match=r"population 7 is odd.*use 8, or antithetic=False"):
        OpenAIES(3, 7, 0)
    assert len(OpenAIES(3, 7, 0, antithetic=False).ask()) == 7
    for setting, value in [("lr", 0.0), ("lr", float("inf")), ("lr_decay", 1.1), ("sigma_decay", 0.0)]:
        with pytest.raises(InvalidArgument, match=setting):
            OpenAIES(3, 8, 0, **{setting: value})


def test_ten_thousand_large_individuals_need_not_exist():
    size = 173_284
    strategy = OpenAIES(size, 10_000, 0)
    tracemalloc.start()
    population = strategy.ask()
    np.testing.assert_array_equal(population.rows(9_997, 10_000)[1:], population.rows(9_998, 10_000))
    scores = np.zeros(10_000)
    scores[[10, 5_000, 9_999]] = [3.0, 1.0, 2.0]  # only three pairs matter: the others cost nothing
    strategy.tell(scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * size * 8  # the matrix would be 5,000 times as large
    assert np.isfinite(strategy.centre).all()


_PROGRAM = """
import hashlib, sys
import numpy as np
from nchl import strategies
digest = hashlib.sha256()
for name, size, population in [("openai-es", 60_000, 40), ("elite", 30_000, 12), ("lm-ma-es", 30_000, 12), ("cma-es", 150, 24)]:
    strategy = strategies.make(name, size, population, 1)
    for generation in range(3):
        rows = strategy.ask().rows()
        digest.update(rows.tobytes())
        strategy.tell(-np.abs(rows).max(axis=1))
    digest.update(strategy.centre.tobytes())
print(digest.hexdigest())
"""


def test_the_bits_do_not_depend_on_the_number_of_threads():
    digests = set()
    for threads in ("1", "3"):
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_noise_drawn_ahead_by_threads_is_the_noise_drawn_alone(monkeypatch):
    def rows_and_centre() -> tuple[np.ndarray, np.ndarray]:
        strategy = strategies.make("openai-es", 5_000, 30, 2)
        rows = strategy.ask().rows()
        strategy.tell(rows[:, 0])
        return rows, strategy.centre

    plain = rows_and_centre()
    monkeypatch.setattr("nchl.strategies.population._WORTH_THREADS", 0)
    monkeypatch.setattr("nchl.strategies.population.cores.available", lambda: [0, 1, 2])
    threaded = rows_and_centre()
    np.testing.assert_array_equal(plain[0], threaded[0])
    np.testing.assert_array_equal(plain[1], threaded[1])
