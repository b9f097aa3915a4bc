"""An environment of a user's own that does not follow its seed, or gives NaN, is named before the first generation."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nchl
from nchl import tasks
from nchl.cli import main
from nchl.tasks.trial import notes_on_environment

gymnasium = pytest.importorskip("gymnasium")

ROBOTS = """
    import gymnasium, numpy as np

    class Seeded(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.position = self.np_random.normal(size=2).astype(np.float32)
            return self.position, {}

        def step(self, action):
            self.position += self.np_random.normal(size=2).astype(np.float32)  # in place
            return self.position, float(action), False, False, {}

    class Unseeded(Seeded):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None)

    class Kept(Seeded):
        steps = 0

        def step(self, action):
            self.steps += 1
            return super().step(action)[0], self.steps, False, False, {}

    class Global(Seeded):
        def step(self, action):
            return self.position + np.random.normal(), 0.0, False, False, {}

    class Ends(Seeded):
        ends = 0

        def step(self, action):
            Ends.ends += 1
            return self.position, 0.0, Ends.ends == 3, False, {}

    class Nan(Seeded):
        def step(self, action):
            return self.position, np.nan, False, False, {}

    class Blind(Seeded):
        def step(self, action):
            return np.full(2, np.inf), 1.0, False, False, {}

    class Failing(Seeded):
        def step(self, action):
            raise ValueError("no motor")

    class Picky(Seeded):
        def step(self, action):
            if action == 1:
                raise ValueError("no such motor")
            return super().step(action)

    class Resetting(Seeded):
        def reset(self, *, seed=None, options=None):
            raise KeyError("arm")

    class Old(Seeded):
        def step(self, action):
            return super().step(action)[:4]

    class Only(Seeded):
        def __init__(self):
            raise OSError("the port is in use")

    for robot in (Seeded, Unseeded, Kept, Global, Ends, Nan, Blind, Failing, Picky, Resetting, Old, Only):
        gymnasium.register(f"{robot.__name__}-v0", entry_point=robot, max_episode_steps=5)

    class Unseeding(gymnasium.Wrapper):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None)
