"""Names: aliases, suggestions, missing packages, and the table against what it describes."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nchl import tasks
from nchl.cli import main
from nchl.errors import InvalidArgument, MissingExtra, TaskError, UnknownName
from nchl.simulators import families
from nchl.simulators.base import Seeds
from nchl.simulators.envpool import hidden
from nchl.simulators.flatten import packing
from nchl.tasks.spaces import action_map

pytest.importorskip("envpool")


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """Let packages look as if they were not installed."""
    find = importlib.util.find_spec

    def look(name: str, *rest: Any) -> Any:
        return None if name in hidden else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", look)


@pytest.mark.parametrize("name", ["CarRacing", "CarRacing-v2", "CarRacing-v3"])
def test_car_racing_goes_by_three_names(name: str) -> None:
    task = tasks.make(name, image_size=(64, 64), max_episode_steps=5)
    assert (task.id, task.simulator.name, task.observation_shape, task.action_size) == ("CarRacing-v3", "envpool", (3, 64, 64), 3)
    assert task.early_stop == tasks.EarlyStop(in_a_row=20)


@pytest.mark.parametrize(
    ("wrong", "right"), [("CartPol-v1", "CartPole-v1"), ("halfcheeta-v5", "HalfCheetah-v5"), ("AntBullet-v0", "AntBulletEnv-v0")]
)
def test_unknown_names_get_a_suggestion(wrong: str, right: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean '{right}'"):
        tasks.make(wrong)


def test_unknown_simulators_and_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'envpool'"):
        tasks.make("CartPole-v1", simulator="envpol")
    for wrong in (0, -1, 2**31, 1.5, True):
        with pytest.raises(InvalidArgument, match="max_episode_steps"):
            tasks.make("CartPole-v1", max_episode_steps=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="threads"):
            tasks.make("CartPole-v1", threads=wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="EnvPool task"):
        tasks.make("NoSuchThing-v0", simulator="envpool")


def test_where_envpool_is_missing_gymnasium_plays_and_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "envpool")
    task = tasks.make("CartPole-v1")
    assert task.simulator.name == "gymnasium"
    assert task.notes == ["EnvPool is not available here, so CartPole-v1 runs on Gymnasium (slower)"]
    with pytest.raises(MissingExtra, match=r"pip install .*\[sim\]"):
        tasks.make("CartPole-v1", simulator="envpool")


def test_missing_bullet_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pybullet")
    with pytest.raises(MissingExtra, match=r"pip install .*\[bullet\]"):
        tasks.make("AntBulletEnv-v0")


def test_missing_parts_of_gymnasium_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium

    def fail(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed")

    monkeypatch.setattr(gymnasium, "make", fail)
    with pytest.raises(MissingExtra, match=r"MuJoCo is not installed.*pip install .*\[sim\]"):
        tasks.make("HalfCheetah-v5", simulator="gymnasium")


def test_modules_that_do_not_exist_are_named() -> None:
    with pytest.raises(TaskError, match=r"no_such_module:Thing-v0.*could not be imported"):
        tasks.make("no_such_module:Thing-v0")
    with pytest.raises(TaskError, match="names a module"):
        tasks.make("no_such_module:Thing-v0", simulator="envpool")


def test_a_task_without_a_limit_gets_one_and_says_so() -> None:
    task = tasks.make("CliffWalking-v0")
    assert task.step_limit == 10_000
    assert "10,000" in task.notes[0]
    assert tasks.make("CliffWalking-v0", max_episode_steps=50).notes == []


@pytest.mark.parametrize("info", [info for info in tasks.known() if "envpool, gymnasium" in info.simulators], ids=lambda info: info.id)
def test_the_table_says_what_is(info: tasks.TaskInfo) -> None:
    task = tasks.make(info.id, max_episode_steps=3, threads=1)
    assert info.simulators.split(", ")[0] == task.simulator.name == "envpool"
    count = info.observation.split()[0]
    assert task.observation_shape == ((96 * 96 * 3,) if count == "picture" else (int(count),))
    assert int(info.action.split()[0]) == task.action_size


def test_the_table_has_every_task_of_the_two_suites_and_their_sizes() -> None:
    import envpool

    for name in ("dm_control", "playground"):
        rows = {info.id: info for info in tasks.known() if info.family == name}
        assert sorted(rows) == sorted(id for id in families.of_envpool()[name] if "/" not in id)
        for id, info in rows.items():
            spec = envpool.make_spec(id)
            seen = packing(spec.observation_space, None, id, hidden(id)).space.shape
            assert (int(info.observation), int(info.action.split()[0])) == (math.prod(seen), action_map(spec.action_space, id).size), id


# The first of each family; those of pgx are games of two players.
FAMILIES = {name: ids[0] for name, ids in families.of_envpool().items() if name != "pgx"}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_task_of_each_family_plays_ten_steps(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # ViZDoom leaves a file where it runs
    id = FAMILIES[family]
    try:
        task = tasks.make(id, threads=1)
    except TaskError as error:
        if family == "procgen" and "Qt 5" in str(error):
            pytest.skip(str(error))
        raise
    raw, active = task.reset(Seeds.of([1, 2])), torch.ones(2, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        assert task.map_observations(raw).shape == (2, *task.observation_shape)
        actions = task.map_actions(torch.randn(2, task.action_size, generator=generator), False)
        step = task.step(actions, active)
        assert torch.isfinite(step.rewards).all()
        raw, active = step.observations, active & ~(step.terminated | step.truncated)


def test_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--family", "playground", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert "Go1JoystickFlatTerrain-v1" in [row["id"] for row in listed["tasks"]]
    assert {row["family"] for row in listed["tasks"]} == {"playground"}
    assert "MuJoCoPlayground/Go1JoystickFlatTerrain-v1" in listed["others"]
    assert main(["tasks", "Cheetah", "--family", "dm_control"]) == 0
    said = capsys.readouterr().out
    assert "CheetahRun-v1  dm_control" in said
    assert "HalfCheetah" not in said
    assert main(["tasks", "--family", "dm_controll"]) == 2
    assert "did you mean 'dm_control'?" in capsys.readouterr().err


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(TaskError, match="wrappers are Gymnasium's"):
        tasks.make("CheetahRun-v1", "envpool", wrap=["gymnasium.wrappers:FlattenObservation"])
    with pytest.raises(TaskError, match="Go9x9-v1 is a game of 2 players"):
        tasks.make("Go9x9-v1")
    with pytest.raises(TaskError, match="Cig-v1 cannot be played"):
        tasks.make("Cig-v1")
