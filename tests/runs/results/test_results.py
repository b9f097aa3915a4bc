"""A run's result in a loop of one's own and on unseen starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nchl
from nchl.errors import InvalidArgument, RunError, ShapeError, UnknownName
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.results.evaluate import interquartile_mean

gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small run for each kind of action and observation."""
    folder = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = {"hidden": (4,), "population": 6, "generations": 2}
    tasks = {
        "CartPole-v1": {"normalise_observations": True, "population": 40, "generations": 4},
        "Pendulum-v1": {},
        "FrozenLake-v1": {"network": "wnchl"},
    }
    for task, options in tasks.items():
        nchl.run(task, out=folder / task, **{**settings, **options})
    return {task: folder / task for task in tasks}


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_an_own_gymnasium_loop(runs: dict[str, Path], task: str) -> None:
    net, _ = nchl.load(runs[task])
    env = gymnasium.make(task)
    net.reset()
    observation, _ = env.reset(seed=0)
    for _ in range(30):
        action = net.act(observation)
        assert env.action_space.contains(action), action
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    env.close()


def test_a_loaded_network_acts_as_in_the_rollout(runs: dict[str, Path]) -> None:
    """The same start, the same initial weights: the return of an own loop is the one that `evaluate` tells."""
    from nchl.seeds import Purpose, environment_seed, weights_seed

    told = nchl.evaluate(runs["CartPole-v1"], episodes=5, seed=7, simulator="gymnasium")["returns"]
    net, task = nchl.load(runs["CartPole-v1"], simulator="gymnasium")
    assert net.statistics is not None
    returns = []
    for episode in range(5):
        net.reset(seed=weights_seed(7, Purpose.EVALUATION, 0, episode))
        env = gymnasium.make("CartPole-v1")
        observation, _ = env.reset(seed=environment_seed(7, Purpose.EVALUATION, 0, episode))
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(net.act(observation))
            total, done = total + reward, terminated or truncated
        returns.append(total)
    assert returns == told
    task.close()


def test_the_network_answers_for_all_else(runs: dict[str, Path]) -> None:
    net, task = nchl.load(runs["CartPole-v1"], "centre")
    assert net.nparams == 44
    assert net.input_shape == task.observation_shape == (4,)
    genome = read_tensors(runs["CartPole-v1"] / "centre.safetensors")[0]["genome"]
    np.testing.assert_allclose(net.genome.numpy(), genome, rtol=1e-6)


def test_an_observation_of_another_shape_is_refused(runs: dict[str, Path]) -> None:
    net, _ = nchl.load(runs["CartPole-v1"])
    with pytest.raises(ShapeError, match=r"\(4,\).*\(1, 4\)"):
        net.act(np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("task", "bad", "said"),
    [
        ("CartPole-v1", [0.0, np.nan, np.inf, 0.0], "2 of the 4 numbers of the observation are not finite"),
        ("Pendulum-v1", [0.0, 0.0, -1e300], "1 of the 3 numbers of the observation are not within"),
    ],
)
def test_an_observation_that_is_not_finite_costs_nothing_but_itself(runs: dict[str, Path], task: str, bad: list[float], said: str) -> None:
    (net, _), (other, _) = nchl.load(runs[task]), nchl.load(runs[task])
    good = np.full(len(bad), 0.1)
    for agent in (net, other):
        agent.reset(seed=1)
        agent.act(good)
    with pytest.raises(InvalidArgument, match=f"{said}.*the network was not stepped"):
        net.act(bad)
    for _ in range(3):
        np.testing.assert_array_equal(net.act(good), other.act(good))
    for mine, theirs in zip(net.weights, other.weights, strict=True):
        assert (mine == theirs).all()


