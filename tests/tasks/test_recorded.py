"""A task from its record maps as the task itself, and a fingerprint follows what an environment is made of."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nchl import tasks
from nchl.simulators.base import Seeds
from nchl.sources import with_imports
from nchl.tasks import recorded
from nchl.tasks.fingerprint import _plain

gymnasium = pytest.importorskip("gymnasium")


@pytest.mark.parametrize(
    ("id", "size"),
    [("CartPole-v1", None), ("Pendulum-v1", None), ("FrozenLake-v1", None), ("CarRacing-v3", (16, 12)), ("CarRacing-v3", None)],
)
def test_a_recorded_task_maps_and_plays_as_the_task_itself(id: str, size: tuple[int, int] | None) -> None:
    task = tasks.make(id, image_size=size, threads=1)
    data = json.loads(json.dumps(recorded.to_record(task), allow_nan=False))
    assert len(json.dumps(data)) < 1000
    back = recorded.from_record(data, size, lambda: tasks.make(id, image_size=size, threads=1).simulator, file="config.json")
    assert back.simulator.name == task.simulator.name
    for name in ("id", "observation_shape", "action_size", "early_stop", "step_limit", "largest_slice", "pictures"):
        assert getattr(back, name) == getattr(task, name), name
    outputs = torch.from_numpy(np.random.default_rng(0).normal(size=(5, task.action_size)).astype(np.float32))
    for bounded in (False, True):
        mine, theirs = (each.map_actions(outputs if not bounded else outputs.tanh(), bounded) for each in (back, task))
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
        assert all(back.simulator.action_space.contains(action) for action in mine.numpy())
    first = [each.reset(Seeds.of([3, 4])) for each in (back, task)]
    np.testing.assert_array_equal(*first)
    np.testing.assert_array_equal(*(each.map_observations(raw) for each, raw in zip((back, task), first, strict=True)))
    assert recorded.to_record(back) == data
    back.close()
    task.close()


def test_environments_whose_version_says_all_have_no_fingerprint() -> None:
    for id, simulator in (("CartPole-v1", "envpool"), ("CartPole-v1", "gymnasium")):
        task = tasks.make(id, simulator, threads=1)
        assert tasks.fingerprint(task) is None
        task.close()


def test_an_installed_package_is_told_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages"
    about = installed / "third_party_robots-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-robots\nVersion: 1.0\n")
    (about / "top_level.txt").write_text("thirdrobots\n")
    (about / "RECORD").write_text("thirdrobots/__init__.py,,\nthirdrobots/arm.py,,\n")
    package = installed / "thirdrobots"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import gymnasium\ngymnasium.register('ThirdArm-v0', entry_point='thirdrobots.arm:Arm', max_episode_steps=5)\n"
    )
    (package / "arm.py").write_text("from gymnasium.envs.classic_control import CartPoleEnv\nclass Arm(CartPoleEnv):\n    pass\n")
    monkeypatch.syspath_prepend(str(installed))
    import thirdrobots  # type: ignore[import-not-found]  # noqa: F401  a plugin would register by itself

    try:
        for id in ("ThirdArm-v0", "thirdrobots:ThirdArm-v0"):
            task = tasks.make(id, "gymnasium", threads=1)
            told = tasks.fingerprint(task)
            assert told is not None
            assert told["entry_point"] == "thirdrobots.arm:Arm"
            assert told["packages"] == {"third-party-robots": "1.0"}
            assert set(told["files"]) == {"thirdrobots/__init__.py", "thirdrobots/arm.py"}
            elsewhere = "ThirdArm-v0 was registered in this process; in another one it is found as 'thirdrobots.arm:ThirdArm-v0'"
            assert any(note.startswith(elsewhere) for note in task.notes) == (":" not in id)
            task.close()
    finally:
        gymnasium.registry.pop("ThirdArm-v0")
        for name in ("thirdrobots", "thirdrobots.arm"):
            sys.modules.pop(name, None)


def test_the_ant_is_told_by_its_package() -> None:
    pytest.importorskip("pybullet_envs_gymnasium")
    task = tasks.make("AntBulletEnv-v0", threads=1)
    told = tasks.fingerprint(task)
    assert told is not None
    assert list(told["packages"].values()) == [importlib.metadata.version("pybullet_envs_gymnasium")]
    task.close()


def test_keyword_arguments_are_told_apart_without_addresses() -> None:
    class Friction:
        def __init__(self, value: float) -> None:
            self.value = value

    def plain(value: object) -> str:
        return json.dumps(_plain(value, 0), allow_nan=False)

    for one, other in (
        (Friction(0.1), Friction(0.2)),
        (np.arange(3.0), np.arange(3.0) + 1),
        ({"a": [1, (2, float("inf"))]}, {"a": [1, (2, float("nan"))]}),
        (np.float32(0.5), np.float32(0.25)),
        ({1, 2}, {1, 3}),
        (Path("a"), Path("b")),
    ):
        assert plain(one) != plain(other)
    assert plain(Friction(0.1)) == plain(Friction(0.1))
    cycle: list[object] = []
    cycle.append(cycle)
    plain(cycle)
    assert "0x" not in plain([Friction(1), object(), lambda: 0, Friction])


def test_the_files_of_a_file_are_those_that_it_imports(tmp_path: Path) -> None:
    for name, text in {
        "mine.py": "import numpy, helper\nfrom parts import arm\nfrom parts.leg import knee\ndef f():\n    import late\n",
        "helper.py": "from mine import f\n",
        "late.py": "",
        "other.py": "",
        "parts/__init__.py": "",
        "parts/arm.py": "from . import hand\nfrom .. import other\n",
        "parts/hand.py": "from ..outside import x\n",
        "parts/leg.py": "knee = 1\n",
        "parts/unused.py": "",
        "broken.py": "def (",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    wanted = ["helper.py", "late.py", "mine.py", "other.py", "parts/__init__.py", "parts/arm.py", "parts/hand.py", "parts/leg.py"]
    assert list(with_imports(tmp_path / "mine.py")) == wanted
    assert list(with_imports(tmp_path / "broken.py")) == ["broken.py"]
    assert list(with_imports(tmp_path / "parts" / "leg.py", tmp_path)) == ["parts/__init__.py", "parts/leg.py"]
    installed = tmp_path / "site-packages"
    installed.mkdir()
    for name in ("one.py", "two.py"):
        (installed / name).write_text("import one, two\n")
    assert list(with_imports(installed / "one.py")) == ["one.py"]
