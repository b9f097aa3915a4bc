"""One list of strategies: a row of it is enough for the configuration, the command line, its help, a run and its resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument
from nchl.evolve import Evolution
from nchl.runs.files.tensors import read_tensors
from nchl.runs.settings.config import EvolveConfig, options
from nchl.strategies import GaussianPopulation, Strategy
from nchl.strategies.registry import LR, STRATEGIES, Setting, all_settings

pytest.importorskip("envpool")

# As docs/strategies.md describes: a file with the class, and a row in the list. The row is added before the configuration is imported.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from nchl.strategies import registry
registry.STRATEGIES["random-search"] = registry.Entry(
    "random_search:RandomSearch",
    (registry.SIGMA, registry.Setting("patience", "int", 3, "generations without a better one", "N", least=1)),
)
from nchl.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
STRATEGY = """
from nchl.strategies import GaussianPopulation, Strategy

class RandomSearch(Strategy):
    name = "random-search"

    def __init__(self, size, population, seed, *, centre="normal", sigma=0.1, patience=3):
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        self.patience = patience

    @property
    def settings(self):
        return {"sigma": self.sigma, "patience": self.patience}

    def _ask(self):
        return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, self.generation)

    def _tell(self, population, scores):
        assert self.patience == 5
        self.centre = self.best
"""


@pytest.mark.slow
def test_a_row_is_enough_to_add_a_strategy(tmp_path: Path) -> None:
    (tmp_path / "random_search.py").write_text(STRATEGY)

    def nchl(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path), *words], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
        )

    shown = nchl("evolve", "--help").stdout
    assert "random-search" in shown
    assert "--patience N" in shown
    words = ["CartPole-v1", "--hidden", "2", "--population", "4", "--generations", "1"]
    run = tmp_path / "run"
    done = nchl("evolve", *words, "--strategy", "random-search", "--patience", "5", "--out", str(run))
    assert done.returncode == 0, done.stderr
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert (settings["strategy"], settings["patience"], settings["lr"], settings["mu"]) == ("random-search", 5, None, None)
    done = nchl("resume", str(run), "--generations", "2")
    assert done.returncode == 0, done.stderr
    refused = nchl("evolve", *words, "--patience", "5")
    assert refused.returncode == 2
    assert "--patience does not apply to the strategy openai-es; it only applies to random-search" in refused.stderr


def test_every_setting_of_every_strategy_is_an_option() -> None:
    by_name = {each.name: each for each in options()}
    for name, entry in STRATEGIES.items():
        for setting in entry.settings:
            assert by_name[setting.name].applies("nchl", name)
            assert by_name[setting.name].kind == setting.kind
    assert all(name in by_name["strategy"].help for name in STRATEGIES)
    for versions in all_settings().values():
        assert len({(each.kind, each.metavar) for each in versions.values()}) == 1


@pytest.mark.parametrize("mu", [1, 3])
def test_the_parents_of_elite_are_set_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], mu: int) -> None:
    run = tmp_path / "run"
    words = ["evolve", "CartPole-v1", "--hidden", "2", "--population", "6", "--generations", "1", "--strategy", "elite"]
    assert main([*words, "--mu", str(mu), "--out", str(run)]) == 0
    capsys.readouterr()
    best, centre = (read_tensors(run / f"{which}.safetensors")[0]["genome"] for which in ("best", "centre"))
    # The mean of one parent is that parent; of three, none of them.
    assert np.array_equal(best, centre) == (mu == 1)


def test_parents_without_a_meaning_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in [
        (["--mu", "3"], "--mu does not apply to the strategy openai-es; it only applies to elite"),
        (["--strategy", "elite", "--mu", "0"], "mu must be at least 1, got 0"),
        (["--strategy", "elite", "--mu", "9", "--population", "8"], "mu must be at most the population of 8, got 9"),
    ]:
        assert main(["evolve", "CartPole-v1", *words]) == 2
        assert message in capsys.readouterr().err


def test_strategies_may_differ_in_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The field itself is made when the module is imported; the default is read from the strategy's row."""
    row = STRATEGIES["elite"]
    monkeypatch.setitem(STRATEGIES, "elite", replace(row, settings=tuple(replace(each, default=0.5) for each in row.settings[:2])))
    assert EvolveConfig.create("CartPole-v1", strategy="elite").sigma_decay == 0.5
    assert EvolveConfig.create("CartPole-v1").sigma_decay == 0.999


def test_ranges_are_told() -> None:
    with pytest.raises(InvalidArgument, match=r"lr must be greater than 0, got -1"):
        LR.check(-1)
    with pytest.raises(InvalidArgument, match=r"x must be at most 2, got 3"):
        Setting("x", "int", 1, "", most=2).check(3)


def test_the_configuration_waits_for_nothing_heavy() -> None:
    program = "import sys, nchl.runs.settings.config; print({'numpy', 'torch', 'nchl.strategies.base'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"


class Own(Strategy):
    """In no list."""

    name = "own"

    def __init__(self, size: int, population: int, seed: int) -> None:
        super().__init__(size, population, seed, centre="normal", sigma=0.2)

    @property
    def settings(self) -> dict[str, float]:
        return {"sigma": 0.2}

    def _ask(self) -> GaussianPopulation:
        return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, self.generation)

    def _tell(self, population: object, scores: object) -> None:
        self.centre = self.best


def test_an_object_that_is_in_no_list_evolves_too() -> None:
    given = nchl.evolution("CartPole-v1", hidden=[2], population=4, generations=2)
    search = Evolution(Own(given.workers.nparams, 4, 0), given.workers, given.limits)
    assert [generation.generation for generation in search] == [1, 2]
    assert search.best is not None