def test_a_missing_reward_names_the_agents_call(tmp_path: Path) -> None:
    nchl.run("CartPole-v1", out=tmp_path / "run", hidden=[2], population=4, generations=1, modulate="reward")
    net, _ = nchl.load(tmp_path / "run")
    net.reset()
    net.act(np.zeros(4))
    before = [weights.clone() for weights in net.weights]
    with pytest.raises(InvalidArgument, match=r"call act\(observation, reward\), with reward=None on the first step") as caught:
        net.act(np.zeros(4))
    assert "modulate='reward'" in str(caught.value)
    assert all((mine == former).all() for mine, former in zip(net.weights, before, strict=True))
    net.act(np.full(4, 0.1), 1.0)


def test_the_result_of_an_evaluation(runs: dict[str, Path]) -> None:
    first = nchl.evaluate(runs["CartPole-v1"], episodes=12, controls=True)
    assert {"episodes", "mean", "std", "iqm", "min", "max", "seed"} <= set(first)
    assert (first["episodes"], first["seed"], len(first["returns"])) == (12, 10000, 12)
    assert first["mean"] == pytest.approx(np.mean(first["returns"]))
    assert first["min"] <= first["iqm"] <= first["max"]
    assert first["frozen_half_way"]["after_steps"] == max(1, round(first["length"] / 2))
    assert {"mean", "std", "iqm"} <= set(first["plasticity_off"])
    json.dumps(first, allow_nan=False)
    assert nchl.evaluate(runs["CartPole-v1"], episodes=12) == {
        name: value for name, value in first.items() if name not in ("plasticity_off", "frozen_half_way")
    }
    assert nchl.evaluate(runs["CartPole-v1"], episodes=12, seed=1)["returns"] != first["returns"]


def test_without_plasticity_zero_weights_stay_zero(tmp_path: Path) -> None:
    nchl.run("CartPole-v1", out=tmp_path / "a", hidden=[4], population=6, generations=1, initial_weights="zeros")
    told = nchl.evaluate(tmp_path / "a", episodes=10, controls=True)
    assert told["plasticity_off"]["max"] < 12  # always the same push: the pole falls at once


def test_interquartile_mean() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([2.0])) == 2
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=101)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_impossible_evaluations_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'best'"):
        nchl.load(runs["CartPole-v1"], "bset")
    with pytest.raises(InvalidArgument, match="episodes"):
        nchl.evaluate(runs["CartPole-v1"], episodes=0)
    with pytest.raises(RunError, match="not a run folder"):
        nchl.load(tmp_path)
    nchl.run("CartPole-v1", out=tmp_path / "a", network="static", hidden=[4], population=4, generations=1)
    with pytest.raises(InvalidArgument, match="static"):
        nchl.evaluate(tmp_path / "a", episodes=2, controls=True)
    write_tensors(tmp_path / "a" / "best.safetensors", {"genome": np.zeros(3)}, {})
    with pytest.raises(InvalidArgument, match=r"\(3,\)"):
        nchl.load(tmp_path / "a")
    (tmp_path / "a" / "best.safetensors").unlink()
    with pytest.raises(RunError, match="no generation was finished"):
        nchl.load(tmp_path / "a")


def test_a_run_begins_with_the_statistics_that_its_first_genome_acted_with(runs: dict[str, Path]) -> None:
    first = runs["CartPole-v1"]
    options: dict[str, Any] = {"hidden": (4,), "population": 6, "generations": 1, "initial_genome": str(first)}
    saved = read_tensors(first / "centre.safetensors")[0]
    statistics = nchl.evolution("CartPole-v1", normalise_observations=True, **options).statistics
    assert statistics is not None
    state = statistics.state_dict()
    assert state["count"] > 0
    for name, array in state.items():
        assert np.array_equal(array, saved[f"statistics.{name}"]), name
    with pytest.raises(InvalidArgument, match="--normalise-observations"):
        nchl.evolution("CartPole-v1", **options)
    plain = nchl.evolution("FrozenLake-v1", **{**options, "network": "wnchl", "initial_genome": str(runs["FrozenLake-v1"])})
    assert plain.statistics is None
