"""The thesis's line for CarRacing is a line of `nchl evolve`, and its checkpoint a run of `nchl resume`."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from nchl.runs.settings.config import EvolveConfig

LINE = "--dataset CarRacing --population_size 300 --epochs 200 --device cpu --saving_path params/min/ --aggregation_function min"


def test_the_line_as_written(
    script: ModuleType, called: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # given back afterwards
    pinned: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *about: pinned.append(about), raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 2, 3, 5, 7, 8}, raising=False)
    assert script.run_exp([*LINE.split(), "--num_threads", "4"]) == 0
    (words,) = called
    assert words[:-1] == [
        "evolve",
        "--preset",
        "thesis-carracing-min",
        "--population",
        "300",
        "--generations",
        "200",
        "--device",
        "cpu",
        "--out",
    ]
    assert Path(words[-1]).parent == Path("params/min")
    said = capsys.readouterr().err
    assert "nchl evolve --preset thesis-carracing-min" in said
    assert "OMP_NUM_THREADS=4" in said
    assert pinned == [(0, [2, 3, 5, 7])]  # the simulator is limited too


def test_rates_and_the_mean(script: ModuleType, called: list[list[str]]) -> None:
    words = [
        "--dataset",
        "CarRacing",
        "--aggregation_function",
        "mean",
        "--sigma",
        "0.2",
        "--abcd_learning_rate",
        "0.1",
        "--abcd_lr_decay",
        "0.9",
    ]
    assert script.run_exp(words) == 0
    assert called[0][1:-2] == [
        "--preset",
        "thesis-carracing-max",
        "--sharing",
        "mean",
        "--sigma",
        "0.2",
        "--lr",
        "0.1",
        "--lr-decay",
        "0.9",
    ]


def test_a_checkpoint_names_its_run(
    script: ModuleType, called: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a run_of mine"
    files = [run / "checkpoints" / f"generation-{k:06}.safetensors" for k in (10, 20)]
    files[0].parent.mkdir(parents=True)
    for file in files:
        file.touch()
    assert script.run_exp(["--resume_file", str(files[1])]) == 0
    assert script.run_exp([*LINE.split(), "--resume_file", str(files[1])]) == 0
    assert called == [["resume", str(run)], ["resume", str(run), "--generations", "200"]]
    assert "--population_size" in capsys.readouterr().err
    assert script.run_exp(["--resume_file", str(files[0])]) == 2
    assert script.run_exp(["--resume_file", str(tmp_path / "none")]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert script.run_exp([*LINE.split(), "--num_threads", "-4"]) == 2
    assert "--num_threads: expected a whole number of at least 1, got '-4'" in capsys.readouterr().err


@pytest.mark.parametrize("sharing", ["max", "min", "median"])
def test_the_presets_have_the_thesis_settings(sharing: str) -> None:
    config = EvolveConfig.create(preset=f"thesis-carracing-{sharing}")
    assert (config.task, config.network, config.image_size, config.sharing, config.termwise) == (
        "CarRacing-v3",
        "conv-thesis",
        (64, 64),
        sharing,
        True,
    )
    assert (config.population, config.generations, config.antithetic, config.normalise) == (300, 200, False, "max")


def test_the_preset_of_najarro_and_risi() -> None:
    config = EvolveConfig.create(preset="hml-carracing")
    assert (config.network, config.image_size, config.population, config.antithetic) == ("conv-hml", (84, 84), 200, True)
