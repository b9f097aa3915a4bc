"""`NCHL_DOCS_BUDGET=small` cuts what takes long, says so, and leaves everything alone where it is not set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nchl
from nchl.cli import main, reference
from nchl.errors import InvalidArgument
from nchl.runs.settings import docs_budget
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.sweep.grid import read_sweep

LARGE = {"generations": 50, "population": 64, "episodes": 3, "validation_episodes": 5, "workers": 6}


def test_without_the_variable_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(docs_budget.VARIABLE, raising=False)
    config = EvolveConfig.create("CartPole-v1", **LARGE)
    assert {name: getattr(config, name) for name in LARGE} == LARGE
    assert docs_budget.at_most("unseen episodes", 100) == 100
    assert docs_budget.notice() is None


def test_a_configuration_is_cut_whatever_named_its_budgets_and_python_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(docs_budget.VARIABLE, "small")
    for given in (LARGE, {}, {"preset": "cartpole"}):  # options, defaults, a preset's own
        with pytest.warns(docs_budget.BudgetCut, match=r"2 generations.*this is no real run"):
            config = EvolveConfig.create("CartPole-v1", **given)
        assert (config.generations, config.population) == (2, 8)
    with pytest.warns(docs_budget.BudgetCut):
        config = EvolveConfig.create("CartPole-v1", **LARGE)
    assert (config.episodes, config.validation_episodes, config.workers, config.max_episode_steps) == (2, 2, 2, 120)
    assert EvolveConfig.create("CartPole-v1", generations=1, population=4, max_episode_steps=50).population == 4  # small enough: no warning
    assert EvolveConfig.from_json(EvolveConfig("CartPole-v1").to_json()).generations == 100  # a record says what it said


def test_sweeps_have_fewer_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / "study.yaml"
    file.write_text("task: CartPole-v1\ngenerations: 1\npopulation: 4\ngrid: {network: [nchl, hl]}\nseeds: [11, 12, 13]\n")
    assert len(read_sweep(file)) == 6
    monkeypatch.setenv(docs_budget.VARIABLE, "small")
    with pytest.warns(docs_budget.BudgetCut):
        assert {cell.config.seed for cell in read_sweep(file)} == {11, 12}


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(docs_budget.VARIABLE, "tiny")
    with pytest.raises(InvalidArgument, match=r"NCHL_DOCS_BUDGET=small.*'tiny'"):
        EvolveConfig.create("CartPole-v1")
    assert main(["presets"]) == 2
    assert "unset NCHL_DOCS_BUDGET" in capsys.readouterr().err


def test_the_page_of_the_command_line_names_every_limit() -> None:
    page = reference.page()
    assert f"{docs_budget.VARIABLE}=small" in page
    assert all(f"{most} {name.replace('_', ' ')}" in page for name, most in docs_budget.MOST.items())


def test_every_command_says_that_it_is_cut_and_the_record_holds_what_was_played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(docs_budget.VARIABLE, "small")
    words = ["evolve", "CartPole-v1", "--hidden", "4", "--simulator", "gymnasium", "--generations", "30", "--out", "runs/cut"]
    # Python is told to hide warnings: the line must be there all the same.
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import sys; from nchl.cli import main; sys.exit(main(sys.argv[1:]))", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(nchl.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr.startswith("nchl: NCHL_DOCS_BUDGET=small: budgets are cut")
    assert json.loads((tmp_path / "runs/cut/config.json").read_text())["settings"]["generations"] == 2
    with pytest.warns(docs_budget.BudgetCut):
        assert nchl.evaluate(tmp_path / "runs/cut", episodes=50)["episodes"] == 4
