"""What is said of weights over a lifetime: held to paths whose answer is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import nchl
from nchl.rollout import dynamics
from nchl.rollout.dynamics import Dynamics, WeightPath, of_path, plastic_weights, together


def directions(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Orthonormal rows."""
    rows: np.ndarray = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, count)))[0].T
    return rows


def circle(steps: int, period: float, size: int = 30, radius: float = 1.0) -> np.ndarray:
    angle = 2 * np.pi * np.arange(steps + 1) / period
    path: np.ndarray = radius * np.stack([np.cos(angle), np.sin(angle)], 1) @ directions(2, size)
    return path


def walk(steps: int, size: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).standard_normal((steps + 1, size)), axis=0)


def test_an_exponential_settles_by_the_share_that_is_computed_by_hand() -> None:
    found = of_path(np.exp(-np.arange(401) / 50.0)[:, None] * directions(1, 20))
    changes = np.exp(-np.arange(400) / 50.0) * (1 - np.exp(-1 / 50.0))
    assert found.verdict == "settles"
    assert found.late_share == pytest.approx(changes[-100:].mean() / changes[:20].mean(), rel=1e-6)
    assert (found.steps, found.changes, found.every, found.period) == (400, 400, 1, None)
    assert found.explained == pytest.approx((1.0, 0.0), abs=1e-9)
    np.testing.assert_allclose(found.relative, np.exp(1 / 50.0) - 1, rtol=1e-6)  # |W(t+1) - W(t)| / |W(t+1)|
    assert found.words == f"settles: late changes are {found.late_share:.2g} of early ones"


@pytest.mark.parametrize(("period", "steps"), [(37, 400), (2, 200), (5, 100), (37, 1500)])
def test_a_circle_cycles_with_its_period(period: int, steps: int) -> None:
    found = of_path(circle(steps, period))
    assert (found.verdict, found.period) == ("cycles", period)
    assert found.autocorrelation == pytest.approx(1.0, abs=1e-6)
    assert found.late_share == pytest.approx(1.0, abs=0.05)
    assert sum(found.explained) == pytest.approx(1.0)


def test_a_circle_in_noise_and_of_a_large_network_cycles() -> None:
    random = np.random.default_rng(1)
    found = of_path(circle(600, 37, size=3000) + 0.001 * random.standard_normal((601, 3000)))
    assert (found.verdict, found.period) == ("cycles", 37)
    assert found.autocorrelation is not None
    assert 0.5 < found.autocorrelation < 0.99


@pytest.mark.parametrize(("size", "steps"), [(1, 30), (1, 200), (3, 100), (50, 30), (50, 300), (1000, 100)])
def test_random_walks_drift(size: int, steps: int) -> None:
    verdicts = [of_path(walk(steps, size, seed)).verdict for seed in range(8)]
    # A mean over one or two early changes of one weight can be large by chance: then late ones are small beside it.
    assert verdicts.count("cycles") == 0
    assert verdicts.count("drifts") >= (5 if size * steps < 100 else 8)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_line_drifts_whatever_rounding_does(kind: type) -> None:
    start = np.random.default_rng(0).standard_normal(10)
    found = of_path((start + 0.01 * np.arange(1001)[:, None] * directions(1, 10)).astype(kind))
    assert (found.verdict, found.period) == ("drifts", None)
    assert found.late_share == pytest.approx(1.0, abs=0.01)
    assert found.explained[0] == pytest.approx(1.0)


def test_a_drift_with_a_wobble_is_a_drift() -> None:
    steps = np.arange(801)[:, None]
    line, wobble = 0.1 * steps * directions(1, 30, seed=3), circle(800, 37, radius=0.5)
    found = of_path(line + wobble)
    assert (found.verdict, found.period) == ("drifts", None)
    assert of_path(0.02 * line + wobble).verdict == "cycles"


def test_weights_that_grow_and_grow_drift() -> None:
    assert of_path(np.exp(np.arange(301) / 50.0)[:, None] * directions(1, 8)).verdict == "drifts"


def test_steps_between_changes_do_not_count() -> None:
    found = of_path(np.repeat(circle(200, 12), 4, axis=0)[3:])  # the first change comes with the first step
    assert (found.every, found.changes, found.verdict, found.period) == (4, 200, "cycles", 48)
    assert found.change_steps[:3].tolist() == [1, 5, 9]
    late = of_path(np.repeat(np.exp(-np.arange(101) / 12.0)[:, None] * directions(1, 6), 4, axis=0))
    assert (late.every, late.verdict) == (4, "settles")


def test_weights_that_stand_still_after_a_while_have_settled() -> None:
    path = np.minimum(np.arange(201), 30)[:, None] * directions(1, 6)
    found = of_path(path)
    assert (found.verdict, found.late_share, found.changes) == ("settles", 0.0, 200)


