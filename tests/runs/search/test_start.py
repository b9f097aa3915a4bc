"""Where a search begins at the genome of another run: the options that make it act otherwise are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("envpool")

from nchl.runs.search.evolution import evolution
from nchl.runs.search.start import notes_on_start
from nchl.runs.session.run import run
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.code_copy import collect
from reference.runs import SMALL

RULE = "def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a rule of its own."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "mine.py").write_text(RULE)
    run("CartPole-v1", folder / "run", **{**SMALL, "generations": 1, "rule": f"{folder / 'mine.py'}:oja"})
    return folder / "run"


def notes(start: Path | str, task: str = "CartPole-v1", **given: Any) -> list[str]:
    config = EvolveConfig.create(task, initial_genome=str(start), **given)
    return notes_on_start(config, collect(config))


def test_options_that_change_what_the_genome_does_are_named(begun: Path) -> None:
    same = {"hidden": (4,), "rule": f"{begun.parent / 'mine.py'}:oja"}
    assert notes("normal", normalise="max") == []
    assert notes(begun, **same, seed=9, lr=0.1, strategy="pgpe", perturb=["sensor:0=0"], episodes=2) == []
    expected = [
        f"the initial genome {begun} was evolved with {there}, and this run has {here}: it may act otherwise here. To have the former, {do}"
        for there, here, do in (
            ("the task CartPole-v1", "the task CartPole-v0", "write CartPole-v1"),
            ("--no-normalise-observations", "--normalise-observations", "write --no-normalise-observations"),
            ("no --wrap", "--wrap package:Wrapper", "leave out --wrap"),
            ("--normalise none", "--normalise max", "write --normalise none"),
            ("--every 1", "--every 2", "write --every 1"),
        )
    ]
    other = {"normalise": "max", "normalise_observations": True, "wrap": ["package:Wrapper"], "every": 2}
    assert sorted(notes(begun, "CartPole-v0", **same, **other)) == sorted(expected)
    (line,) = notes(begun, hidden=(4,))
    assert f"evolved with --rule {same['rule']}, and this run has no --rule" in line
    # Options that only one of two networks has are not compared.
    (line,) = notes(begun, hidden=(4,), network="static")
    assert "--network nchl, and this run has --network static" in line


def test_a_search_without_a_run_folder_logs_the_note(begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"hidden": (4,), "rule": f"{begun.parent / 'mine.py'}:oja", "normalise": "max"}
    evolution("CartPole-v1", initial_genome=str(begun), population=4, **options).workers.close()
    (line,) = (record.getMessage() for record in caplog.records if record.name == "nchl" and "initial genome" in record.getMessage())
    assert line in notes(begun, **options)


def test_an_individual_of_the_zoo_is_compared_too() -> None:
    assert notes("zoo:halfcheetah-nchl", "HalfCheetah-v5", normalise="max") == []
    (line,) = notes("zoo:halfcheetah-nchl", "HalfCheetah-v5")
    assert "zoo:halfcheetah-nchl was evolved with --normalise max, and this run has --normalise none" in line
    assert line.endswith("write --normalise max")


def test_a_rule_is_compared_by_its_text_wherever_it_lies(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RULE)
    rule = {"hidden": (4,), "rule": f"{tmp_path / 'mine.py'}:oja"}
    assert notes(begun, **rule) == []
    (tmp_path / "mine.py").write_text(RULE + "\n# another\n")
    (line,) = notes(begun, **rule)
    assert "mine.py has changed since the initial genome" in line
    assert str(begun / "code") in line
