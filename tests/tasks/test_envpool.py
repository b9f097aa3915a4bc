"""EnvPool: the border that keeps the process alive, lives as functions of the seed, and fidelity to Gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nchl import tasks
from nchl.errors import InvalidArgument, ShapeError
from nchl.seeds import Purpose
from nchl.tasks import envpool
from nchl.tasks.envpool import _PERSISTENT, LIFETIME, persistent

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("envpool")


def start(generation: int, **rest: Any) -> tasks.Start:
    return tasks.Start(7, Purpose.TRAINING, generation, **rest)


def random_returns(task: tasks.Task, lives: tasks.Lives, seed: int) -> np.ndarray:
    """Play everyone to the end with actions of its own."""
    generator = np.random.default_rng(seed)
    rows, returns = np.arange(lives.size, dtype=np.int32), np.zeros(lives.size)
    while len(rows):
        outputs = generator.uniform(-1, 1, (lives.size, task.action_size)).astype(np.float32)[rows]
        step = lives.step(task.map_actions(outputs, True), rows)
        returns[rows] += step.rewards
        rows = rows[~(step.terminated | step.truncated)]
    return returns


@pytest.mark.parametrize("name", ["CartPole-v1", "HalfCheetah-v5"])
def test_nothing_that_would_kill_the_process_gets_through(name: str) -> None:
    task = tasks.make(name, max_episode_steps=5)
    lives, _ = task.back_end.common(4, start(0))
    rows = np.arange(4, dtype=np.int32)
    fine = task.map_actions(np.zeros((4, task.action_size), np.float32), True)
    for bad in (fine[:3], fine[:, None], np.concatenate([fine, fine]), fine.tolist(), fine[:0]):
        with pytest.raises(ShapeError, match="actions"):
            lives.step(bad, rows)
    for bad in ([0, 4], [-1, 0], [1, 1], [2, 1], []):
        with pytest.raises(InvalidArgument, match="rows"):
            lives.step(fine[: len(bad)], np.array(bad, dtype=np.int32))
    for wide in (np.array([0, 1, 2, 2**32 + 3]), np.array([3, 2, 1, 0], dtype=np.uint64)):
        with pytest.raises(InvalidArgument, match="rows"):
            lives.step(fine, wide)
    kept = rows.copy()
    lives.step(fine, kept)
    kept[3] = 99  # the same array, filled anew
    with pytest.raises(InvalidArgument, match="rows"):
        lives.step(fine, kept)
    for shape in (rows.astype(np.float64), rows[:, None], [0, 1, 2, 3]):
        with pytest.raises(ShapeError, match="rows"):
            lives.step(fine, shape)
    for value in (7, 1.5, np.nan) if name == "CartPole-v1" else (np.nan, np.inf):
        with pytest.raises(InvalidArgument, match="actions"):
            lives.step(np.full_like(fine, value, dtype=np.float64 if value != 7 else fine.dtype), rows)
    assert lives.step(fine, rows).rewards.shape == (4,)


def test_pools_need_at_least_one_environment() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        tasks.make("CartPole-v1").back_end.separate([])


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3", "Hopper-v5"])
def test_everyone_meets_the_same_start_and_a_new_one_each_generation(name: str) -> None:
    back_end = tasks.make(name, max_episode_steps=20).back_end
    firsts = [back_end.common(5, start(generation))[1] for generation in (0, 1, LIFETIME, LIFETIME + 1)]
    for first in firsts:
        np.testing.assert_array_equal(first, np.repeat(first[:1], 5, axis=0))
    assert len({first[0].tobytes() for first in firsts}) == len(firsts)
    other = back_end.common(5, tasks.Start(7, Purpose.VALIDATION, 0))[1]
    assert not np.array_equal(other, firsts[0])


FAST = ("Ant-v4", "Hopper-v5")
DEAR = sorted(_PERSISTENT - set(FAST))


@pytest.mark.parametrize(
    "name",
    ["CartPole-v1", "LunarLander-v3", *FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in DEAR)],
)
def test_a_resumed_run_meets_the_lives_of_one_that_went_on(name: str) -> None:
    """One task plays four generations; others begin in the fourth, or play with other actions before it."""
    settings: dict[str, Any] = {"max_episode_steps": 60, "threads": 2}

    def play(generations: range, seed: int) -> tuple[np.ndarray, np.ndarray]:
        task = tasks.make(name, **settings)
        for generation in generations:
            for episode in range(2):
                lives, first = task.back_end.common(4, start(generation, episode=episode, episodes=2))
                returns = random_returns(task, lives, 5 if generation == 3 else seed)
        return first, returns

    first, returns = play(range(4), 1)
    for generations, seed in ((range(3, 4), 0), (range(4), 2)):
        again, again_returns = play(generations, seed)
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(again_returns, returns)


def test_going_back_to_an_earlier_generation_gives_its_start_again() -> None:
    back_end = tasks.make("Hopper-v5", max_episode_steps=20).back_end
    early = back_end.common(3, start(1))[1]
    back_end.common(3, start(4))
    np.testing.assert_array_equal(back_end.common(3, start(1))[1], early)
    np.testing.assert_array_equal(back_end.common(2, start(1, slot=3))[1], early[:2])


def test_a_step_that_was_interrupted_leaves_nothing_for_the_next_life(monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = (tasks.make("Hopper-v5", max_episode_steps=20, threads=1) for _ in range(2))
    lives, _ = task.back_end.common(3, start(0))
    assert isinstance(lives, envpool.Pool)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lives._env, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            random_returns(task, lives, 1)
    for generation in (1, 2):
        np.testing.assert_array_equal(*(each.back_end.common(3, start(generation))[1] for each in (task, other)))


@pytest.mark.parametrize("parts", [1, 2])
def test_pools_that_are_too_many_go_and_come_again_alike(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tasks.make("Hopper-v5", max_episode_steps=20, threads=2).back_end
    monkeypatch.setattr(envpool, "MOST_LIVES", 7 * parts)
    limited = tasks.make("Hopper-v5", max_episode_steps=20, threads=2).back_end.divided(parts)[0]
    for generation in (0, 1, 2):
        for slot in (0, 3, 6):
            first = limited.common(3, start(generation, slot=slot))[1]
            np.testing.assert_array_equal(first, whole.common(3, start(generation, slot=slot))[1])
            assert sum(pool.size for _, pool in limited._pools.values()) <= 6  # type: ignore[attr-defined]
    made = limited._pools.copy()  # type: ignore[attr-defined]
    for generation, slot in ((3, 3), (3, 6), (4, 3)):
        limited.common(3, start(generation, slot=slot))
    assert [slot for _, slot in limited._pools] == [6, 3]  # type: ignore[attr-defined]
    assert limited._pools == made  # type: ignore[attr-defined]


def test_threads_and_the_size_of_the_pool_change_nothing() -> None:
    kept = []
    for threads, size in ((1, 4), (2, 4), (2, 7)):
        task = tasks.make("Hopper-v5", max_episode_steps=60, threads=threads)
        lives, _ = task.back_end.common(size, start(0))
        actions = np.random.default_rng(3).uniform(-1, 1, (60, 7, 3))[:, :size]
        rows, returns = np.arange(size, dtype=np.int32), np.zeros(size)
        for action in actions:
            step = lives.step(action[rows], rows)
            returns[rows] += step.rewards
            rows = rows[~(step.terminated | step.truncated)]
            if not len(rows):
                break
        kept.append(returns[:4])
    np.testing.assert_array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(kept[0], kept[2])


def test_cart_pole_follows_gymnasium_step_by_step() -> None:
    task = tasks.make("CartPole-v1")
    lives, first = task.back_end.separate(list(range(8)))
    generator = np.random.default_rng(0)
    environments = [gymnasium.make("CartPole-v1").unwrapped for _ in range(8)]
    for environment, state in zip(environments, first, strict=True):
        environment.reset()
        environment.state = state.astype(np.float64)
    rows = np.arange(8, dtype=np.int32)
    steps = 0
    while len(rows):
        actions = generator.integers(0, 2, len(rows)).astype(np.int32)
        ours = lives.step(actions, rows)
        theirs = [environments[row].step(int(action)) for row, action in zip(rows, actions, strict=True)]
        np.testing.assert_allclose(ours.observations, np.stack([step[0] for step in theirs]), atol=1e-5)
        np.testing.assert_array_equal(ours.terminated, [step[2] for step in theirs])
        np.testing.assert_array_equal(ours.rewards, [step[1] for step in theirs])
        rows = rows[~ours.terminated]
        steps += 1
    assert steps > 10


def test_what_persists_is_listed() -> None:
    assert persistent("Ant-v5")
    assert persistent("CarRacing-v3")
    assert not persistent("LunarLander-v3")  # its steps draw random numbers
    assert not persistent("CartPole-v1")
