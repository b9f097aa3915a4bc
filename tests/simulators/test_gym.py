"""Gymnasium environments in this process and in others: the same episodes, no orphans, and the user's own environments."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nchl import child as child_process
from nchl import tasks, wire
from nchl.errors import TaskError
from nchl.seeds import Purpose
from nchl.simulators.base import Seeds, Start
from nchl.simulators.gym_processes import Processes

gymnasium = pytest.importorskip("gymnasium")

START = Start(3, Purpose.TRAINING, 2)

OWN = """
    import gymnasium, numpy as np

    class Drift(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 2))
        action_space = gymnasium.spaces.Box(-1, 1, (2,))

        def __init__(self, fail_at=10**9, exit_at=10**9):
            self.fail_at, self.exit_at = fail_at, exit_at

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.state, self.steps = self.np_random.normal(size=(2, 2)).astype(np.float32), 0
            return self.state, {}

        def step(self, action):
            print("chatter of an environment")
            self.steps += 1
            if self.steps == self.fail_at:
                raise ValueError("the drift broke")
            if self.steps == self.exit_at:
                import os; os._exit(9)
            self.state = self.state + np.float32(0.1) * action
            return self.state, float(self.state.sum()), bool(self.state.sum() > 3), False, {}

    gymnasium.register("Drift-v0", entry_point=Drift, max_episode_steps=30)
    gymnasium.register("DriftFails-v0", entry_point=Drift, max_episode_steps=30, kwargs={"fail_at": 3})
    gymnasium.register("DriftExits-v0", entry_point=Drift, max_episode_steps=30, kwargs={"exit_at": 3})
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's that registers environments; its name."""
    name = f"drift_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)
    for id in ("Drift-v0", "DriftFails-v0", "DriftExits-v0"):
        gymnasium.registry.pop(id, None)


def play(task: tasks.Task, size: int, steps: int = 30) -> tuple[np.ndarray, np.ndarray]:
    first = task.reset(Seeds.shared(size, START)).numpy().copy()
    generator = np.random.default_rng(0)
    active, returns = torch.ones(size, dtype=torch.bool), np.zeros(size)
    for _ in range(steps):
        outputs = torch.from_numpy(generator.uniform(-1, 1, (size, task.action_size)))
        step = task.step(task.map_actions(outputs, True), active)
        returns += step.rewards.numpy()
        active = active & ~(step.terminated | step.truncated)
    return first, returns


def children() -> set[int]:
    """Ids of the processes that this one started and that are still there."""
    psutil = pytest.importorskip("psutil")
    return {child.pid for child in psutil.Process().children() if any("gym_worker" in word for word in child.cmdline())}


def test_the_number_of_processes_changes_nothing(own: str) -> None:
    kept = []
    before = children()
    for threads in (1, 2, 3):
        task = tasks.make(f"{own}:Drift-v0", threads=threads)
        kept.append(play(task, 13))
        assert isinstance(task.simulator._environments, Processes) == (threads > 1)  # type: ignore[attr-defined]
        task.close()
        assert children() == before
    for first, returns in kept[1:]:
        np.testing.assert_array_equal(first, kept[0][0])
        np.testing.assert_array_equal(returns, kept[0][1])


def test_processes_serve_again_and_fewer_rows(own: str) -> None:
    task = tasks.make(f"{own}:Drift-v0", threads=2)
    whole, again, fewer = play(task, 9), play(task, 9), play(task, 1)
    np.testing.assert_array_equal(whole[1], again[1])
    np.testing.assert_array_equal(whole[0][:1], fewer[0])
    separate = task.reset(Seeds.of([4, 5, 4]))
    np.testing.assert_array_equal(separate[0], separate[2])
    assert not np.array_equal(separate[0], separate[1])
    task.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_environment_that_fails_says_why(own: str, threads: int) -> None:
    task = tasks.make(f"{own}:DriftFails-v0", threads=threads)
    with pytest.raises(TaskError, match="ValueError: the drift broke"):
        play(task, 8)
    task.close()


