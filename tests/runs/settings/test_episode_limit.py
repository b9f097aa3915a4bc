"""`--max-episode-steps`: another limit of an episode, in every simulator, in the record, and in all that plays a run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument
from nchl.runs.results.scene import open_run
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.folder import RunFolder

pytest.importorskip("gymnasium")
pytest.importorskip("envpool")

# Fixed ends of an episode: a pendulum never falls, and its own limit is 200 steps.
SMALL = ["--hidden", "2", "--population", "2", "--generations", "1"]


@pytest.mark.parametrize("simulator", ["envpool", "gymnasium"])
@pytest.mark.parametrize("limit", [7, 230])
def test_a_run_keeps_to_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str], simulator: str, limit: int) -> None:
    run = tmp_path / "run"
    words = ["evolve", "Pendulum-v1", "--simulator", simulator, "--max-episode-steps", str(limit), *SMALL, "--out", str(run)]
    assert main(words) == 0
    assert json.loads((run / "config.json").read_text())["settings"]["max_episode_steps"] == limit
    assert json.loads((run / "summary.json").read_text())["env_steps"] == 2 * limit
    assert nchl.evaluate(run, episodes=2)["length"] == limit
    assert nchl.load(run)[1].step_limit == limit
    scene = open_run(run)
    moments = sum(1 for _ in scene.watch(draw=lambda step: False))
    scene.close()
    assert moments in (limit, limit + 1)  # with the last one, after which nothing is done
    capsys.readouterr()


def test_worker_processes_keep_to_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    nchl.run("Pendulum-v1", run, hidden=(2,), population=2, generations=1, max_episode_steps=9, workers=1)
    assert json.loads((run / "summary.json").read_text())["env_steps"] == 18


def test_the_ant_of_pybullet_keeps_to_it(tmp_path: Path) -> None:
    pytest.importorskip("pybullet_envs_gymnasium")
    run = tmp_path / "run"
    nchl.run("AntBulletEnv-v0", run, hidden=(2,), population=2, generations=1, max_episode_steps=5)
    assert json.loads((run / "summary.json").read_text())["env_steps"] == 10


def test_a_limit_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidArgument, match="max_episode_steps must be at least 1, got 0"):
        EvolveConfig.create("CartPole-v1", max_episode_steps=0)
    assert main(["evolve", "CartPole-v1", "--max-episode-steps", "0"]) == 2
    assert "max_episode_steps must be at least 1, got 0" in capsys.readouterr().err


def test_the_note_names_the_option_that_sets_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evolve", "CliffWalking-v0", *SMALL, "--out"]
    assert main([*words, str(tmp_path / "with"), "--max-episode-steps", "30"]) == 0
    assert "sets no limit" not in capsys.readouterr().err
    assert nchl.tasks.make("CliffWalking-v0").notes[0].endswith("--max-episode-steps N sets another limit")


def test_a_record_from_before_the_option_is_one_without_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    nchl.run("CartPole-v1", run, hidden=(2,), population=2, generations=1)
    config = json.loads((run / "config.json").read_text())
    del config["settings"]["max_episode_steps"]
    (run / "config.json").write_text(json.dumps(config))
    assert RunFolder.open(run).read_record().settings.max_episode_steps is None
