"""MuJoCo Warp held to Gymnasium: equal states and actions give equal observations, rewards and ends. Kernels compile for a minute."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from nchl.errors import InvalidArgument, MissingExtra, NchlError, OrderError, ShapeError, TaskError, UnknownName
from nchl.simulators import Wanted, make
from nchl.simulators.base import Seeds
from nchl.simulators.gym_ids import plain

TASKS = ("HalfCheetah-v5", "Ant-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Humanoid-v5")
HEIGHT = {"HalfCheetah-v5": 1, "Hopper-v5": 1, "Walker2d-v5": 1, "Ant-v5": 2, "Humanoid-v5": 2}  # index within qpos
WORLDS = 6


def has_warp() -> bool:
    try:
        import mujoco_warp  # noqa: F401
    except ImportError:
        return False
    return True


with_warp = pytest.mark.skipif(not has_warp(), reason="the extra warp is not installed")


class Reference:
    """Environments of Gymnasium's side by side, with the solver that MuJoCo Warp has."""

    def __init__(self, task: str, env: dict[str, Any]) -> None:
        self.all = [plain(task, **env).unwrapped for _ in range(WORLDS)]
        for each in self.all:
            each.model.opt.solver = 2
        self.space = self.all[0].action_space

    def play(self, steps: int, generator: np.random.Generator) -> None:
        """Begin, act at random, and go on until something touches."""
        for seed, each in enumerate(self.all):
            each.reset(seed=seed)
            for step in range(steps + 300):
                if step >= steps and (each.data.ncon or not each.model.geom_contype.any()):
                    break
                each.step(self.actions(generator)[0])

    def lift(self, index: int, metres: float) -> None:
        for seed, each in enumerate(self.all):
            each.reset(seed=seed)
            qpos = each.data.qpos.copy()
            qpos[index] += metres
            each.set_state(qpos, each.data.qvel.copy())

    def begin_again(self) -> np.ndarray:
        """Set each to the state that it is in, from which forces of contacts before are gone; the observations."""
        for each in self.all:
            qpos, qvel = each.data.qpos.copy(), each.data.qvel.copy()
            each.reset()
            each.set_state(qpos, qvel)
        return np.array([each._get_obs() for each in self.all])

    def actions(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(self.space.low, self.space.high, (WORLDS, *self.space.shape)).astype(np.float32)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = [each.step(action) for each, action in zip(self.all, actions, strict=True)]
        return tuple(np.array([each[which] for each in found]) for which in (0, 1, 2))  # type: ignore[return-value]


def hold(task: str, steps: int, prepare: Callable[[Reference], None], env: dict[str, Any] | None = None) -> None:
    """Compare some steps from the states into which `prepare` brings the reference."""
    reference = Reference(task, env or {})
    prepare(reference)
    first = reference.begin_again()
    simulator = make("warp", Wanted(task, env=env or {}))
    states = [np.array([getattr(each.data, name) for each in reference.all]) for name in ("qpos", "qvel")]
    observations = simulator.begin(*states)  # type: ignore[attr-defined]
    assert simulator.packing.space.shape == observations.shape[1:]
    close(observations, first, "first observations")
    generator, active = np.random.default_rng(1), torch.ones(WORLDS, dtype=torch.bool)
    for number in range(steps):
        actions = reference.actions(generator)
        wanted = reference.step(actions)
        step = simulator.step(torch.from_numpy(actions), active)
        close(step.observations, wanted[0], f"observations after step {number}")
        close(step.rewards, wanted[1], f"rewards of step {number}")
        assert step.terminated.numpy().tolist() == wanted[2].astype(bool).tolist(), f"ends in step {number}"
        assert not step.truncated.any()


def close(found: torch.Tensor, wanted: np.ndarray, what: str) -> None:
    """Within 1e-3, of numbers above 1 relative to them: forces of contacts are thousands."""
    wrong = np.abs(found.numpy() - wanted) / np.maximum(1, np.abs(wanted))
    assert wrong.max() <= 1e-3, f"{what}: {wrong.max():.2g} at {np.unravel_index(wrong.argmax(), wrong.shape)}"


@with_warp
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_twenty_steps_in_the_air_are_those_of_gymnasium(task: str) -> None:
    hold(task, 20, lambda reference: reference.lift(HEIGHT.get(task, 0), 30.0))


@with_warp
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_three_steps_in_contact_are_those_of_gymnasium(task: str) -> None:
    def touch(reference: Reference) -> None:
        reference.play(5, np.random.default_rng(0))
        assert task == "Swimmer-v5" or all(each.data.ncon for each in reference.all)

    hold(task, 3, touch)


OPTIONS: dict[str, dict[str, Any]] = {
    "HalfCheetah-v5": {"ctrl_cost_weight": 2.0, "forward_reward_weight": 0.5, "frame_skip": 2, "reset_noise_scale": 0.3},
    "Ant-v5": {
        "main_body": 3,
        "contact_cost_weight": 0.1,
        "contact_force_range": [-2.0, 0.5],
        "healthy_z_range": [0.7, 0.8],
        "healthy_reward": 3.0,
        "terminate_when_unhealthy": False,
        "include_cfrc_ext_in_observation": False,
    },
    "Hopper-v5": {
        "healthy_state_range": [-0.5, 0.5],
        "healthy_angle_range": [-0.01, 0.01],
        "exclude_current_positions_from_observation": False,
    },
    "Walker2d-v5": {"healthy_z_range": [1.24, 1.26], "healthy_angle_range": [-0.05, 0.05], "healthy_reward": 2},
    "Swimmer-v5": {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 1.0},
    "Humanoid-v5": {
        "contact_cost_weight": 1.0,
        "contact_cost_range": [0.5, 100.0],
        "healthy_z_range": [1.35, 2.0],
        "include_cinert_in_observation": False,
        "include_cvel_in_observation": False,
        "include_qfrc_actuator_in_observation": False,
        "exclude_current_positions_from_observation": False,
    },
}


@with_warp
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_gymnasiums_options_mean_the_same(task: str) -> None:
    hold(task, 3, lambda reference: reference.play(3, np.random.default_rng(0)), OPTIONS[task])


@with_warp
@pytest.mark.slow
def test_parts_of_the_observations_of_humanoid_can_be_left_out_one_by_one() -> None:
    sizes = {}
    for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext"):
        simulator = make("warp", Wanted("Humanoid-v5", env={f"include_{name}_in_observation": False}))
        sizes[name] = 348 - simulator.packing.space.shape[0]
        assert simulator.reset(Seeds.of([0])).shape == (1, 348 - sizes[name])
    assert sizes == {"cinert": 130, "cvel": 78, "qfrc_actuator": 17, "cfrc_ext": 78}


@with_warp
@pytest.mark.slow
@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Hopper-v5"])
def test_a_start_is_gymnasiums_for_the_same_seed(task: str) -> None:
    found = make("warp", Wanted(task)).reset(Seeds.of([3, 7, 3]))
    environment = plain(task)
    wanted = np.array([environment.reset(seed=seed)[0] for seed in (3, 7, 3)])
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-7)
    assert torch.equal(found[0], found[2])