def test_a_process_that_goes_away_is_an_error_and_not_a_wait(own: str) -> None:
    task = tasks.make(f"{own}:DriftExits-v0", threads=2)
    with pytest.raises(TaskError, match="ended unexpectedly"):
        play(task, 8)
    task.close()


@pytest.mark.parametrize("interrupted", [1, 2])
def test_a_step_that_was_interrupted_leaves_nothing_for_the_next_episode(
    own: str, monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    task = tasks.make(f"{own}:Drift-v0", threads=2)
    first, returns = play(task, 8)
    answer, answers = Processes._answer, itertools.count(1)

    def hears(environments: Processes, k: int) -> list[np.ndarray]:
        if next(answers) == 2 + interrupted:  # two answer the reset
            raise KeyboardInterrupt
        return answer(environments, k)

    with monkeypatch.context() as patched:
        patched.setattr(Processes, "_answer", hears)
        with pytest.raises(KeyboardInterrupt):
            play(task, 8)
    again, again_returns = play(task, 8)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(again_returns, returns)
    task.close()


def test_a_process_whose_parent_has_closed_its_answers_ends_silently(own: str) -> None:
    command, pipe = child_process.command("nchl.simulators.gym_worker"), subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=child_process.environment()) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        wire.send(child.stdin, {"do": "make", "recipe": {"module": own, "id": "Drift-v0"}, "count": 1})
        wire.receive(child.stdout)
        child.stdout.close()
        wire.send(child.stdin, {"do": "reset"}, {"seeds": np.array([1])})
        child.stdin.close()
        assert child.stderr is not None
        assert (child.stderr.read(), child.wait(timeout=60)) == (b"", 0)


def test_processes_that_cannot_be_started_are_an_error_that_says_how_many(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, started = children(), subprocess.Popen, itertools.count(1)

    def popen(*words: Any, **named: Any) -> Any:
        if next(started) > 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*words, **named)

    task = tasks.make(f"{own}:Drift-v0", threads=3)
    with monkeypatch.context() as patched:
        patched.setattr("nchl.child.subprocess.Popen", popen)
        with pytest.raises(TaskError, match="only 2 of 3 processes"):
            task.reset(Seeds.shared(12, START))
    assert children() == before


