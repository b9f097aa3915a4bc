"""One life to look at is the life that a rollout plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nchl
from nchl import rollout, tasks
from nchl.errors import InvalidArgument, RunError, ShapeError, TaskError
from nchl.rollout.episode import Moment, never, watch
from nchl.rollout.scores import begin
from nchl.runs.results.scene import open_run
from nchl.seeds import Purpose, environment_seed, weights_seed
from nchl.tasks.stages import mujoco_renderer
from nchl.tasks.stages.open import open_stage

gymnasium = pytest.importorskip("gymnasium")


def play(network: Any, task: str, **options: Any) -> list[Moment]:
    stage = open_stage(task, "gymnasium", seed=3)
    moments = list(watch(network, stage, draw=never, **options))
    stage.close()
    return moments


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cartpole"
    nchl.run("CartPole-v1", out=folder, hidden=(4,), population=40, generations=4, normalise_observations=True, simulator="gymnasium")
    return folder


def network(nodes: list[int], **options: Any) -> nchl.NcHL:
    net = nchl.NcHL(nodes, population=1, **options)
    net.set_hrules(torch.randn(net.nparams, generator=torch.Generator().manual_seed(0)))
    net.reset()
    return net


def test_the_return_is_what_an_evaluation_tells(run: Path) -> None:
    told = nchl.evaluate(run, episodes=3, seed=7, controls=True)
    for episode in range(3):
        with open_run(run, 7, episode=episode) as scene:
            assert [moment.total for moment in scene.watch(draw=never)][-1] == told["returns"][episode]
            again = list(scene.watch(draw=never))  # the same life once more
            assert again[-1].total == told["returns"][episode]
            assert sum(moment.reward for moment in again) == again[-1].total
            assert [moment.done for moment in again] == [False] * (len(again) - 1) + [True]
    alone = nchl.evaluate(run, episodes=1, seed=7, controls=True)
    half = alone["frozen_half_way"]["after_steps"]
    with open_run(run, 7) as scene:
        off, frozen = (list(scene.watch(draw=never, freeze_after=after)) for after in (0, half))
    assert off[-1].total == alone["plasticity_off"]["mean"]
    assert frozen[-1].total == alone["frozen_half_way"]["mean"]
    assert [moment.plastic for moment in frozen] == [step < half for step in range(len(frozen))]
    assert not any(moment.plastic for moment in off)


@pytest.mark.parametrize("task", ["Pendulum-v1", "CartPole-v1"])
def test_with_repeated_actions_frozen_half_way_is_half_of_the_networks_steps(tmp_path: Path, task: str) -> None:
    options = {"hidden": (4,), "population": 20, "generations": 2, "simulator": "gymnasium", "action_repeat": 4, "max_episode_steps": 80}
    nchl.run(task, out=tmp_path / "run", **options)
    told = nchl.evaluate(tmp_path / "run", episodes=1, seed=7, controls=True)
    half = told["frozen_half_way"]["after_steps"]
    with open_run(tmp_path / "run", 7) as scene:
        whole, frozen = (list(scene.watch(draw=never, freeze_after=after)) for after in (None, half))
    assert half == max(1, round(len(whole) / 2))
    assert [moment.plastic for moment in frozen] == [True] * half + [False] * (len(frozen) - half)
    assert frozen[-1].total == told["frozen_half_way"]["mean"]
    if task == "Pendulum-v1":
        assert (len(whole), half) == (20, 10)
        assert told["frozen_half_way"]["mean"] != told["mean"]


def test_envpool_gives_the_same_life_as_its_evaluation(tmp_path: Path) -> None:
    pytest.importorskip("envpool")
    nchl.run("LunarLander-v3", out=tmp_path / "run", hidden=(4,), population=6, generations=1, simulator="envpool")
    told = nchl.evaluate(tmp_path / "run", episodes=2, which="centre")["returns"]
    with open_run(tmp_path / "run", which="centre", episode=1) as scene:
        assert (scene.stage.name, scene.stage.notes) == ("envpool", [])
        moments = list(scene.watch(draw=lambda step: step in (0, 5)))
        assert moments[-1].total == told[1]
        first, later = moments[0].frame, moments[5].frame
        assert first is not None
        assert later is not None
        assert first.shape == (400, 600, 3)
        assert (first != later).any()
        assert moments[1].frame is None
        scene.to_episode(0)
        assert list(scene.watch(draw=never))[-1].total == told[0]


def test_the_network_stands_after_the_update_of_each_moment() -> None:
    net = network([4, 3, 2])
    mirror = network([4, 3, 2])
    stage = open_stage("CartPole-v1", "gymnasium", seed=1)
    for moment in watch(net, stage, draw=never):
        outputs = mirror.step(torch.from_numpy(moment.observation)[None])
        np.testing.assert_array_equal(outputs[0].numpy(), moment.outputs)
        assert moment.action == moment.outputs.argmax()
        for mine, theirs in zip(net.weights, mirror.weights, strict=True):
            assert torch.equal(mine, theirs)
    stage.close()


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize("options", [{}, {"modulate": "advantage:0.1", "trace": 0.9, "recurrent": True, "every": 2}])
def test_the_moments_are_those_of_a_rollout_whatever_the_back_end(backend: str, options: dict[str, Any]) -> None:
    task = tasks.make("CartPole-v1", "gymnasium")
    net, mirror = (network([4, 3, 2], backend=backend, **options) for _ in range(2))
    played = rollout.evaluate(net, task, net.genome.numpy(), run_seed=5, episodes=1)
    stage = open_stage("CartPole-v1", "gymnasium", seed=environment_seed(5, Purpose.EVALUATION, 0, 0))
    start = [weights_seed(5, Purpose.EVALUATION, 0, 0)]
    begin(net, start)
    begin(mirror, start)
    moments = []
    for moment in watch(net, stage, draw=never):
        outputs = mirror.forward(torch.from_numpy(moment.observation)[None])
        np.testing.assert_allclose(outputs[0].numpy(), moment.outputs, rtol=1e-5, atol=1e-6)
        mirror.update(reward=moment.reward)
        for mine, theirs in zip(net.weights, mirror.weights, strict=True):  # the last moment too
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        moments.append(moment)
    assert moments[-1].total == played.returns[0, 0]
    assert len(moments) == played.lengths[0, 0] >= 8
    stage.close()
    task.close()


def test_one_without_the_axis_of_a_population_can_be_watched() -> None:
    alone = nchl.NcHL([4, 3, 2])
    alone.set_hrules(network([4, 3, 2]).genome[0])
    alone.reset()
    assert [m.total for m in play(alone, "CartPole-v1")] == [m.total for m in play(network([4, 3, 2]), "CartPole-v1")]


def test_freezing_leaves_the_network_as_it_was() -> None:
    net = network([4, 3, 2])
    before = [weight.clone() for weight in net.weights]
    moments = play(net, "CartPole-v1", freeze_after=0)
    assert all(torch.equal(old, new) for old, new in zip(before, net.weights, strict=True))
    assert not moments[0].plastic
    assert net.plastic


def test_a_life_that_is_not_finite_has_no_return() -> None:
    net = network([4, 3, 2])
    net._stored_weights[0].fill_(float("nan"))
    assert play(net, "CartPole-v1") == []
    net = network([4, 3, 2])
    net._stored_weights[1][0, 0, 0] = float("inf")  # tanh makes it 1: the outputs stay finite
    net.plastic = False
    moments = play(net, "CartPole-v1")
    assert moments[-1].done
    assert np.isnan(moments[-1].total) or len(moments) == 0


def test_what_cannot_be_watched_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="population of 2"):
        play(nchl.NcHL([4, 3, 2], population=2), "CartPole-v1")
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        play(network([5, 2]), "CartPole-v1")
    with pytest.raises(InvalidArgument, match="size"):
        open_stage("CartPole-v1", size=(0, 10))
    with pytest.raises(InvalidArgument, match="episode"):
        open_run(run, episode=-1)
    with pytest.raises(RunError, match="not a run folder"):
        open_run(tmp_path)


class _Blind(gymnasium.Env):
    """An environment without a renderer."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        return np.zeros(2, dtype=np.float32), {}


def test_a_task_without_pictures_is_refused() -> None:
    gymnasium.register("Blind-v0", entry_point=_Blind, max_episode_steps=5)
    try:
        with pytest.raises(TaskError, match=r"rgb_array.*ansi"):
            open_stage("Blind-v0", "gymnasium")
    finally:
        gymnasium.registry.pop("Blind-v0")


def test_without_opengl_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(mujoco_renderer, "_first_that_works", lambda: "")
    with pytest.raises(TaskError, match=r"apt install libegl1.*libosmesa6"):
        mujoco_renderer.choose()
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    with pytest.raises(TaskError, match=r"vulkan.*egl"):
        mujoco_renderer.choose()
