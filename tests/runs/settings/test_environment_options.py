"""Runs with settings of the environment, chosen parts, repeated actions and wrappers: recorded, resumed, compared, swept, loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument, RunError
from nchl.report.formatting import hashable, setting
from nchl.runs.results.evaluate import evaluate
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store import trust
from nchl.runs.store.metrics import read_metrics
from nchl.runs.sweep.cell_states import states_of
from nchl.runs.sweep.grid import read_sweep

pytest.importorskip("gymnasium")
pytest.importorskip("envpool")

SMALL = ["--hidden", "4", "--population", "8"]

GOAL = """
import gymnasium
import numpy as np

class Reach(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        observation=gymnasium.spaces.Box(-9, 9, (2,), np.float32),
        achieved_goal=gymnasium.spaces.Box(-9, 9, (1,), np.float32),
        desired_goal=gymnasium.spaces.Box(-9, 9, (1,), np.float32),
        camera=gymnasium.spaces.Box(0, 255, (6, 6, 3), np.uint8),
    )
    action_space = gymnasium.spaces.MultiDiscrete([3, 2])

    def __init__(self, speed: float = 0.1, render_mode=None):
        self.speed = speed

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.goal = 0.0, float(self.np_random.uniform(-1, 1))
        return self.observed(), {}

    def step(self, action):
        self.x += self.speed * (int(action[0]) - 1) * (1 + int(action[1]))
        return self.observed(), -abs(self.x - self.goal), False, False, {}

    def observed(self):
        camera = np.zeros((6, 6, 3), np.uint8)
        camera[:, int(np.clip(self.x + 3, 0, 5))] = 255
        return {"observation": [self.x, 1.0], "achieved_goal": np.array([self.x]), "desired_goal": self.goal, "camera": camera}

gymnasium.register("Reach-v0", entry_point=Reach, max_episode_steps=12)
"""
WRAPPERS = """
import gymnasium

def doubled(environment):
    return gymnasium.wrappers.TransformReward(environment, lambda reward: 2 * reward)