MISTAKES = {
    "undefined": "import gymnasium\nRobot = Nothing\n",
    "leaves": "raise SystemExit(3)\n",
    "unmade": """
        def __init__(self):
            raise FileNotFoundError("no robot.xml")
    """,
    "unreset": """
        def reset(self, *, seed=None, options=None):
            raise KeyError("legs")
    """,
}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("undefined", "could not be imported: NameError: name 'Nothing'"),
        ("leaves", "could not be imported: SystemExit: 3"),
        ("unmade", "cannot make .*FileNotFoundError: no robot.xml"),
        ("unreset", "failed in a reset: KeyError: 'legs'"),
        (".relative", "could not be imported: TypeError"),
    ],
)
def test_mistakes_in_the_users_own_module_are_told(mistake: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = mistake
    if mistake in MISTAKES:
        name = f"mistake_{mistake}_{os.getpid()}"
        source = textwrap.dedent(MISTAKES[mistake])
        if "def " in source:
            source = (
                "import gymnasium\nclass Robot(gymnasium.Env):\n"
                "    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))\n"
                + textwrap.indent(source, "    ")
                + "gymnasium.register('Robot-v0', entry_point=Robot, max_episode_steps=5)\n"
            )
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(TaskError, match=said):
            tasks.make(f"{name}:Robot-v0", threads=1).reset(Seeds.shared(1, START))
    finally:
        sys.modules.pop(name, None)
        gymnasium.registry.pop("Robot-v0", None)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_no_orphans_when_the_parent_is_killed(own: str, tmp_path: Path) -> None:
    program = f"""
    import time
    from nchl import tasks
    from nchl.simulators.base import Seeds
    task = tasks.make("{own}:Drift-v0", threads=2)
    task.reset(Seeds.of([0] * 8))
    print(*(child.pid for child in task.simulator._environments._children), flush=True)
    time.sleep(60)
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(running(pid) for pid in pids)


def running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be taken note of."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_classes_registered_in_this_process_are_played_here() -> None:
    class Still(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(3)
        action_space = gymnasium.spaces.Discrete(2, start=4)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
            return 1, {}

        def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
            return 2, float(action), False, False, {}

    gymnasium.register("Still-v0", entry_point=Still, max_episode_steps=4)
    try:
        task = tasks.make("Still-v0", threads=2)
        assert task.simulator.name == "gymnasium"
        assert "share one processor" in task.notes[0]
        assert (task.observation_shape, task.action_size, task.step_limit) == ((3,), 2, 4)
        first = task.reset(Seeds.shared(8, START))
        np.testing.assert_array_equal(task.map_observations(first)[0], [0, 1, 0])
        step = task.step(task.map_actions(torch.tensor([0.0, 1.0]).repeat(8, 1), True), torch.ones(8, dtype=torch.bool))
        np.testing.assert_array_equal(step.rewards, np.full(8, 5.0))
        assert tasks.make("Still-v0", max_episode_steps=2).step_limit == 2
    finally:
        gymnasium.registry.pop("Still-v0")


def test_an_environment_without_a_step_limit_is_limited_here() -> None:
    task = tasks.make("CliffWalking-v1", simulator="gymnasium")
    assert task.step_limit == 10_000


def test_both_simulators_agree_on_what_a_network_sees() -> None:
    pytest.importorskip("envpool")
    for name in ("CartPole-v1", "FrozenLake-v1", "Pendulum-v1", "HalfCheetah-v5"):
        ours, theirs = (tasks.make(name, simulator=simulator) for simulator in ("envpool", "gymnasium"))
        assert (ours.observation_shape, ours.action_size, ours.step_limit) == (
            theirs.observation_shape,
            theirs.action_size,
            theirs.step_limit,
        )


@pytest.mark.slow
def test_ant_bullet_is_scored_by_progress_whatever_the_processes() -> None:
    pytest.importorskip("pybullet_envs_gymnasium")
    kept = []
    for threads in (1, 2):
        task = tasks.make("AntBulletEnv-v0", threads=threads, max_episode_steps=40)
        assert (task.observation_shape, task.action_size) == ((28,), 8)
        assert task.early_stop == tasks.EarlyStop(in_a_row=30, after=200)
        kept.append([play(task, 5, 40), play(task, 5, 40)])
        task.close()
    for first, returns in (kept[0][1], *kept[1]):
        np.testing.assert_array_equal(first, kept[0][0][0])
        np.testing.assert_array_equal(returns, kept[0][0][1])
    # Being alive would give 1 a step; progress in 40 random steps is a few metres per second in all.
    assert np.abs(kept[0][0][1]).max() < 39


@pytest.mark.parametrize("text", ["gravity=x0.1", "push:torso=3000N@5+10", "mass:nosuchbody=x5", "attribute:mass=x2@3", "slope=5deg"])
@pytest.mark.parametrize("simulator", ["auto", "gymnasium"])
def test_ant_bullet_refuses_changes_of_its_body(text: str, simulator: str) -> None:
    said = f"AntBulletEnv-v0 has no bodies of MuJoCo's, so '{re.escape(text)}' cannot be done; it takes sensor:"
    with pytest.raises(TaskError, match=said):
        tasks.make("AntBulletEnv-v0", simulator, perturb=[text])


class _Loud(gymnasium.Env):
    """Prints as a library in C does."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self) -> None:
        self.mass = 1.0
        os.write(1, b"argv[0]=")


def test_the_trial_of_a_change_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    gymnasium.register("LoudWhenMade-v0", entry_point=_Loud, max_episode_steps=5)
    try:
        tasks.make("LoudWhenMade-v0").close()
        probe = capfd.readouterr().out
        tasks.make("LoudWhenMade-v0", perturb=["attribute:mass=x2"]).close()
        assert capfd.readouterr().out == probe
    finally:
        gymnasium.registry.pop("LoudWhenMade-v0")
