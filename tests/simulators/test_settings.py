"""Settings, wrappers and repeated actions, in the simulators that a user has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nchl import tasks
from nchl.errors import InvalidArgument, NchlError, TaskError, UnknownName
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.task_options import read_settings
from nchl.simulators.base import Seeds

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("envpool")


def everyone(size: int) -> torch.Tensor:
    return torch.ones(size, dtype=torch.bool)


def test_words_are_read_as_json_where_they_are_json() -> None:
    words = ["a=2", "b=0.5", "c=true", "d=False", "e=8x8", "f=[1, 2]", 'g="2"', "h=1e-3", "i=NaN", "j=", "k=x=y"]
    assert read_settings(words) == {
        "a": 2,
        "b": 0.5,
        "c": True,
        "d": False,
        "e": "8x8",
        "f": [1, 2],
        "g": "2",
        "h": 0.001,
        "i": "NaN",
        "j": "",
        "k": "x=y",
    }
    for wrong in (["Ant-v5"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(InvalidArgument, match="--env"):
            read_settings(wrong)


@pytest.mark.parametrize("simulator", ["envpool", "gymnasium"])
def test_a_setting_reaches_the_environment(simulator: str) -> None:
    shapes = [
        tasks.make("Ant-v5", simulator, threads=1, env=env).observation_shape
        for env in (None, {"exclude_current_positions_from_observation": False})
    ]
    assert shapes == [(105,), (107,)]


@pytest.mark.parametrize("simulator", ["envpool", "gymnasium"])
@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"frame_skp": 2}, r"unknown setting of Ant-v5 'frame_skp': did you mean 'frame_skip'\?"),
        ({"frame_skip": 2.5}, "frame_skip of Ant-v5 must be a whole number .* got 2.5"),
        ({"frame_skip": True}, "frame_skip of Ant-v5 must be a whole number"),
        ({"reset_noise_scale": "much"}, "reset_noise_scale of Ant-v5 must be a number"),
        ({"terminate_when_unhealthy": 1}, "must be true or false"),
        ({"xml_file": 3}, r"must be text .*write --env xml_file='\"3\"'"),
        ({"max_episode_steps": 3}, "use --max-episode-steps"),
        ({"render_mode": "human"}, "use nchl film"),
    ],
)
def test_a_wrong_setting_is_told(simulator: str, env: dict[str, Any], message: str) -> None:
    with pytest.raises((UnknownName, InvalidArgument), match=message):
        tasks.make("Ant-v5", simulator, threads=1, env=env)


def test_a_whole_number_is_a_number() -> None:
    task = tasks.make("Ant-v5", threads=1, env={"healthy_reward": 0, "ctrl_cost_weight": 0, "contact_cost_weight": 0})
    task.reset(Seeds.of([3, 3]))
    assert (task.step(torch.zeros(2, 8), everyone(2)).rewards != 1).all()


def test_an_environment_that_takes_any_keyword_gets_what_is_given() -> None:
    class Open(gymnasium.Env):
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, size: int = 2, **others: Any) -> None:
            self.observation_space = gymnasium.spaces.Box(-1, 1, (size + int(others.get("more", 0)),))

    gymnasium.register("Open-v0", entry_point=Open)
    try:
        assert tasks.make("Open-v0", env={"size": 3, "more": 4}).observation_shape == (7,)
        with pytest.raises(InvalidArgument, match="size of Open-v0 must be a whole number"):
            tasks.make("Open-v0", env={"size": "big"})
    finally:
        gymnasium.registry.pop("Open-v0")


@pytest.mark.parametrize("simulator", ["envpool", "gymnasium"])
def test_a_repeated_action_adds_rewards_and_counts_steps(simulator: str) -> None:
    once, thrice = (tasks.make("CartPole-v1", simulator, threads=1, max_episode_steps=20, action_repeat=k) for k in (1, 3))
    active, actions = everyone(4), torch.tensor([0, 1, 0, 1])
    np.testing.assert_array_equal(*(each.reset(Seeds.of([3] * 4)) for each in (once, thrice)))
    taken = thrice.step(actions, active)
    for _ in range(3):
        step = once.step(actions, active)
    np.testing.assert_array_equal(taken.observations, step.observations)
    np.testing.assert_array_equal(taken.rewards, [3, 3, 3, 3])
    np.testing.assert_array_equal(taken.taken, [3, 3, 3, 3])
    while active.any():  # the same way on until it falls: no step of the simulator after its end
        taken = thrice.step(actions, active)
        np.testing.assert_array_equal(taken.rewards, taken.taken)
        assert not taken.taken[~active].any()  # type: ignore[index]
        active = active & ~(taken.terminated | taken.truncated)
    assert thrice.decisions == 7
    for task in (once, thrice):
        task.close()


def test_a_limit_of_steps_is_met_in_the_middle_of_a_repetition() -> None:
    task = tasks.make("Pendulum-v1", threads=1, max_episode_steps=10, action_repeat=4)
    task.reset(Seeds.of([3, 3]))
    steps = [task.step(torch.zeros(2, 1), everyone(2)) for _ in range(task.decisions)]
    assert [step.taken.tolist() for step in steps] == [[4, 4], [4, 4], [2, 2]]  # type: ignore[union-attr]
    assert [bool(step.truncated.all()) for step in steps] == [False, False, True]


WRAPPERS = """
import gymnasium
from factor import FACTOR

