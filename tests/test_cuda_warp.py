"""MuJoCo Warp on a GPU, where there is one: the CPU's numbers, one CUDA graph a step, nothing read back, and whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nchl
from nchl import tasks
from nchl.cli import main
from nchl.perturbations.worlds import Worlds
from nchl.rollout.scores import rollout
from nchl.runs.session.run import run
from nchl.simulators import Wanted, make
from nchl.simulators.base import Seeds

pytest.importorskip("mujoco_warp")
pytestmark = [pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"), pytest.mark.slow]

TASKS = ("HalfCheetah-v5", "Ant-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Humanoid-v5")


@pytest.mark.parametrize("task", TASKS)
def test_steps_in_the_air_have_the_numbers_of_the_cpu(task: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        simulator = make("warp", Wanted(task, device=device))
        size, (actions,) = 5, simulator.action_space.shape
        qpos = np.tile(simulator.model.qpos0, (size, 1))  # type: ignore[attr-defined]
        qpos[:, 1 if qpos.shape[1] < 10 else 2] += 30.0
        generator, active = torch.Generator().manual_seed(0), torch.ones(size, dtype=torch.bool, device=device)
        rows = [simulator.begin(qpos, np.zeros((size, simulator.model.nv)))]  # type: ignore[attr-defined]
        for _ in range(20):
            step = simulator.step((torch.rand(size, actions, generator=generator) - 0.5).to(device), active)
            assert step.observations.device.type == device
            rows += [step.observations, step.rewards[:, None], step.terminated[:, None]]
        found.append(torch.cat([row.cpu() for row in rows], dim=1))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


CHANGES = ["gravity=x1.5 & mass:torso=x0.5..2@2..4", "limb:ankle_4=x0.25@3 & push:torso=50N@1+9", "friction=x0.5 & slope=5deg", "none"]


def test_changed_bodies_have_the_numbers_of_the_cpu() -> None:
    found, seeds = [], Seeds.of(range(8))
    for device in ("cpu", "cuda"):
        simulator = tasks.make("Ant-v5", "warp", device=device, perturb_training=CHANGES).simulator
        assert isinstance(simulator, Worlds)
        qpos, qvel = simulator.warp.starts(seeds)
        qpos[:, 2] += 30.0
        generator, active = torch.Generator().manual_seed(0), torch.ones(8, dtype=torch.bool, device=device)
        rows = [simulator.begin(seeds, qpos, qvel)]
        for _ in range(12):
            step = simulator.step((torch.rand(8, 8, generator=generator) - 0.5).to(device), active)
            rows += [step.observations, step.rewards[:, None]]
        found.append(torch.cat([row.cpu() for row in rows], dim=1))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("changes", [None, CHANGES])
def test_a_step_waits_for_nothing(changes: list[str] | None) -> None:
    task = tasks.make("Ant-v5", "warp", device="cuda", perturb_training=changes)
    assert task.simulator.look_every == 16
    network = nchl.NcHL([105, 16, 8], population=64, device="cuda")
    network.set_hrules(torch.randn(64, network.nparams, device="cuda"))
    network.reset()
    seen, active = task.reset(Seeds.of(range(64))), torch.ones(64, dtype=torch.bool, device="cuda")
    for once in range(20):
        torch.cuda.set_sync_debug_mode("error" if once > 2 else "default")
        try:
            actions = task.map_actions(network.step(task.map_observations(seen, active).to(torch.float32)), network.output_bounded)
            step = task.step(actions, active)
            seen, active = step.observations, active & ~(step.terminated | step.truncated)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert step.rewards.isfinite().all()


def test_a_world_that_is_nan_or_not_active_harms_no_other() -> None:
    simulator = make("warp", Wanted("HalfCheetah-v5", device="cuda"))
    actions, active = torch.zeros(4, 6, device="cuda"), torch.tensor([True, True, True, False], device="cuda")
    simulator.reset(Seeds.of(range(4)))
    actions[1] = torch.nan
    step = simulator.step(actions, active)
    assert step.rewards.isnan().tolist() == [False, True, False, False]
    assert step.rewards[3] == 0
    step = simulator.step(torch.zeros_like(actions), active & step.rewards.isfinite())
    assert step.rewards.isfinite().all()
    assert simulator.reset(Seeds.of(range(4))).isfinite().all()


def test_scores_do_not_depend_on_the_network_beside_and_a_large_population_is_played() -> None:
    task = tasks.make("Swimmer-v5", "warp", device="cuda", max_episode_steps=20)
    assert 2 <= task.largest_slice <= 65_536
    network = nchl.NcHL([8, 8, 2], population=512, device="cuda")
    scores = rollout(network, task, np.random.default_rng(0).standard_normal((1000, network.nparams)), run_seed=0)
    assert np.isfinite(scores.fitness).all()
    assert (scores.lengths == 20).all()


def test_a_run_and_its_evaluation_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "HalfCheetah-v5", tmp_path / "run", simulator="warp", device="cuda", population=64, generations=2, hidden=(8,), max_episode_steps=12
    )
    for simulator in ("warp", "gymnasium"):
        assert main(["evaluate", str(tmp_path / "run"), "--simulator", simulator, "--episodes", "4", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["simulator"] == simulator
        assert found["non_finite"] == 0


def test_bench_rollout_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "rollout", "HalfCheetah-v5", "--simulator", "warp", "--device", "cuda", "--steps", "20", "--population", "64"]
    assert main([*words, "--repetitions", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "cuda"
    assert found["full_steps_per_s"] > 0
