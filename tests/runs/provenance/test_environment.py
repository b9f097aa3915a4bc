"""A user's environment: the same seed gives the same bits wherever it is played, and an edit of it is never silent."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl import load, run
from nchl.cli import main
from nchl.errors import RunError
from nchl.runs.store.folder import RunFolder
from reference.runs import results

gymnasium = pytest.importorskip("gymnasium")

ROBOT = """
    import os

    import gymnasium
    import numpy as np

    from body import reward_of


    class Robot(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
        action_space = gymnasium.spaces.Box(-1, 1, (2,))

        def __init__(self, gain=1.0):
            self.gain = gain

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.state = self.np_random.normal(size=3).astype(np.float32)
            return self.state, {}

        def step(self, action):
            self.state = (0.9 * self.state + self.gain * np.append(action, action[0] * action[1])).astype(np.float32)
            return self.state, reward_of(self.state), False, False, {}


    gymnasium.register("Robot-v0", entry_point=Robot, max_episode_steps=12, kwargs={"gain": float(os.environ.get("GAIN", "0.1"))})
"""
BODY = "def reward_of(state):\n    return -float((state**2).sum())\n"
DOUBLED = BODY.replace("-float", "-2 * float")
TASK = "robots:Robot-v0"
EVOLVE = ["evolve", TASK, "--hidden", "4", "--population", "8", "--seed", "3"]
# A robot has the packages that nchl itself needs, and those that they need; importing another one raises an error there.
BLOCKED = """
import importlib.metadata, re, sys

there, left = set(), ["nchl"]
while left:
    name = re.match(r"[A-Za-z0-9._-]+", left.pop()).group().lower().replace("_", "-")
    if name in there:
        continue
    there.add(name)
    try:
        needed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        continue
    left += [each for each in needed if "extra ==" not in each]
assert not there & {"gymnasium", "envpool", "mujoco", "cma", "scipy", "matplotlib"}
brought = {module: {each.lower().replace("_", "-") for each in by} for module, by in importlib.metadata.packages_distributions().items()}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "robots" or (top in brought and not brought[top] & there):
            raise ImportError(f"{name} is not on this robot")

sys.meta_path.insert(0, Blocked())
import nchl, numpy as np
for run in sys.argv[1:]:
    net, task = nchl.load(run)
    net.reset(seed=1)
    print([np.asarray(net.act(np.full(task.simulator.observation_space.shape, t // 4))).tolist() for t in range(8)])
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the user's module, and one that it imports."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of edits within one second, Python would not see the second
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "robots.py").write_text(textwrap.dedent(ROBOT))
    (folder / "body.py").write_text(BODY)
    yield folder
    forget()


def forget() -> None:
    """Let the user's modules be read anew, as in another process."""
    for name in ("robots", "body"):
        sys.modules.pop(name, None)
    gymnasium.registry.pop("Robot-v0", None)
    importlib.invalidate_caches()


def nchl(code: Path, *words: Any, status: int = 0) -> str:
    """The output of the command line, with the user's modules imported again."""
    forget()
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        patch.syspath_prepend(str(code))
        assert main([*map(str, words)]) == status, errors.getvalue()
    return out.getvalue() + ("" if "--json" in words else errors.getvalue())


def elsewhere(code: Path, command: list[Any], **variables: str) -> str:
    """The output of a command in another Python process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(code), *filter(None, sys.path)]), **variables}
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(code: Path, tmp_path: Path) -> None:
    """In two processes, in workers, and through a resume of a copied folder whose code has moved."""
    nchl(code, *EVOLVE, "--generations", 3, "--out", tmp_path / "a")
    nchl(code, *EVOLVE, "--generations", 3, "--out", tmp_path / "b", "--workers", 2)
    nchl(code, *EVOLVE, "--generations", 1, "--out", tmp_path / "c")
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "c", moved / "run")
    shutil.move(code, moved / "code")
    elsewhere(moved / "code", ["-m", "nchl", "resume", moved / "run", "--generations", 3])
    whole = results(tmp_path / "a")
    assert results(tmp_path / "b") == whole
    assert results(moved / "run") == whole
    told = [json.loads(nchl(moved / "code", "evaluate", run, "--episodes", 5, "--json")) for run in (tmp_path / "a", moved / "run")]
    assert told[0] == told[1]
    assert told[0]["notes"] == []


def test_an_edited_environment_is_refused_by_resume_and_told_by_evaluate(code: Path, tmp_path: Path) -> None:
    nchl(code, *EVOLVE, "--generations", 2, "--out", tmp_path / "run")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "run", copy)
    record = RunFolder.open(copy).read_record()
    assert record.environment is not None
    assert set(record.environment["files"]) == {"robots.py", "body.py"}
    before = json.loads(nchl(code, "evaluate", copy, "--episodes", 5, "--json"))

    (code / "body.py").write_text(DOUBLED)
    for words in ([], ["--workers", 2]):
        said = nchl(code, "resume", copy, "--generations", 3, *words, status=2)
        assert "body.py has changed" in said
        assert "--allow-other-environment" in said
    said = nchl(code, "evaluate", copy, "--episodes", 5)
    assert "robots:Robot-v0 has changed since the run was evolved in it: body.py has changed" in said
    after = json.loads(nchl(code, "evaluate", copy, "--episodes", 5, "--json"))
    assert after["mean"] == pytest.approx(2 * before["mean"])
    assert after["environment"] != before["environment"]

    said = nchl(code, "resume", tmp_path / "run", "--generations", 3, "--allow-other-environment")
    assert "the run goes on in it: body.py has changed" in said
    (code / "body.py").write_text(BODY)
    nchl(code, "resume", copy, "--generations", 3)
    assert results(copy) != results(tmp_path / "run")
    assert "body.py has changed" in nchl(code, "resume", tmp_path / "run", "--generations", 4, status=2)


def test_another_registration_is_another_environment(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nchl(code, *EVOLVE, "--generations", 1, "--out", tmp_path / "run")
    monkeypatch.setenv("GAIN", "0.2")
    said = nchl(code, "resume", tmp_path / "run", "--generations", 2, status=2)
    assert "keyword argument gain was 0.1 and is 0.2" in said
    monkeypatch.delenv("GAIN")
    text = (code / "robots.py").read_text()
    (code / "robots.py").write_text(text.replace("max_episode_steps=12", "max_episode_steps=13"))
    said = nchl(code, "resume", tmp_path / "run", "--generations", 2, status=2)
    assert "robots.py has changed; max_episode_steps was 12 and is 13" in said


def test_a_worker_with_another_environment_is_not_used(code: Path, tmp_path: Path) -> None:
    text = (code / "robots.py").read_text()
    (code / "robots.py").write_text(text.replace('float(os.environ.get("GAIN", "0.1"))', "os.getpid() % 1000 / 1e4"))
    said = nchl(code, *EVOLVE, "--generations", 1, "--out", tmp_path / "run", "--workers", 1, status=2)
    assert "no worker is bit-identical" in said
    assert "environment is " in said


def test_a_comparison_says_that_environments_differ(code: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    nchl(code, *EVOLVE, "--generations", 1, "--out", runs / "a")
    (code / "body.py").write_text(DOUBLED)
    nchl(code, *EVOLVE, "--generations", 1, "--out", runs / "b")
    said = nchl(code, "compare", runs, "--evaluate", "--episodes", 4)
    assert "the environment was changed between the runs" in said
    assert f"{runs / 'a'}: robots:Robot-v0 has changed since the run was evolved in it: body.py has changed" in said
    assert f"evaluated in an environment that has changed since the run: {runs / 'a'}" in said
    kept = {name: json.loads((runs / name / "evaluation.json").read_text()) for name in "ab"}
    # In the restored environment, the kept score of neither run is the score of what lies there now.
    (code / "body.py").write_text(BODY)
    said = nchl(code, "compare", runs, "--evaluate", "--episodes", 4)
    assert "playing 4 unseen episodes with the best individual of" in said
    now = {name: json.loads((runs / name / "evaluation.json").read_text()) for name in "ab"}
    for name in "ab":
        assert now[name]["mean"] == pytest.approx(kept[name]["mean"] / 2)
    assert "playing" not in nchl(code, "compare", runs, "--evaluate", "--episodes", 4)


def test_a_loaded_network_needs_neither_simulator_nor_environment(code: Path, tmp_path: Path) -> None:
    nchl(code, *EVOLVE, "--generations", 1, "--normalise-observations", "--out", tmp_path / "own")
    nchl(code, "evolve", "CartPole-v1", "--hidden", 3, "--population", 4, "--generations", 1, "--out", tmp_path / "pole")
    nchl(code, "evolve", "FrozenLake-v1", "--hidden", 3, "--population", 4, "--generations", 1, "--out", tmp_path / "lake")
    cache = {"NCHL_CACHE": str(tmp_path / "cache")}  # of another machine, where none of this was chosen

    runs = [tmp_path / name for name in ("own", "pole", "lake")]
    alone = elsewhere(tmp_path, ["-c", BLOCKED, *runs], **cache).splitlines()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(code))
        for folder, line in zip(runs, alone, strict=True):
            net, task = load(folder, simulator="gymnasium")
            net.reset(seed=1)
            shape = task.simulator.observation_space.shape
            assert line == str([np.asarray(net.act(np.full(shape, t // 4))).tolist() for t in range(8)])
            task.close()


def test_a_record_of_an_earlier_version_makes_the_task(tmp_path: Path) -> None:
    run("CartPole-v1", tmp_path / "run", hidden=(3,), population=4, generations=1)
    config = tmp_path / "run" / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(json.dumps({name: value for name, value in whole.items() if name not in ("task", "environment")}))
    _, task = load(tmp_path / "run")
    assert type(task.simulator).__name__ == "EnvPool"
    task.close()
    space = whole["task"]["action_space"]
    for wrong in (
        {},
        whole["task"] | {"step_limit": "many"},
        whole["task"] | {"observation_space": {"kind": "Box", "shape": [1 << 40], "dtype": "float32", "low": 0, "high": 1}},
        whole["task"] | {"observation_space": {"kind": "Box", "shape": [2], "dtype": "object", "low": 0, "high": 1}},
        whole["task"] | {"action_space": space | {"n": -1}},
        whole["task"] | {"action_space": space | {"kind": "Graph"}},
        whole["task"] | {"early_stop": 3},
    ):
        config.write_text(json.dumps(whole | {"task": wrong}))
        with pytest.raises(RunError, match="key 'task' was altered"):
            load(tmp_path / "run")
    config.write_text(json.dumps(whole | {"environment": "mine"}))
    with pytest.raises(RunError, match="'environment' must be an object or null"):
        load(tmp_path / "run")


@pytest.mark.slow
def test_a_sweep_runs_a_changed_environment_in_folders_of_its_own(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a changed rule: runs of the former environment are left alone, and found again when it is restored."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(code), *filter(None, sys.path)]))  # for the processes of the runs
    pytest.importorskip("yaml")
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(f"task: {TASK}\nhidden: [3]\npopulation: 4\ngenerations: 1\nseeds: 2\n")
    sweep = ["sweep", file, "--out", out]
    assert "2 of 2 runs are done" in nchl(code, *sweep)
    held = {name: results(out / name) for name in ("seed-0", "seed-1")}
    (out / "seed-1" / "summary.json").unlink()  # as if it had been killed

    (code / "body.py").write_text(DOUBLED)
    said = nchl(code, *sweep)
    assert said.count(f"{TASK} changed since runs in {out} were made in it (body.py has changed)") == 1
    assert "2 of 2 runs are done" in said
    made = {path.parent.name for path in out.glob("*/config.json")} - set(held)
    assert [name[:7] for name in sorted(made)] == ["seed-0_", "seed-1_"]
    ending = sorted(made)[0][6:]
    assert f"with names that end in {ending}" in said
    assert {name: results(out / name) for name in held} == held
    first = [read["best"] for name in ("seed-0", f"seed-0{ending}") for read in results(out / name)[2]]
    assert float(first[1]) == pytest.approx(2 * float(first[0]))

    (code / "body.py").write_text(BODY)
    said = nchl(code, *sweep, "--dry-run")
    assert "seed-0  done\n" in said
    assert "seed-1  interrupted, 1 of 1 generations\n" in said
    assert "changed since" not in said
    (code / "body.py").write_text(DOUBLED)
    assert f"seed-1{ending}  done" in nchl(code, *sweep, "--dry-run")

    (out / "seed-1" / "summary.json").write_text(json.dumps({"reason": "generations", "generations": 1}))
    (code / "robots.py").rename(code / "elsewhere.py")
    said = nchl(code, *sweep, "--dry-run")
    assert "2 of 2 runs are done" in said
    assert f"{TASK} cannot be made here, so that it is not known whether it has changed since" in said


@pytest.mark.parametrize("episodes", [0, 2])
def test_a_report_says_once_that_the_environment_has_changed(code: Path, tmp_path: Path, episodes: int) -> None:
    pytest.importorskip("jinja2")
    nchl(code, *EVOLVE, "--generations", 1, "--out", tmp_path / "run")
    report = ["report", tmp_path / "run", "--episodes", episodes, "--no-microscope", "--no-film"]
    line = f"{TASK} has changed since the run was evolved in it: body.py has changed"
    assert line not in nchl(code, *report)
    (code / "body.py").write_text(DOUBLED)
    assert nchl(code, *report).count(line) == 1
    assert (tmp_path / "run" / "report.html").read_text().count(line) == 1
    nchl(code, "resume", tmp_path / "run", "--generations", 2, "--allow-other-environment")
    nchl(code, *report)
    page = (tmp_path / "run" / "report.html").read_text()
    assert line not in page
    assert "continued 2" in page