def test_what_has_no_verdict_says_why() -> None:
    still = of_path(np.ones((100, 4)))
    assert (still.verdict, still.why, still.changes) == (None, "the weights never changed", 0)
    short = of_path(walk(19, 4, 0))
    assert (short.verdict, short.changes) == (None, 19)
    assert "19 changes of the weights are too few, 20 are needed" in short.words
    assert of_path(walk(20, 4, 0)).verdict is not None
    for found in (still, short, of_path(np.ones((1, 4))), of_path([]), of_path(np.zeros((5, 0)))):
        json.dumps(found.summary(), allow_nan=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_beyond_all_bounds_drift_and_keep_the_path_before(value: float) -> None:
    path = walk(60, 5, 0)
    path[41:, 2] = value
    found = of_path(path)
    assert (found.verdict, found.why) == ("drifts", "the weights are no longer finite after step 41")
    assert found.steps == 60
    assert len(found.path) == 41
    assert np.isfinite(found.path).all()
    json.dumps(found.summary(), allow_nan=False)


def test_a_sketch_keeps_norms_exactly_and_the_path_nearly() -> None:
    path = walk(100, 20_000, 0) * np.linspace(0, 2, 20_000)
    found = of_path(path)
    sizes, norms = np.linalg.norm(np.diff(path, axis=0), axis=1), np.linalg.norm(path[1:], axis=1)
    np.testing.assert_allclose(found.relative, sizes / norms, rtol=1e-12)
    values = np.linalg.svd(path - path.mean(0), compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, values[:2] / values.sum(), atol=0.05)


def test_long_lives_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics, "RECENT", 128)
    monkeypatch.setattr(dynamics, "POINTS", 32)
    path = WeightPath()
    for row in circle(2000, 9):
        path.look(row)
    assert len(path._recent) == 129
    assert len(path._thinned) <= 32
    found = path.dynamics()
    assert (found.verdict, found.period) == ("cycles", 9)
    assert found.path_steps[-1] <= 2000
    assert np.unique(np.diff(found.path_steps)).tolist() == [64]


def test_only_plastic_weights_count() -> None:
    groups = {"input": 3, "hidden": 4, "output": 2}
    net = nchl.PlasticGraph(groups, [nchl.Edge("input", "hidden", rule="static"), ("hidden", "output")])
    assert plastic_weights(net).shape == (8,)
    assert plastic_weights(nchl.StaticMLP([3, 2])).shape == (0,)
    assert plastic_weights(nchl.WNcHL([3, 2], window=2, population=1)).shape == (6,)


def test_several_lives_together() -> None:
    lives = [of_path(circle(300, 20)), of_path(circle(300, 24)), of_path(walk(300, 40, 0)), of_path(np.ones((9, 2)))]
    found = together(lives)
    assert (found["verdict"], found["period"], found["number"]) == ("cycles", 22.0, 22.0)
    assert found["counts"] == {"settles": 0, "cycles": 2, "drifts": 1}
    assert found["why"].startswith("2 of 4 lifetimes, for example: period 20 steps")
    assert [each["verdict"] for each in found["per_episode"]] == ["cycles", "cycles", "drifts", None]
    json.dumps(found, allow_nan=False)
    none = together([Dynamics(None, "the weights never changed", 5)])
    assert (none["verdict"], none["number"], none["why"]) == (None, None, "the weights never changed")


def lived(net: Any, seed: int, steps: int = 400, period: int = 25, noise: float = 0.3) -> Dynamics:
    """A life in a world that repeats itself, with some noise."""
    random = np.random.default_rng(seed)
    net.set_hrules(0.3 * random.standard_normal(net.nparams))
    net.reset()
    phase = random.uniform(0, 2 * np.pi, net.input_shape)
    path = WeightPath()
    path.look(plastic_weights(net))
    for t in range(steps):
        x = np.sin(2 * np.pi * t / period + phase) + noise * random.standard_normal(net.input_shape)
        net.step(torch.as_tensor(x, dtype=torch.float32))
        path.look(plastic_weights(net))
    return path.dynamics()


@pytest.mark.parametrize("seed", range(3))
def test_real_lives_do_what_hebbian_attractor_networks_do(seed: int) -> None:
    unbounded = lived(nchl.HL([6, 8, 3]), seed)  # condition A: the weights grow and grow, whatever repeats itself in their changes
    assert (unbounded.verdict, unbounded.every) == ("drifts", 1)
    each_step = lived(nchl.HL([6, 8, 3], normalise="max"), seed)  # condition B: they follow the world's cycle
    assert (each_step.verdict, each_step.period) == ("cycles", 25)
    slow = lived(nchl.HL([6, 8, 3], normalise="max", every=4, average="mean:10"), seed)  # condition E: a cycle or a fixed point
    assert slow.verdict in ("cycles", "settles")
    assert (slow.every, slow.changes) == (4, 100)
    assert slow.period in (24, None)


def test_a_weightless_network_in_a_world_that_repeats_itself() -> None:
    found = lived(nchl.WNcHL([6, 8, 3], window=10), 0, noise=0.0)
    assert (found.verdict, found.period) == ("cycles", 25)