"""


@pytest.fixture
def reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an environment and a wrapper of a user's own."""
    import gymnasium

    (tmp_path / "reach_goal.py").write_text(GOAL)
    (tmp_path / "around.py").write_text(WRAPPERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("reach_goal", None)
    gymnasium.registry.pop("Reach-v0", None)


def settings_of(run: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((run / "config.json").read_text())["settings"]
    return answer


@pytest.mark.slow
def test_a_run_of_a_users_environment_goes_on_from_its_own_copy_of_the_wrapper(reach: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evolve", "reach_goal:Reach-v0", *SMALL, "--env", "speed=0.2", "--observe", "desired_goal", "observation"]
    words += ["--wrap", "around.py:doubled", "--wrap", "gymnasium.wrappers:OrderEnforcing", "--action-repeat", "3"]
    assert main([*words, "--generations", "3", "--out", "whole"]) == 0
    assert main([*words, "--generations", "2", "--out", "part", "--workers", "2"]) == 0
    held = settings_of(reach / "whole")
    assert (held["env"], held["observe"], held["action_repeat"]) == ({"speed": 0.2}, ["desired_goal", "observation"], 3)
    assert held["wrap"] == [f"{reach}/around.py:doubled", "gymnasium.wrappers:OrderEnforcing"]
    assert (reach / "part" / "code" / "around.py").read_text() == WRAPPERS
    before = evaluate(reach / "part", episodes=3)["mean"]
    (reach / "around.py").write_text("raise SystemExit\n")
    assert main(["resume", "part", "--generations", "3"]) == 0
    assert "around.py:doubled has changed since the run began" in capsys.readouterr().err
    for name in ("mean", "best", "env_steps"):
        assert [row[name] for row in read_metrics(reach / "part" / "metrics.csv")] == [
            row[name] for row in read_metrics(reach / "whole" / "metrics.csv")
        ]
    # 12 steps of the environment in 4 decisions, each reward doubled.
    assert read_metrics(reach / "whole" / "metrics.csv")[0]["env_steps"] == str(8 * 12)
    assert before <= 0


def test_a_result_acts_on_dicts_without_its_environment(reach: Path) -> None:
    nchl.run("reach_goal:Reach-v0", hidden=[4], population=8, generations=1, observe=["observation", "desired_goal"], out="run")
    net, task = nchl.load("run")
    assert (task.observation_shape, task.action_size) == ((3,), 5)
    action = net.act({"observation": np.zeros(2), "desired_goal": np.array([0.3])})
    assert action.shape == (2,)
    assert task.simulator.action_space.contains(action)
    with pytest.raises(InvalidArgument, match="'desired_goal', got one without it"):
        net.act({"observation": np.zeros(2)})


def test_a_picture_among_the_parts_feeds_a_convolutional_network(reach: Path) -> None:
    (reach / "net.py").write_text(
        "from torch import nn\n\ndef make(shape, outputs):\n"
        "    assert shape == (3, 6, 6), shape\n"
        "    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, outputs))\n"
    )
    words = ["evolve", "reach_goal:Reach-v0", "--network", "net.py:make", "--population", "4", "--generations", "1", "--out", "run"]
    assert main([*words, "--image-size", "6", "6", "--observe", "camera"]) == 0


def test_a_file_that_names_a_wrapper_runs_only_where_it_was_chosen(reach: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["evolve", "Pendulum-v1", *SMALL, "--max-episode-steps", "5", "--generations", "1", "--out", "run"]
    assert main([*words, "--wrap", "around.py:doubled"]) == 0
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "another"))
    with pytest.raises(RunError, match="which you have not chosen here before"):
        evaluate(reach / "run", episodes=1)
    monkeypatch.setenv(trust.VARIABLE, "1")
    evaluate(reach / "run", episodes=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Ant-v5", "--env", "frame_skp=2"], "did you mean 'frame_skip'?"),
        (["Ant-v5", "--env", "frame_skip=two"], "must be a whole number"),
        (["--env", "frame_skip=2", "Ant-v5"], "--env takes KEY=VALUE, got 'Ant-v5'"),
        (["CheetahRun-v1", "--observe", "positoin"], "did you mean 'position'?"),
        (["CartPole-v1", "--simulator", "envpool", "--simulator", "gymnasium"], "was given twice, as envpool and as gymnasium"),
        (["CartPole-v1", "--simulator", "envpool", "--wrap", "gymnasium.wrappers:OrderEnforcing"], "leave one out"),
        (["CartPole-v1", "--wrap", "OrderEnforcing"], "expected MODULE:NAME or FILE.py:NAME"),
        (["CartPole-v1", "--action-repeat", "0"], "action_repeat must be at least 1"),
        (["AntBulletEnv-v0", "--env", "x=1"], "--env does not apply to AntBulletEnv-v0"),
    ],
)
def test_a_mistake_ends_with_a_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evolve", *words, *SMALL, "--generations", "1", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_settings_are_equal_however_they_are_given() -> None:
    one = EvolveConfig.create("Ant-v5", env={"b": 1, "a": (1, 2)}, observe=["x"])
    other = EvolveConfig.from_json(json.loads(json.dumps(one.to_json())))
    assert one == other
    assert list(one.env or {}) == ["a", "b"]
    assert setting(one.env) == "a=[1, 2] b=1"
    assert hash(hashable(one.env)) == hash(hashable(dict(reversed(list((one.env or {}).items())))))
    assert EvolveConfig.create("Ant-v5", env={}).env is None
    for wrong in (3, {"a": object()}, {1: 2}, {"a": float("nan")}):
        with pytest.raises(InvalidArgument, match="env"):
            EvolveConfig.create("Ant-v5", env=wrong)


@pytest.mark.slow
def test_a_sweep_compares_settings_and_goes_on_with_its_runs(reach: Path) -> None:
    (reach / "sweep.yaml").write_text(
        "task: Pendulum-v1\nhidden: [3]\npopulation: 4\ngenerations: 1\nmax_episode_steps: 6\nseeds: 1\nsimulator: gymnasium\n"
        "wrap: [around.py:doubled]\ngrid:\n  env: [{g: 9.81}, {g: 2}]\n  action-repeat: [1, 2]\n"
    )
    cells = read_sweep(reach / "sweep.yaml")
    assert [cell.name for cell in cells] == [f"env-g-{g}_action-repeat-{k}_seed-0" for g in ("9.81", "2") for k in (1, 2)]
    assert main(["sweep", "sweep.yaml", "--out", "runs"]) == 0
    assert {state.state for state in states_of(cells, reach / "runs")[0]} == {"done"}
    assert main(["compare", *(f"runs/{cell.name}" for cell in cells)]) == 0