"""


@pytest.fixture
def robots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that registers them."""
    (tmp_path / "seeded_robots.py").write_text(textwrap.dedent(ROBOTS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = set(gymnasium.registry)
    yield "seeded_robots"
    sys.modules.pop("seeded_robots", None)
    for id in set(gymnasium.registry) - before:
        gymnasium.registry.pop(id)


@pytest.mark.parametrize(
    ("robot", "differs"),
    [
        ("Unseeded", "the first observation"),
        ("Kept", "the reward of step 1"),
        ("Global", "the observation of step 1"),
        ("Ends", "the end of step 3"),
    ],
)
def test_a_difference_between_two_episodes_with_one_seed_is_told(robots: str, robot: str, differs: str) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    (note,) = notes_on_environment(tasks.make(f"{robots}:{robot}-v0", threads=1))
    assert f"{robots}:{robot}-v0 does not follow its seed" in note
    assert f"the same actions differ in {differs}." in note
    assert "super().reset(seed=seed)" in note
    assert "self.np_random" in note
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002


def test_an_environment_that_follows_its_seed_gets_no_note(robots: str) -> None:
    assert notes_on_environment(tasks.make(f"{robots}:Seeded-v0", threads=1)) == []


@pytest.mark.parametrize(("robot", "told"), [("Failing", "step 1 of .*: no motor"), ("Picky", r"step \d of .*: no such motor")])
def test_a_step_that_fails_is_told_with_its_line(robots: str, robot: str, told: str, tmp_path: Path) -> None:
    (note,) = notes_on_environment(tasks.make(f"{robots}:{robot}-v0", threads=1))
    assert re.search(rf"^{robots}:{robot}-v0 failed in {told} \({tmp_path}/seeded_robots\.py, line \d+, in step\)\. The run ends", note)


@pytest.mark.parametrize(
    ("robot", "told"),
    [
        ("Failing", r"failed in a step: ValueError: no motor \(.*seeded_robots\.py, line \d+, in step\)"),
        ("Resetting", r"failed in a reset: KeyError: 'arm' \(.*seeded_robots\.py, line \d+, in reset\)"),
        ("Old", "step must return five values"),
    ],
)
def test_the_run_ends_with_the_error_and_its_line(
    robots: str, robot: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--hidden", "3", "--population", "4", "--generations", "1", "--out", str(tmp_path / "run")]
    assert main(["evolve", f"{robots}:{robot}-v0", *words]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said)
    # Such an error ends every run at once, so that a note on the trial would say the same twice.
    assert ("trial episode" in said) is (robot == "Failing")


def test_an_environment_of_which_there_can_be_no_second_one_gets_no_note(robots: str) -> None:
    task = tasks.make(f"{robots}:Unseeded-v0", threads=1)
    task.simulator.recipe["id"] = "Only-v0"  # type: ignore[attr-defined]
    assert notes_on_environment(task) == []


def test_a_wrapper_that_keeps_the_seed_back_is_told(robots: str, tmp_path: Path) -> None:
    place = f"{tmp_path / 'seeded_robots.py'}:Unseeding"
    assert notes_on_environment(tasks.make("CartPole-v1", "gymnasium", threads=1)) == []
    (note,) = notes_on_environment(tasks.make("CartPole-v1", "gymnasium", threads=1, wrap=[place]))
    assert "CartPole-v1 does not follow its seed" in note


@pytest.mark.parametrize(("robot", "told"), [("Seeded", False), ("Unseeded", True)])
def test_evolve_and_resume_print_the_note(robots: str, robot: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--hidden", "3", "--population", "4", "--generations", "1", "--out", str(tmp_path / "run")]
    assert main(["evolve", f"{robots}:{robot}-v0", *words]) == 0
    assert ("does not follow its seed" in capsys.readouterr().err) is told
    assert main(["resume", str(tmp_path / "run"), "--generations", "2"]) == 0
    assert ("does not follow its seed" in capsys.readouterr().err) is told


@pytest.mark.parametrize(("robot", "told"), [("Seeded", False), ("Unseeded", True)])
def test_a_run_without_a_function_for_notes_logs_them(
    robots: str, robot: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def shown() -> list[tuple[str, str, str]]:
        found = [(record.name, record.levelname, record.getMessage().split(" does not")[0]) for record in caplog.records]
        caplog.clear()
        return found

    caplog.set_level("WARNING", logger="nchl")
    expected = [("nchl", "WARNING", f"{robots}:{robot}-v0")] * told
    nchl.run(f"{robots}:{robot}-v0", tmp_path / "run", hidden=[3], population=4, generations=1)
    assert shown() == expected
    nchl.resume(tmp_path / "run", generations=2)
    assert shown() == expected
    nchl.resume(tmp_path / "run", generations=3, on_note=lambda line: None)
    assert shown() == []


@pytest.mark.parametrize(("robot", "told"), [("Seeded", False), ("Unseeded", True)])
def test_a_search_without_a_run_folder_logs_the_note(robots: str, robot: str, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    search = nchl.evolution(f"{robots}:{robot}-v0", hidden=[3], population=4, generations=1)
    search.workers.close()
    shown = [record for record in caplog.records if "does not follow its seed" in record.getMessage()]
    assert [(record.name, record.levelname) for record in shown] == [("nchl", "WARNING")] * told


@pytest.mark.parametrize(("robot", "what"), [("Nan", "the reward of step 1"), ("Blind", "the observation of step 1")])
def test_numbers_that_are_not_finite_are_told(robots: str, robot: str, what: str) -> None:
    (note,) = notes_on_environment(tasks.make(f"{robots}:{robot}-v0", threads=1))
    assert f"{robots}:{robot}-v0 gives numbers that are not finite: {what}, for random actions" in note


def test_rewards_that_are_never_finite_are_told_with_the_task(robots: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--hidden", "3", "--population", "4", "--generations", "1", "--out", str(tmp_path / "run")]
    assert main(["evolve", f"{robots}:Nan-v0", *words]) == 2
    said = capsys.readouterr().err
    assert "not finite: the reward of step 1" in said
    assert f"generation 1 has no finite score on {robots}:Nan-v0" in said
    assert "each of the 4 individuals had a reward, an observation, an output or a weight that was not finite" in said
    # Nothing is kept of a run without a generation, so that the corrected environment can have the same folder.
    assert f"{tmp_path / 'run'} is removed" in said
    assert not (tmp_path / "run").exists()
    assert main(["evolve", f"{robots}:Seeded-v0", *words]) == 0
