"""`reproduce/task.py SEED`: the paper's own command is the preset, and says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from nchl.runs.settings.config import EvolveConfig

SCRIPT = Path(__file__).resolve().parents[2] / "reproduce" / "task.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce_task", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_prints_the_same_nchl_command(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(script, "main", lambda words: called.append(words) or 0)
    assert script.task(["7", "--generations", "2"]) == 0
    assert called == [["evolve", "--preset", "paper-ant-bullet", "--seed", "7", "--generations", "2"]]
    assert "nchl evolve --preset paper-ant-bullet --seed 7 --generations 2" in capsys.readouterr().err
    assert script.task([]) == 0
    assert "SEED" in capsys.readouterr().out


def test_the_preset_has_the_papers_settings() -> None:
    config = EvolveConfig.create(preset="paper-ant-bullet", seed=7)
    assert (config.task, config.network, config.hidden, config.strategy) == ("AntBulletEnv-v0", "nchl", (128, 64), "openai-es")
    assert (config.population, config.sigma, config.sigma_decay, config.lr_decay, config.antithetic) == (100, 0.1, 0.999, 0.995, True)
    # The published code takes steps of sigma times its lr of 0.2.
    assert config.lr == pytest.approx(0.1 * 0.2)


@pytest.mark.parametrize("words", [["x"], ["-1"]])
def test_a_wrong_seed(words: list[str], script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.task(words) == 2
    assert "Traceback" not in capsys.readouterr().err