class Scaled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return FACTOR * reward

def stacked(environment):
    return gymnasium.wrappers.FrameStackObservation(environment, 3)

def nothing(environment):
    return None
"""


@pytest.fixture
def wrappers(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(WRAPPERS)
    (tmp_path / "factor.py").write_text("FACTOR = 10\n")
    return str(tmp_path / "mine.py")


@pytest.mark.parametrize("threads", [1, 2])
def test_wrappers_of_a_file_and_of_a_module_are_put_around_it(wrappers: str, threads: int) -> None:
    wrap = [f"{wrappers}:Scaled", f"{wrappers}:stacked", "gymnasium.wrappers:FlattenObservation"]
    task = tasks.make("Pendulum-v1", threads=threads, wrap=wrap)
    task.simulator._where = "processes" if threads > 1 else "here"  # type: ignore[attr-defined]
    assert task.simulator.name == "gymnasium"
    assert task.observation_shape == (9,)
    plain = tasks.make("Pendulum-v1", "gymnasium", threads=1)
    rewards = []
    for each in (task, plain):
        each.reset(Seeds.of([3] * 8))
        rewards.append(each.step(torch.zeros(8, 1), everyone(8)).rewards)
        each.close()
    np.testing.assert_array_equal(rewards[0], 10 * rewards[1])


def test_a_wrapper_that_cannot_be_used_is_told(wrappers: str) -> None:
    for place, message in (
        (f"{wrappers}:nothing", "must take an environment and return one.*returned NoneType"),
        (f"{wrappers}:Nowhere", "holds no function 'Nowhere'"),
        ("gymnasium.wrappers:Nowhere", "has no attribute 'Nowhere'"),
        ("nowhere_at_all:Wrapper", "No module named 'nowhere_at_all'"),
        ("gymnasium.wrappers:TimeLimit", "cannot be used: TypeError"),
    ):
        with pytest.raises(NchlError, match=message):
            tasks.make("Pendulum-v1", threads=1, wrap=[place])
    with pytest.raises(TaskError, match="wrappers are Gymnasium's"):
        tasks.make("Pendulum-v1", "envpool", wrap=["gymnasium.wrappers:FlattenObservation"])
    with pytest.raises(InvalidArgument, match="wrappers are Gymnasium's"):
        EvolveConfig.create("Pendulum-v1", simulator="envpool", wrap=["gymnasium.wrappers:FlattenObservation"])


def test_a_file_of_wrappers_does_not_load_torch_into_the_processes(wrappers: str) -> None:
    import subprocess

    program = f"""
import sys
sys.path.insert(0, {str(Path(tasks.__file__).parents[2])!r})
import nchl.simulators.gym_worker
from nchl.simulators.gym_environments import Environments
Environments({{"id": "Pendulum-v1", "wrap": [{f"{wrappers}:Scaled"!r}]}}, 1)
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_task_given_as_an_object_is_made_again_from_its_words() -> None:
    task = tasks.make("Ant-v5", threads=1, env={"frame_skip": 2}, action_repeat=2)
    assert task.said == {"task": "Ant-v5", "simulator": "auto", "env": {"frame_skip": 2}, "action_repeat": 2}


def test_a_package_of_wrappers_is_part_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrappers_of_mine.py").write_text("def same(environment):\n    return environment\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert tasks.fingerprint(tasks.make("Pendulum-v1", "gymnasium", threads=1)) is None
    made = tasks.fingerprint(tasks.make("Pendulum-v1", threads=1, wrap=["wrappers_of_mine:same"]))
    assert made is not None
    assert list(made["files"]) == ["wrappers_of_mine.py"]
