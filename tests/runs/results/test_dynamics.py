"""`nchl evaluate --dynamics`: the verdict is on the same lifetimes that the evaluation plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")

import nchl
from nchl.cli import main
from nchl.rollout.dynamics import VERDICTS, of_path, plastic_weights
from nchl.rollout.episode import never
from nchl.runs.results.dynamics import lifetimes
from nchl.runs.results.scene import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dynamics") / "run"
    settings: dict[str, Any] = {"network": "hl", "hidden": (4,), "normalise": "max", "population": 30, "generations": 4}
    nchl.run("CartPole-v1", out=folder, simulator="gymnasium", max_episode_steps=100, **settings)
    return folder


def test_the_entry_of_an_evaluation(run: Path) -> None:
    plain = nchl.evaluate(run, episodes=5, seed=3)
    told = nchl.evaluate(run, episodes=5, seed=3, dynamics=True)
    found = told.pop("dynamics")
    assert told == plain
    assert found["verdict"] in (*VERDICTS, None)
    assert len(found["per_episode"]) == 3
    assert [each["steps"] for each in found["per_episode"]] == [int(r) for r in told["returns"][:3]]  # CartPole: a reward of 1 each step
    assert len(nchl.evaluate(run, episodes=2, dynamics=True)["dynamics"]["per_episode"]) == 2


def test_it_follows_the_weights_of_the_lifetime(run: Path) -> None:
    lives = lifetimes(run, episodes=2, seed=3)
    with open_run(run, 3, episode=1, draw=False) as scene:
        path = [plastic_weights(scene.network)]
        for _ in scene.watch(draw=never):
            path.append(plastic_weights(scene.network))
    own = of_path(path)
    assert own.summary() == lives[1].summary()
    np.testing.assert_array_equal(own.path, lives[1].path)
    assert own.changes > 0


def test_a_static_network_has_no_verdict_and_plays_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nchl.run("CartPole-v1", out=tmp_path / "run", network="static", hidden=(2,), population=4, generations=1)
    found = nchl.evaluate(tmp_path / "run", episodes=2, dynamics=True)["dynamics"]
    assert (found["verdict"], found["per_episode"]) == (None, [])
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2", "--dynamics"]) == 0
    assert "weights over a lifetime: no verdict: the network is static: its weights are constant" in capsys.readouterr().out


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(run), "--episodes", "2", "--dynamics"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["dynamics"]
    assert {"verdict", "number", "period", "late_share", "autocorrelation", "explained", "counts", "per_episode"} <= set(found)
    assert main(words) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("weights over a lifetime"))
    assert found["why"] in line
    assert f"{sum(found['explained']):.0%}" in line