@pytest.fixture(scope="module")
def cheetah() -> Iterator[Any]:
    simulator = make("warp", Wanted("HalfCheetah-v5"))
    yield simulator
    simulator.close()


ACTIONS = torch.rand(30, 12, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1


def played(simulator: Any, seeds: list[int], actions: torch.Tensor) -> torch.Tensor:
    """Observations, rewards and ends of every step, (steps, size, n)."""
    simulator.reset(Seeds.of(seeds))
    active, rows = torch.ones(len(seeds), dtype=torch.bool), []
    for each in actions:
        step = simulator.step(each, active)
        active = active & step.rewards.isfinite()
        rows.append(torch.cat([step.observations, step.rewards[:, None], step.terminated[:, None]], dim=1))
    return torch.stack(rows)


@with_warp
@pytest.mark.slow
def test_an_episode_has_the_same_bits_alone_beside_others_and_after_others(cheetah: Any) -> None:
    seeds = list(range(12))
    whole = played(cheetah, seeds, ACTIONS)
    assert torch.equal(played(cheetah, seeds[:5], ACTIONS[:, :5]), whole[:, :5])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(played(cheetah, [seeds[each] for each in order], ACTIONS[:, order]), whole[:, order])
    assert torch.equal(played(cheetah, seeds, ACTIONS), whole)


@with_warp
@pytest.mark.slow
def test_the_graph_of_a_step_computes_what_its_kernels_do_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator: Any = make("warp", Wanted("Ant-v5"))
    actions = torch.rand(20, 4, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    replayed = played(simulator, [0, 1, 2, 3], actions)
    physics = simulator._physics
    monkeypatch.setattr(physics, "_run", lambda which: (physics._begin, physics._step)[which]())
    assert torch.equal(played(simulator, [0, 1, 2, 3], actions), replayed)


@with_warp
@pytest.mark.slow
def test_an_action_that_is_nan_harms_its_own_world_alone_and_that_until_the_next_reset(cheetah: Any) -> None:
    seeds = list(range(12))
    whole, actions = played(cheetah, seeds, ACTIONS), ACTIONS.clone()
    actions[5, 3] = torch.nan
    found = played(cheetah, seeds, actions)
    others = [world for world in range(12) if world != 3]
    assert found[5, 3, -2].isnan()
    assert (found[6:, 3, -2] == 0).all()
    assert torch.equal(found[:, others], whole[:, others])
    assert torch.equal(played(cheetah, seeds, ACTIONS), whole)


@with_warp
@pytest.mark.slow
@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Ant-v5"])
def test_a_world_that_is_not_active_takes_no_step(task: str) -> None:
    simulator = make("warp", Wanted(task, max_episode_steps=8))
    seeds, every = [0, 1, 2], torch.ones(3, dtype=torch.bool)
    actions = 0.5 * torch.rand(8, 3, simulator.action_space.shape[0], generator=torch.Generator().manual_seed(0))
    simulator.reset(Seeds.of(seeds))
    straight = [simulator.step(each, every) for each in actions]
    assert straight[-1].truncated.all()
    assert not straight[-2].truncated.any()
    simulator.reset(Seeds.of(seeds))
    others = torch.tensor([True, False, True])
    for number, each in enumerate(actions):
        beside = simulator.step(each, others)
        assert beside.rewards[1] == 0
        assert not beside.truncated[1]
        late = simulator.step(each, ~others)
        assert late.truncated.tolist() == [False, number == 7, False]
        assert torch.equal(late.observations[1], straight[number].observations[1])
        assert torch.equal(late.rewards[1], straight[number].rewards[1])
        assert torch.equal(beside.rewards[others], straight[number].rewards[others])


@with_warp
@pytest.mark.slow
def test_a_world_without_room_for_its_contacts_gets_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nchl.simulators.warp.physics._room", lambda model, pairs: (2 * len(pairs), 4))
    simulator = make("warp", Wanted("HalfCheetah-v5"))
    qpos, qvel = np.zeros((2, 9)), np.zeros((2, 9))
    qpos[0, 1], qpos[1, 1] = 30.0, -0.3  # in the air, and within the ground
    simulator.begin(qpos, qvel)  # type: ignore[attr-defined]
    step = simulator.step(torch.zeros(2, 6), torch.ones(2, dtype=torch.bool))
    assert step.rewards.isnan().tolist() == [False, True]


@with_warp
@pytest.mark.slow
def test_a_slice_fits_into_the_free_memory_of_a_gpu(cheetah: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cheetah.most == 1024
    assert 10_000 < cheetah._world() < 100_000
    monkeypatch.setattr(cheetah, "device", torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 << 30, 80 << 30))
    assert 4_000 < cheetah.most < 6_000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (140 << 30, 140 << 30))
    assert cheetah.most == 65_536


@with_warp
@pytest.mark.slow
def test_what_does_not_fit_is_refused(cheetah: Any) -> None:
    with pytest.raises(OrderError, match="call reset first"):
        make("warp", Wanted("HalfCheetah-v5")).step(torch.zeros(2, 6), torch.ones(2, dtype=torch.bool))
    cheetah.reset(Seeds.of([0, 1]))
    with pytest.raises(ShapeError, match=r"\(2, 6\), got \(2, 5\)"):
        cheetah.step(torch.zeros(2, 5), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="2 True or False"):
        cheetah.step(torch.zeros(2, 6), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (Wanted("HalfCheetah-v4"), UnknownName, "did you mean 'HalfCheetah-v5'.*known are HalfCheetah-v5, Ant-v5"),
        (Wanted("CartPole-v1"), UnknownName, "known are HalfCheetah-v5, Ant-v5, Hopper-v5, Walker2d-v5, Swimmer-v5, Humanoid-v5"),
        (Wanted("Ant-v5", wrap=("gymnasium.wrappers:FlattenObservation",)), TaskError, "wrappers are Gymnasium's"),
        (Wanted("Ant-v5", device="cuda:7"), InvalidArgument, "'cuda:7' is not there"),
        (Wanted("Ant-v5", device="tpu"), InvalidArgument, "expected cpu, cuda or cuda:0, got 'tpu'"),
        (Wanted("Ant-v5", device="meta"), InvalidArgument, "computes on cpu and cuda"),
        (Wanted("Ant-v5", env={"helthy_reward": 2.0}), UnknownName, "did you mean 'healthy_reward'"),
        (Wanted("Ant-v5", env={"healthy_reward": "high"}), InvalidArgument, "must be a number"),
        (Wanted("Ant-v5", env={"camera_id": 1}), InvalidArgument, "concerns pictures"),
    ],
)
def test_what_warp_does_not_have_is_refused(wanted: Wanted, error: type[NchlError], message: str) -> None:
    with pytest.raises(error, match=message):
        make("warp", wanted)


def test_without_its_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[warp\]'"):
        make("warp", Wanted("Ant-v5"))


@with_warp
@pytest.mark.parametrize(
    ("env", "message"),
    [({"main_body": 99}, "has no body 99"), ({"xml_file": "nowhere.xml"}, "nowhere.xml")],
)
def test_a_model_that_cannot_be_had_is_refused(env: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make("warp", Wanted("Ant-v5", env=env))


@with_warp
def test_parts_of_observations_without_parts_are_refused() -> None:
    with pytest.raises(TaskError, match="no parts to choose from"):
        make("warp", Wanted("Hopper-v5", observe=("position",)))
