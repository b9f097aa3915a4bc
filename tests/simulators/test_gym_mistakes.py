"""Environments of a user's own that do not answer as Gymnasium's do: told at once and by name, never broadcast or guessed."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nchl import cores, tasks
from nchl.cli import main
from nchl.errors import TaskError, UnknownName
from nchl.networks.mlp import StaticMLP
from nchl.rollout import rollout
from nchl.simulators.base import Seeds, Step
from nchl.simulators.gym import _InProcess
from nchl.simulators.gym_processes import Processes
from nchl.tasks.stages.open import open_stage

gymnasium = pytest.importorskip("gymnasium")

START = Seeds.of([3] * 8)
EVERYONE = torch.ones(8, dtype=torch.bool)

ROBOTS = """
    import gymnasium, numpy as np

    class Robot(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
        action_space = gymnasium.spaces.Box(-1, 1, (2,))
        state = np.arange(3, dtype=np.float32)

        def reset(self, *, seed=None, options=None):
            return self.state, {}

        def step(self, action):
            return self.state, 1.0, False, False, {}

    class OldReset(Robot):
        def reset(self, *, seed=None, options=None):
            return self.state

    class OldSeed(Robot):
        def reset(self):
            return self.state

    class ShortReset(Robot):
        def reset(self, *, seed=None, options=None):
            return self.state[:1], {}

    class LongReset(Robot):
        def reset(self, *, seed=None, options=None):
            return np.zeros(5), {}

    class ShortStep(Robot):
        def step(self, action):
            return self.state[:1], 1.0, False, False, {}

    class TwoStep(Robot):
        def step(self, action):
            return self.state[:2], 1.0, False, False, {}

    class OldStep(Robot):
        def step(self, action):
            return self.state, 1.0, False, {}

    class Unseeing(gymnasium.Env):
        action_space = gymnasium.spaces.Box(-1, 1, (2,))

    class Lever(Robot):
        action_space = gymnasium.spaces.Box(-1, 1, ())

        def step(self, action):
            assert isinstance(action, np.ndarray) and action.shape == (), action
            return self.state, float(action), False, False, {}

    class Unclosing(Robot):
        closed = 0

        def close(self):
            Unclosing.closed += 1
            if hasattr(self, "_np_random") and self._np_random is not None:
                raise ValueError("the window is gone")

        def reset(self, *, seed=None, options=None):
            gymnasium.Env.reset(self, seed=seed)
            return super().reset(seed=seed)

    class Stuck(Unclosing):
        def step(self, action):
            raise KeyError("the joint is stuck")

    class Never(Unseeing):
        def close(self):
            raise ValueError("the window is gone")

    class Unprobed(Robot):
        def close(self):
            raise ValueError("the window is gone")

    for robot in (
        Robot, OldReset, OldSeed, ShortReset, LongReset, ShortStep, TwoStep, OldStep, Unseeing, Lever, Unclosing, Stuck, Never, Unprobed
    ):
        gymnasium.register(f"{robot.__name__}-v0", entry_point=robot, max_episode_steps=5)
        gymnasium.register(f"Free{robot.__name__}-v0", entry_point=robot)  # without Gymnasium's own wrapper that counts the steps
"""


@pytest.fixture
def robots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that registers them; its name."""
    name = f"robots_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(ROBOTS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = set(gymnasium.registry)
    yield name
    sys.modules.pop(name, None)
    for id in set(gymnasium.registry) - before:
        gymnasium.registry.pop(id)


def step(task: tasks.Task, action: float = 0.25) -> Step:
    task.reset(START)
    return task.step(torch.full((8, *task.simulator.action_space.shape), action), EVERYONE)


WRONG = {
    "OldReset": r"reset must return a pair, `return observation, info`.*got ndarray of 3 values",
    "ShortReset": r"reset returned an observation of shape \(1,\), but its observation_space has shape \(3,\)",
    "LongReset": r"reset returned an observation of shape \(5,\)",
    "ShortStep": r"step returned an observation of shape \(1,\), but its observation_space has shape \(3,\)",
    "TwoStep": r"step returned an observation of shape \(2,\)",
    "OldStep": r"step must return five values.*expected 5, got 4",
}


@pytest.mark.parametrize("free", ["", "Free"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("robot", WRONG)
def test_a_wrong_answer_is_named(robots: str, robot: str, threads: int, free: str) -> None:
    task = tasks.make(f"{robots}:{free}{robot}-v0", threads=threads)
    with pytest.raises(TaskError, match=WRONG[robot]) as caught:
        step(task)
    assert isinstance(task.simulator._environments, (_InProcess, Processes)[threads - 1])  # type: ignore[attr-defined]
    assert "Traceback" not in str(caught.value)
    task.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_reset_of_the_old_gym_is_told_its_arguments(robots: str, threads: int) -> None:
    task = tasks.make(f"{robots}:OldSeed-v0", threads=threads)
    told = (
        r"argument 'seed'.*; write `def reset\(self, \*, seed=None, options=None\):` and `super\(\).reset\(seed=seed\)` as its first line"
    )
    with pytest.raises(TaskError, match=told):
        step(task)
    task.close()


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
@pytest.mark.parametrize("robot", ["OldReset", "TwoStep"])
def test_a_wrong_answer_ends_the_run_at_once(
    robots: str, robot: str, workers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--hidden", "3", "--population", "8", "--generations", "2", "--out", str(tmp_path / "run"), *workers]
    assert main(["evolve", f"{robots}:{robot}-v0", *words]) == 2
    said = capsys.readouterr().err
    assert "does not answer as Gymnasium's do" in said
    assert "Traceback" not in said
    assert "8 times" not in said


def test_an_environment_that_cannot_be_closed_is_named(robots: str) -> None:
    with pytest.raises(TaskError, match=r"the environment failed when it was closed: ValueError: the window is gone .*, in close"):
        tasks.make(f"{robots}:Unprobed-v0", threads=1)
    task = tasks.make(f"{robots}:Unclosing-v0", threads=1)
    step(task)
    before = sys.modules[robots].Unclosing.closed
    with pytest.raises(TaskError, match=r"the environment failed when it was closed: ValueError: the window is gone .*, in close"):
        task.close()
    assert sys.modules[robots].Unclosing.closed == before + 8, "all are closed"
    task.close()
    stage = open_stage(f"{robots}:Unclosing-v0", "gymnasium", draw=False)
    stage.begin()
    with pytest.raises(TaskError, match=r"the environment failed when it was closed: ValueError"):
        stage.close()


def test_an_environment_that_cannot_be_closed_hides_no_earlier_error(robots: str) -> None:
    with pytest.raises(TaskError, match=r"Never-v0.*needs an `observation_space` and an `action_space`"):
        tasks.make(f"{robots}:Never-v0", threads=1)
    task = tasks.make(f"{robots}:Stuck-v0", threads=1)
    with pytest.raises(TaskError, match=r"failed in a step: KeyError: 'the joint is stuck'"), contextlib.closing(task):
        step(task)


@pytest.mark.parametrize(("robot", "count", "code"), [("Unclosing", 1, 2), ("Unclosing", 2, 0), ("Stuck", 1, 2), ("Stuck", 2, 2)])
def test_a_run_whose_environment_cannot_be_closed_ends_without_a_traceback_of_it(
    robots: str, robot: str, count: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "available", lambda: list(range(count)))
    words = ["--hidden", "3", "--population", "8", "--generations", "2", "--out", str(tmp_path / "run")]
    assert main(["evolve", f"{robots}:{robot}-v0", *words]) == code
    said = capfd.readouterr().err
    if robot == "Stuck":
        assert "the joint is stuck" in said
    else:
        assert "Traceback" not in said
        assert "the environment failed when it was closed: ValueError: the window is gone" in said


def test_an_environment_without_spaces_is_told_what_it_lacks(robots: str) -> None:
    with pytest.raises(TaskError, match=r"Unseeing-v0.*needs an `observation_space` and an `action_space`"):
        tasks.make(f"{robots}:Unseeing-v0", threads=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_action_without_axes_keeps_its_fraction(robots: str, threads: int) -> None:
    task = tasks.make(f"{robots}:Lever-v0", threads=threads)
    np.testing.assert_array_equal(step(task).rewards, np.full(8, 0.25))
    np.testing.assert_array_equal(task.map_actions(torch.full((2, 1), 0.25), True), [0.25, 0.25])
    task.close()


LOOSE = """
    import gymnasium, numpy as np, time

    class Loose(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (1,))
        count = 0

        def reset(self, *, seed=None, options=None):
            self.count = 0
            return 0.5, {}

        def step(self, action):
            self.count += 1
            observation = [1, np.float64(0.25), np.array(2), np.array([3], np.int64), True][self.count % 5]
            reward = [1, np.float32(0.5), np.array(2.0), np.array([3.0])][self.count % 4]
            return observation, reward, np.array(False), np.array([False]), {}

    class Goal(Loose):
        observation_space = gymnasium.spaces.Dict(
            observation=gymnasium.spaces.Box(-1, 1, (2,), np.float32),
            desired_goal=gymnasium.spaces.Discrete(3),
            words=gymnasium.spaces.Text(4),
        )

        def reset(self, *, seed=None, options=None):
            return {"observation": [0, 1], "desired_goal": 2, "words": "a"}, {}

        def step(self, action):
            return {"observation": np.array([0.5, 0.25]), "desired_goal": np.array(1), "words": "b"}, 1, False, False, {}

    class Lost(Goal):
        def step(self, action):
            return {"desired_goal": 1, "words": "b"}, 1, False, False, {}

    class Nothing(Loose):
        def step(self, action):
            return 0.5, None, False, False, {}

    class Sleeping(Loose):
        def reset(self, *, seed=None, options=None):
            if seed % 1000 != 999:
                time.sleep(1000)
            return 0.5, {}

    class Blind(Loose):
        def step(self, action):
            self.count += 1
            return np.full(1, np.nan if action[0] > 0 and self.count == 3 else 0.5), 1.0, False, False, {}

    for robot in (Loose, Goal, Lost, Nothing, Sleeping, Blind):
        gymnasium.register(f"{robot.__name__}-v0", entry_point=robot, max_episode_steps=9)
"""


@pytest.fixture
def loose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of environments that answer in other types than they declare."""
    name = f"loose_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(LOOSE))
    monkeypatch.syspath_prepend(tmp_path)
    before = set(gymnasium.registry)
    yield name
    sys.modules.pop(name, None)
    for id in set(gymnasium.registry) - before:
        gymnasium.registry.pop(id)


@pytest.mark.parametrize("threads", [1, 2])
def test_numbers_of_any_type_are_taken(loose: str, threads: int) -> None:
    task = tasks.make(f"{loose}:Loose-v0", threads=threads)
    np.testing.assert_array_equal(task.map_observations(task.reset(START)), np.full((8, 1), 0.5))
    steps = [task.step(torch.zeros(8, 1), EVERYONE) for _ in range(8)]
    np.testing.assert_array_equal([step.observations[3, 0] for step in steps], [0.25, 2, 3, 1, 1, 0.25, 2, 3])
    np.testing.assert_array_equal([step.rewards[5] for step in steps], [0.5, 2, 3, 1, 0.5, 2, 3, 1])
    task.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_goals_and_what_else_an_observation_has_are_one_vector(loose: str, threads: int) -> None:
    with pytest.raises(TaskError, match=r"words \(Text\); choose others: --observe observation desired_goal"):
        tasks.make(f"{loose}:Goal-v0", threads=threads)
    task = tasks.make(f"{loose}:Goal-v0", threads=threads, observe=["desired_goal", "observation"])
    np.testing.assert_array_equal(task.map_observations(task.reset(START)), np.tile([0, 1, 0, 0, 1], (8, 1)))
    taken = task.step(torch.zeros(8, 1), EVERYONE)
    np.testing.assert_array_equal(task.map_observations(taken.observations), np.tile([0.5, 0.25, 0, 1, 0], (8, 1)))
    task.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("robot", "observe", "message"),
    [("Lost", ["observation"], "step must return an observation with observation"), ("Nothing", None, "one number as reward, got 'None'")],
)
def test_a_missing_part_or_reward_is_told(loose: str, threads: int, robot: str, observe: list[str] | None, message: str) -> None:
    task = tasks.make(f"{loose}:{robot}-v0", threads=threads, observe=observe)
    with pytest.raises(TaskError, match=message):
        step(task)
    task.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_observation_that_is_no_number_ends_its_episode_alone(loose: str, threads: int) -> None:
    task = tasks.make(f"{loose}:Blind-v0", threads=threads)
    genomes = np.array([[-1], [2], [-3], [4], [-5], [6], [-7], [8]], np.float32)
    scores = rollout(StaticMLP([1, 1], population=8), task, genomes, run_seed=0)
    np.testing.assert_array_equal(scores.fitness, [9, np.nan] * 4)
    np.testing.assert_array_equal(scores.lengths[:, 0], [9, 3] * 4)
    assert scores.non_finite == 4
    task.close()


def test_an_environment_that_does_not_come_back_is_ended(loose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCHL_ENVIRONMENT_SECONDS", "20")
    task = tasks.make(f"{loose}:Sleeping-v0", threads=2)
    task.reset(Seeds.of([999] * 8))  # they are made, and come back
    children = list(task.simulator._environments._children)  # type: ignore[attr-defined]
    monkeypatch.setenv("NCHL_ENVIRONMENT_SECONDS", "0.5")
    with pytest.raises(TaskError, match=r"has not come back from reset within 0\.5 seconds.*NCHL_ENVIRONMENT_SECONDS=SECONDS"):
        task.reset(Seeds.of([999] * 7 + [1]))
    assert all(child.process.poll() is not None for child in children)
    monkeypatch.setenv("NCHL_ENVIRONMENT_SECONDS", "20")
    np.testing.assert_array_equal(task.reset(Seeds.of([999] * 8)), np.full((8, 1), 0.5))
    task.close()
    monkeypatch.setenv("NCHL_ENVIRONMENT_SECONDS", "soon")
    with pytest.raises(TaskError, match="must be a number of seconds above 0, got 'soon'"):
        task.reset(Seeds.of([999] * 8))


@pytest.mark.parametrize("simulator", ["auto", "gymnasium"])
@pytest.mark.parametrize("name", ["Zzyzx-v0", "zzyzx", "zzyzx.Zzyzx-v0"])
def test_an_unknown_id_is_told_the_form_of_an_own_environment(name: str, simulator: str) -> None:
    with pytest.raises(UnknownName, match=r"are known \(see: nchl tasks\); an environment of your own is MODULE:ID, as in robot:Arm-v0$"):
        tasks.make(name, simulator)


def test_a_near_name_is_told_alone() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'CartPole-v1'\? \d+ are known \(see: nchl tasks\)$"):
        tasks.make("CartPole-v11")
