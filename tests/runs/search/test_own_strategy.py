"""`--strategy FILE.py:NAME`: run from the run's own copy, resumed with the same bits, and refused where it would go wrong later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument
from nchl.runs.session.resume import resume

pytest.importorskip("envpool")
SMALL: dict[str, Any] = {"hidden": [4], "population": 6, "max_episode_steps": 40}
OWN = """
import numpy as np
from helper import RATE
from nchl import seeds
from nchl.strategies import Strategy

class Mine(Strategy):
    def __init__(self, size, population, seed, *, centre="normal", sigma=0.1, lr=0.5):
        super().__init__(size, population, seed, centre=centre, sigma=sigma)
        self.lr = lr
        self.moved = np.zeros(size)

    @property
    def settings(self):
        return {"sigma": self.sigma, "lr": self.lr}

    def noise(self):
        return seeds.generator(self.seed, seeds.Purpose.NOISE, self.generation).standard_normal((self.population, self.size))

    def _ask(self):
        return self.centre + self.sigma * self.noise()

    def _tell(self, population, scores):
        self.moved = RATE * self.moved + self.noise()[np.argmax(scores)]
        self.centre = self.centre + self.lr * self.sigma * self.moved

    def _state(self):
        return {"moved": self.moved}

    def _restore(self, state):
        self.moved = state["moved"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("RATE = 0.5\n")
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.mark.slow
def test_it_is_run_from_the_copy_and_resumed_with_the_same_bits(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**SMALL, "strategy": f"{file}:Mine", "lr": 0.25}
    whole = nchl.run("CartPole-v1", **given, generations=4, out=tmp_path / "whole").folder
    run = nchl.run("CartPole-v1", **given, generations=2, workers=2, out=tmp_path / "run").folder
    assert sorted(path.name for path in (run / "code").iterdir()) == ["helper.py", "mine.py"]
    (tmp_path / "helper.py").write_text("RATE = 99.0\n")
    file.unlink()
    resume(run, generations=4, workers=1)
    assert (run / "centre.safetensors").read_bytes() == (whole / "centre.safetensors").read_bytes()
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert main(["compare", str(run), str(whole)]) == 0
    shown = capsys.readouterr().out
    assert "Mine" in shown


CENTRE = "        self.centre = self.centre + self.lr * self.sigma * self.moved\n"
ASK = "        return self.centre + self.sigma * self.noise()\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (ASK, "        return self.noise()[:, 1:]\n", "expected 6 individuals of 44 numbers from _ask; got 6 of 43"),
        (ASK, "        return self.noise()[1:]\n", "got 5 of 44"),
        (ASK, "        return self.noise()[0]\n", "expected a matrix of numbers from _ask"),
        (ASK, "        return self.noise() * np.nan\n", "row 0 of the array from _ask is not finite"),
        (ASK, "        return list(self.noise())\n", "expected a population from _ask, or an array (6, 44); got list"),
        (ASK, "        return np.random.default_rng().normal(size=(6, self.size))\n", "nchl.seeds.generator"),
        (CENTRE, "        self.centre += self.moved\n        self.centre[:] = 0\n", "make a new one"),
        (CENTRE, "        scores[0] = 1\n", "make a new one"),
        (CENTRE, "        self.centre = self.moved[1:]\n", "the centre must have shape (44,); got (43,)"),
        (CENTRE, "        raise KeyError('oh')\n", "failed in _tell (KeyError: 'oh')"),
        ('return {"moved": self.moved}', "return {}", "failed in _restore (KeyError: 'moved')"),
        ('        self.moved = state["moved"]', "        pass", "a run could not be resumed"),
        ('return {"moved": self.moved}', 'return {"moved": ["a"]}', "must hold numbers"),
        ('return {"moved": self.moved}', 'return {"centre": self.moved}', "with names other than centre"),
        ("lr=0.5", "rate=0.5", "lr"),
        ("(Strategy)", "", "failed when it was made"),
        ("super().__init__(size,", "super().__init__(size + 1,", "got one for 6 of 45"),
    ],
)
def test_a_strategy_that_would_fail_later_is_refused_at_once(
    file: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in OWN
    file.write_text(OWN.replace(old, new))
    text = ["--hidden", "4", "--population", "6", "--generations", "1", "--lr", "0.5", "--out", str(file.parent / "run")]
    assert main(["evolve", "CartPole-v1", *text, "--strategy", f"{file}:Mine"]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert not (file.parent / "run").exists()


def test_a_population_that_is_written_into_is_found(file: Path) -> None:
    text = OWN.replace(ASK, "        self.kept = self.centre + self.sigma * self.noise()\n        return MatrixPopulation(self.kept)\n")
    file.write_text(
        text.replace("import Strategy", "import MatrixPopulation, Strategy").replace(CENTRE, CENTRE + "        self.kept[:] = 1\n")
    )
    with pytest.raises(InvalidArgument, match="_tell has changed the population that _ask had returned"):
        nchl.evolution("CartPole-v1", **SMALL, strategy=f"{file}:Mine")


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no file"):
        nchl.evolution("CartPole-v1", **SMALL, strategy=f"{tmp_path}/none.py:Mine")
    with pytest.raises(InvalidArgument, match=r"unknown strategy 'mine:Mine'.*FILE\.py:NAME"):
        nchl.evolution("CartPole-v1", **SMALL, strategy="mine:Mine")


def test_a_class_without_an_init_is_told_what_to_write(tmp_path: Path) -> None:
    begin, ends = OWN.index("    def __init__"), OWN.index("    def noise")
    (tmp_path / "helper.py").write_text("RATE = 0.5\n")
    (tmp_path / "mine.py").write_text(OWN[:begin] + OWN[ends:])
    with pytest.raises(InvalidArgument, match=r"has no __init__ of its own, write one") as caught:
        nchl.run("CartPole-v1", strategy=f"{tmp_path / 'mine.py'}:Mine", out=tmp_path / "run", generations=1, **SMALL)
    shown = str(caught.value).partition("as in:\n")[2]
    assert '    def __init__(self, size, population, seed, *, centre="normal", sigma=0.1):' in shown
    # With these lines in it, the class runs.
    body = OWN[:begin] + shown + OWN[ends : OWN.index("    def _tell")] + "    def _tell(self, population, scores):\n        pass\n"
    (tmp_path / "mine.py").write_text(body)
    done = nchl.run("CartPole-v1", strategy=f"{tmp_path / 'mine.py'}:Mine", out=tmp_path / "run", generations=1, **SMALL)
    assert done.generations == 1
