"""Robots that EnvPool draws in a process of its own: the same world, and a death there is an error here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nchl.errors import DrawingError
from nchl.tasks.stages import envpool_robots, mujoco_renderer
from nchl.tasks.stages.open import open_stage

pytest.importorskip("envpool")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def opengl() -> None:
    try:
        mujoco_renderer.choose()
    except DrawingError as error:
        pytest.skip(str(error))


@pytest.fixture
def finger() -> Iterator[envpool_robots.DrawnTwinStage]:
    stage = open_stage("FingerSpin-v1", "envpool", seed=3, size=(96, 64))
    assert isinstance(stage, envpool_robots.DrawnTwinStage)
    yield stage
    stage.close()


# Of the parts that the network sees, of an observation without parts, of a body that --env changes, and a task of three other suites
# (not of MyoSuite, whose pictures hardly differ within a few steps).
@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("FingerSpin-v1", {"observe": ["touch", "velocity"]}),
        ("Reacher-v5", {}),
        ("CheetahRun-v1", {"env": {"frame_skip": 2}}),
        ("PandaPickCube-v1", {}),
        ("MetaWorld/DrawerClose-v3", {}),
        ("FetchReach-v1", {}),
    ],
)
def test_the_world_that_is_drawn_is_the_one_that_is_stepped(task: str, words: dict[str, Any]) -> None:
    drawn = open_stage(task, "envpool", seed=3, size=(96, 64), **words)
    plain = open_stage(task, "envpool", seed=3, draw=False, **words)
    try:
        for _ in range(2):  # the second episode begins anew in the same process
            assert torch.equal(drawn.begin(), plain.begin())
            first = drawn.frame()
            size = drawn.action_space.shape
            for number in range(8):
                actions = torch.full((1, *size), 0.9 if number % 4 else -0.5)
                one, other = drawn.act(actions), plain.act(actions)
                assert torch.equal(one.observations, other.observations)
                assert torch.equal(one.rewards, other.rewards)
            assert first.shape == (64, 96, 3)
            assert first.dtype == np.uint8
            assert first.std() > 5
            assert (first != drawn.frame()).any()
    finally:
        drawn.close()
        plain.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes as Linux shows them")
def test_the_drawing_process_ends_with_a_parent_that_is_killed() -> None:
    code = (
        "import time\n"
        "from nchl.tasks.stages.open import open_stage\n"
        "stage = open_stage('FingerSpin-v1', 'envpool', seed=3, size=(96, 64))\n"
        "stage.begin()\n"
        "print(stage._child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}")
        assert "envpool_robots_child" in (child / "cmdline").read_text()
        parent.kill()
    for _ in range(100):
        try:
            ended = "State:\tZ" in (child / "status").read_text()
        except OSError:  # it is gone
            return
        if ended:
            return
        time.sleep(0.1)
    raise AssertionError("it is still there after ten seconds")


def test_a_renderer_that_finds_no_opengl_ends_its_own_process_only(
    finger: envpool_robots.DrawnTwinStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envpool_robots, "_LIBRARIES", {})  # EnvPool's renderer then calls exit()
    with pytest.raises(DrawingError, match=r"FingerSpin-v1 cannot be drawn: .* ended its process \(exit status 1.*apt install"):
        finger.begin()


def test_a_renderer_that_is_killed(finger: envpool_robots.DrawnTwinStage) -> None:
    finger.begin()
    assert finger._child is not None
    os.kill(finger._child.pid, signal.SIGKILL)
    finger._child.process.wait()
    with pytest.raises(DrawingError, match="killed by signal 9"):
        finger.frame()


def test_a_twin_that_goes_another_way(finger: envpool_robots.DrawnTwinStage, monkeypatch: pytest.MonkeyPatch) -> None:
    send = finger._send

    def another(header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
        send({**header, "seed": 4} if header["do"] == "make" else header, arrays)

    monkeypatch.setattr(finger, "_send", another)
    with pytest.raises(DrawingError, match="other observations"):
        finger.begin()
