"""Changed bodies on MuJoCo Warp, held to Gymnasium's MuJoCo with the same changes. Kernels compile for a minute."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nchl
from nchl import tasks
from nchl.errors import InvalidArgument, NchlError, TaskError
from nchl.perturbations import live
from nchl.quiet import quiet_output
from nchl.rollout.episode import never
from nchl.runs.adaptation.trials import Asked, trials
from nchl.runs.results.scene import open_run
from nchl.runs.session.run import run
from nchl.simulators.base import Seeds
from nchl.simulators.gym_ids import plain
from nchl.simulators.warp.fields import Fields

pytest.importorskip("mujoco_warp")

SEEDS = (3, 7, 11, 12)
HEIGHT = {"Ant-v5": 2, "Humanoid-v5": 2}  # index within qpos, where it is not 1


def compared(task: str, texts: list[str], steps: int, lift: float) -> list[tuple[torch.Tensor, np.ndarray, np.ndarray]]:
    """Rewards and observations of warp, of Gymnasium with the same changes, and of Gymnasium without; one entry for each step.

    Each world has another seed, and `texts` are the sets one of which each seed has.
    """
    simulator: Any = tasks.make(task, "warp", perturb_training=texts).simulator
    qpos, qvel = simulator.warp.starts(Seeds.of(SEEDS))
    qpos[:, HEIGHT.get(task, 1)] += lift
    simulator.begin(Seeds.of(SEEDS), qpos, qvel)
    with quiet_output():
        changing, intact = [live.wrap(plain(task), texts) for _ in SEEDS], [plain(task) for _ in SEEDS]
    for seed, *pair, position, velocity in zip(SEEDS, changing, intact, qpos, qvel, strict=True):
        for each in pair:
            each.unwrapped.model.opt.solver = 2
            each.reset(seed=seed)
            each.unwrapped.set_state(position, velocity)
    generator, active, found = np.random.default_rng(1), torch.ones(len(SEEDS), dtype=torch.bool), []
    space = simulator.action_space
    for _ in range(steps):
        actions = generator.uniform(space.low, space.high, (len(SEEDS), *space.shape)).astype(np.float32)
        step = simulator.step(torch.from_numpy(actions), active)
        both = [
            np.array([np.append(*each.step(action)[:2]) for each, action in zip(some, actions, strict=True)]) for some in (changing, intact)
        ]
        found.append((torch.cat([step.observations, step.rewards[:, None]], dim=1), *both))
    return found


AIR = 30.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "texts", "steps", "lift"),
    [
        ("HalfCheetah-v5", ["gravity=x1.5 & mass:torso=x2@4", "limb:bshin=x0.5@2 & slope=5deg", "push:torso=100N@3+4"], 12, AIR),
        ("Ant-v5", ["limb:ankle_4=x0.25 & push:torso=30N@1+9", "mass:torso=x0.5..2@2..4"], 12, AIR),
        ("Humanoid-v5", ["mass:torso=x3@2 & limb:right_shin=x0.5", "push:left_thigh=80N@0+3"], 8, AIR),
        ("HalfCheetah-v5", ["friction=x0.1", "friction=x0.2@1", "limb:fshin=x0.8@1"], 3, -0.05),
    ],
)
def test_changed_bodies_are_those_of_gymnasium(task: str, texts: list[str], steps: int, lift: float) -> None:
    """Each world has one of the sets; all changes matter by the last step."""
    found = compared(task, texts, steps, lift)
    for number, (mine, wanted, _) in enumerate(found):
        wrong = np.abs(mine.numpy() - wanted) / np.maximum(1, np.abs(wanted))
        assert wrong.max() <= 1e-3, f"step {number}: {wrong.max():.2g} at {np.unravel_index(wrong.argmax(), wrong.shape)}"
    _, changed, intact = found[-1]
    assert (np.abs(changed - intact).max(1) > 4e-3).all(), "every change is one"


@pytest.mark.slow
def test_a_body_changes_at_the_step_of_its_own_world_and_an_episode_has_its_bits_beside_any_other() -> None:
    plan = ["gravity=x0.5..2@2..4 & push:torso=200N@5+2", "limb:bshin=x0.5@3", "none"]
    simulator: Any = tasks.make("HalfCheetah-v5", "warp", perturb_training=plan).simulator
    actions = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def played(seeds: list[int], paused: int | None = None) -> list[torch.Tensor]:
        """Observations of each step; the world `paused` takes every other step alone, and is played to the same length."""
        simulator.reset(Seeds.of(seeds))
        all_of_them, found = torch.ones(len(seeds), dtype=torch.bool), []
        for action in actions:
            together = all_of_them.clone()
            if paused is not None:
                together[paused] = False
            step = simulator.step(action.expand(len(seeds), 6), together)
            seen = step.observations.clone()
            if paused is not None:
                seen[paused] = simulator.step(action.expand(len(seeds), 6), ~together).observations[paused]
            found.append(seen)
        return found

    seeds = [0, 1, 2, 3, 4, 5]
    whole = torch.stack(played(seeds))
    assert torch.equal(torch.stack(played(seeds, paused=3)), whole)
    assert torch.equal(torch.stack(played([4, 2])), whole[:, [4, 2]])
    assert torch.equal(torch.stack(played(seeds)), whole)


@pytest.mark.slow
def test_signals_lesions_and_bodies_are_those_of_gymnasium_in_a_run(tmp_path: Path) -> None:
    run("HalfCheetah-v5", tmp_path / "run", simulator="warp", population=4, generations=1, hidden=(6,), max_episode_steps=8, seed=1)
    texts = [
        *("motor:0-2=0@4", "motor:1=stuck:0.5", "action-noise=0.3@2", "sensor:*=0@3", "sensor-noise=0.5@2..5", "sensor-delay=2"),
        *("lesion:weights=0.5@4", "lesion:neurons=0.4@3", "shuffle:weights@4", "gravity=x0.8..1.2@2..6", "push:torso=50N@2+5"),
    ]
    how: dict[str, Any] = {"episodes": 4, "which": "centre", "controls": ["as evolved"]}
    found, wanted = (
        trials(tmp_path / "run", Asked.of(None, texts, "HalfCheetah-v5"), simulator=name, **how) for name in (None, "gymnasium")
    )
    for mine, other in zip(found, wanted, strict=True):
        assert np.abs(mine.perturbed.rewards - mine.intact.rewards).max() > 0.05, f"{mine.text} changes something"
        np.testing.assert_allclose(mine.intact.rewards, other.intact.rewards, atol=5e-3)
        np.testing.assert_allclose(mine.perturbed.rewards, other.perturbed.rewards, atol=5e-3, err_msg=mine.text)


@pytest.mark.slow
def test_an_episode_that_is_watched_is_the_one_that_is_scored(tmp_path: Path) -> None:
    run("HalfCheetah-v5", tmp_path / "run", simulator="warp", population=4, generations=1, hidden=(6,), max_episode_steps=8, seed=1)
    perturb = ["limb:bshin=x0.5@3 & push:torso=50N@1+4"]
    found = nchl.evaluate(tmp_path / "run", episodes=2, perturb=perturb)
    for episode, wanted in enumerate(found["returns"]):
        with open_run(tmp_path / "run", episode=episode, draw=False, perturb=perturb) as scene:
            assert list(scene.watch(draw=never))[-1].total == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_a_picture_shows_the_body_that_a_world_has() -> None:
    simulator: Any = tasks.make("HalfCheetah-v5", "warp", perturb=["limb:bshin=x0.5@3", "gravity=x2@1"]).simulator
    model = plain("HalfCheetah-v5").unwrapped.model
    length = model.geom("bshin").size[1]
    for _ in range(2):
        simulator.reset(Seeds.of([0]))
        for step in range(5):
            simulator.step(torch.zeros(1, 6), torch.ones(1, dtype=torch.bool))
            simulator.show(model)
            assert model.geom("bshin").size[1] == pytest.approx(length / 2 if step >= 3 else length, rel=1e-4)
            assert model.opt.gravity[2] == pytest.approx(-19.62 if step >= 1 else -9.81)


@pytest.mark.parametrize(
    ("task", "text", "error", "message"),
    [
        ("HalfCheetah-v5", "limb:bshim=x0.5", InvalidArgument, "did you mean 'bshin'.*there are torso"),
        ("Ant-v5", "push:torsoo=30N@5+2", InvalidArgument, "did you mean 'torso'"),
        ("Hopper-v5", "mass:leg=x2 & mass:leg_joint=x3", InvalidArgument, "change the same; give one of the two"),
        ("Hopper-v5", "mass:leg=x1e-30..1@5", TaskError, "MuJoCo cannot make the body .* mass and inertia"),
        ("Ant-v5", "attribute:mass=x2", TaskError, "attributes are those of Gymnasium's environments"),
        ("HalfCheetah-v5", "friction=x0..1@5", TaskError, r"friction=x0\.\.1@5'.*friction below 0.01 .* it is 0; use gymnasium"),
    ],
)
def test_what_warp_cannot_change_is_refused(task: str, text: str, error: type[NchlError], message: str) -> None:
    with pytest.raises(error, match=message):
        tasks.make(task, "warp", perturb=[text])


def test_what_all_worlds_share_cannot_differ() -> None:
    model = plain("Hopper-v5").unwrapped.model
    other = copy.copy(model)
    other.geom_condim[1] = 6
    with pytest.raises(TaskError, match=r"one .* for all worlds"):
        Fields(model).differing(other)
    assert Fields(model).differing(model) == {}
