"""EnvPool: the border that keeps the process alive, episodes as functions of the seed, and fidelity to Gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nchl import tasks
from nchl.errors import InvalidArgument, ShapeError
from nchl.seeds import Purpose
from nchl.simulators import envpool
from nchl.simulators.base import Seeds, Start
from nchl.simulators.envpool import _PERSISTENT, LIFETIME, persistent

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("envpool")


def start(size: int, generation: int, **rest: Any) -> Seeds:
    return Seeds.shared(size, Start(7, Purpose.TRAINING, generation, **rest))


def random_returns(task: tasks.Task, size: int, seed: int) -> np.ndarray:
    """Play all to the end, each with actions of its own."""
    generator = np.random.default_rng(seed)
    active, returns = torch.ones(size, dtype=torch.bool), np.zeros(size)
    while active.any():
        outputs = generator.uniform(-1, 1, (size, task.action_size)).astype(np.float32)
        step = task.step(task.map_actions(torch.from_numpy(outputs), True), active)
        returns += step.rewards.numpy()
        active = active & ~(step.terminated | step.truncated)
    return returns


@pytest.mark.parametrize("name", ["CartPole-v1", "HalfCheetah-v5"])
def test_nothing_that_would_end_the_process_gets_through(name: str) -> None:
    task = tasks.make(name, max_episode_steps=5)
    simulator = task.simulator
    with pytest.raises(ShapeError, match="active: expected a tensor of 0"):
        simulator.step(torch.zeros(4, 6), torch.ones(4, dtype=torch.bool))
    simulator.reset(start(4, 0))
    everyone = torch.ones(4, dtype=torch.bool)
    fine = task.map_actions(torch.zeros(4, task.action_size), True)
    for bad in (fine[:3], fine[:, None], torch.cat([fine, fine]), fine.tolist(), fine.numpy(), fine[:0]):
        with pytest.raises(ShapeError, match="actions"):
            simulator.step(bad, everyone)  # type: ignore[arg-type]
    for mask in (
        everyone[:3],
        torch.ones(5, dtype=torch.bool),
        everyone[:, None],
        torch.ones(4),
        torch.arange(4),
        [True] * 4,
        everyone.numpy(),
    ):
        with pytest.raises(ShapeError, match="active: expected a tensor of 4"):
            simulator.step(fine, mask)  # type: ignore[arg-type]
    for value in (7, 1.5, np.nan) if name == "CartPole-v1" else (np.nan, np.inf):
        spoilt = torch.full_like(fine, value, dtype=torch.float64 if value != 7 else fine.dtype)
        with pytest.raises(InvalidArgument, match="actions"):
            simulator.step(spoilt, everyone)
        kept = torch.tensor([True, False, True, True])
        mended = torch.where(kept.reshape(-1, *[1] * (fine.ndim - 1)), fine, spoilt.to(fine.dtype))
        assert simulator.step(mended, kept).rewards.shape == (4,)  # the rows of others are not looked at
    assert simulator.step(fine, everyone).rewards.shape == (4,)


def test_a_mask_that_was_filled_anew_is_read_anew() -> None:
    simulator = tasks.make("HalfCheetah-v5", max_episode_steps=5, threads=1).simulator
    simulator.reset(start(3, 0))
    active = torch.ones(3, dtype=torch.bool)
    assert (simulator.step(torch.zeros(3, 6), active).rewards != 0).all()
    active[1] = False
    step = simulator.step(torch.zeros(3, 6), active)
    np.testing.assert_array_equal(step.rewards != 0, active)
    active[:] = False
    kept = step.observations.clone()
    step = simulator.step(torch.zeros(3, 6), active)
    assert not torch.stack([step.rewards != 0, step.terminated, step.truncated]).any()
    assert torch.equal(step.observations, kept)


def test_environments_that_are_not_active_are_not_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = tasks.make("HalfCheetah-v5", max_episode_steps=9, threads=1).simulator
    simulator.reset(start(4, 0))
    stepped, step = [], envpool.Pool.step
    monkeypatch.setattr(envpool.Pool, "step", lambda pool, actions, rows: stepped.append(rows.tolist()) or step(pool, actions, rows))
    for mask in ([True] * 4, [True, False, True, False], [False] * 4, [False, False, False, True]):
        simulator.step(torch.zeros(4, 6), torch.tensor(mask))
    assert stepped == [[0, 1, 2, 3], [0, 2], [3]]


def test_a_batch_has_at_least_one_environment() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        Seeds.of([])


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3", "Hopper-v5"])
def test_all_meet_the_same_start_and_a_new_one_each_generation(name: str) -> None:
    simulator = tasks.make(name, max_episode_steps=20).simulator
    firsts = [simulator.reset(start(5, generation)).numpy() for generation in (0, 1, LIFETIME, LIFETIME + 1)]
    for first in firsts:
        np.testing.assert_array_equal(first, np.repeat(first[:1], 5, axis=0))
    assert len({first[0].tobytes() for first in firsts}) == len(firsts)
    other = simulator.reset(Seeds.shared(5, Start(7, Purpose.VALIDATION, 0)))
    assert not np.array_equal(other, firsts[0])


FAST = ("Ant-v4", "Hopper-v5")
DEAR = sorted(_PERSISTENT - set(FAST))


@pytest.mark.parametrize(
    "name",
    ["CartPole-v1", "LunarLander-v3", *FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in DEAR)],
)
def test_a_resumed_run_meets_the_episodes_of_one_that_went_on(name: str) -> None:
    """One task plays four generations; others begin in the fourth, or play with other actions before it."""
    settings: dict[str, Any] = {"max_episode_steps": 60, "threads": 2}

    def play(generations: range, seed: int) -> tuple[np.ndarray, np.ndarray]:
        task = tasks.make(name, **settings)
        for generation in generations:
            for episode in range(2):
                first = task.reset(start(4, generation, episode=episode, episodes=2)).numpy().copy()
                returns = random_returns(task, 4, 5 if generation == 3 else seed)
        return first, returns

    first, returns = play(range(4), 1)
    for generations, seed in ((range(3, 4), 0), (range(4), 2)):
        again, again_returns = play(generations, seed)
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(again_returns, returns)


def test_going_back_to_an_earlier_generation_gives_its_start_again() -> None:
    simulator = tasks.make("Hopper-v5", max_episode_steps=20).simulator
    early = simulator.reset(start(3, 1))
    simulator.reset(start(3, 4))
    np.testing.assert_array_equal(simulator.reset(start(3, 1)), early)
    np.testing.assert_array_equal(simulator.reset(start(2, 1, slot=3)), early[:2])


def test_a_step_that_was_interrupted_leaves_nothing_for_the_next_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = (tasks.make("Hopper-v5", max_episode_steps=20, threads=1) for _ in range(2))
    task.reset(start(3, 0))
    pool = task.simulator._pool  # type: ignore[attr-defined]

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pool._env, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            random_returns(task, 3, 1)
    for generation in (1, 2):
        np.testing.assert_array_equal(*(each.reset(start(3, generation)) for each in (task, other)))


@pytest.mark.parametrize("parts", [1, 2])
def test_pools_that_are_too_many_go_and_come_again_alike(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tasks.make("Hopper-v5", max_episode_steps=20, threads=2).simulator
    monkeypatch.setattr(envpool, "MOST_ENVIRONMENTS", 7 * parts)
    limited = tasks.make("Hopper-v5", max_episode_steps=20, threads=2).simulator.divided(parts)[0]
    for generation in (0, 1, 2):
        for slot in (0, 3, 6):
            first = limited.reset(start(3, generation, slot=slot))
            np.testing.assert_array_equal(first, whole.reset(start(3, generation, slot=slot)))
            assert sum(pool.size for _, pool in limited._pools.values()) <= 6  # type: ignore[attr-defined]
    made = limited._pools.copy()  # type: ignore[attr-defined]
    for generation, slot in ((3, 3), (3, 6), (4, 3)):
        limited.reset(start(3, generation, slot=slot))
    assert [slot for _, slot in limited._pools] == [6, 3]  # type: ignore[attr-defined]
    assert limited._pools == made  # type: ignore[attr-defined]


def test_threads_and_the_size_of_the_pool_change_nothing() -> None:
    kept = []
    for threads, size in ((1, 4), (2, 4), (2, 7)):
        task = tasks.make("Hopper-v5", max_episode_steps=60, threads=threads)
        task.reset(start(size, 0))
        actions = torch.from_numpy(np.random.default_rng(3).uniform(-1, 1, (60, 7, 3)))[:, :size]
        active, returns = torch.ones(size, dtype=torch.bool), torch.zeros(size, dtype=torch.float64)
        for action in actions:
            step = task.step(action, active)
            returns += step.rewards
            active = active & ~(step.terminated | step.truncated)
        kept.append(returns[:4])
    np.testing.assert_array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(kept[0], kept[2])


def test_cart_pole_follows_gymnasium_step_by_step() -> None:
    task = tasks.make("CartPole-v1")
    first = task.reset(Seeds.of(range(8))).numpy().copy()
    generator = np.random.default_rng(0)
    environments = [gymnasium.make("CartPole-v1").unwrapped for _ in range(8)]
    for environment, state in zip(environments, first, strict=True):
        environment.reset()
        environment.state = state.astype(np.float64)
    active = torch.ones(8, dtype=torch.bool)
    steps = 0
    while active.any():
        actions = torch.from_numpy(generator.integers(0, 2, 8))
        ours = task.step(actions, active)
        rows = np.flatnonzero(active)
        theirs = [environments[row].step(int(actions[row])) for row in rows]
        np.testing.assert_allclose(ours.observations[rows], np.stack([step[0] for step in theirs]), atol=1e-5)
        np.testing.assert_array_equal(ours.terminated[rows], [step[2] for step in theirs])
        np.testing.assert_array_equal(ours.rewards[rows], [step[1] for step in theirs])
        assert ours.rewards.sum() == len(rows)
        active = active & ~ours.terminated
        steps += 1
    assert steps > 10


def test_what_persists_is_listed() -> None:
    assert persistent("Ant-v5")
    assert persistent("CarRacing-v3")
    assert not persistent("LunarLander-v3")  # its steps draw random numbers
    assert not persistent("CartPole-v1")
