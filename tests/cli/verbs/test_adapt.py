"""`nchl adapt`, and `--perturb` of the other verbs, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nchl.cli import main
from nchl.report.page import write
from nchl.runs.session.run import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapt") / "first"
    run("CartPole-v1", path, hidden=[4], population=16, generations=3, seed=0)
    return path


def test_text_json_and_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapt", str(folder), "--perturb", "lesion:weights=1@5", "--episodes", "6"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "frozen" in shown
    assert f"written: {tmp_path / 'out' / 'adaptation.json'}" in shown
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told)[:6] == ["suite", "source", "task", "episodes", "seed", "which"]
    assert [row["control"] for row in told["rows"]] == ["as evolved", "plasticity off", "frozen"]
    assert main([*words, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("group,perturbation,control,")


def test_a_mistake_is_two_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(folder), "--perturb", "motor:0=0"]) == 2
    error = capsys.readouterr().err
    assert "takes choices" in error
    assert "Traceback" not in error
    assert main(["evaluate", str(folder), "--perturb", "sensr:0=0"]) == 2
    assert "did you mean 'sensor'" in capsys.readouterr().err


def test_evaluate_under_a_perturbation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def mean(*words: str) -> float:
        assert main(["evaluate", str(folder), "--episodes", "6", "--json", *words]) == 0
        return float(json.loads(capsys.readouterr().out)["mean"])

    intact, hurt = mean(), mean("--perturb", "lesion:neurons=1@3", "--perturb", "sensor:*=0@3")
    assert mean("--perturb", "none") == intact
    assert hurt != intact
    assert main(["evaluate", str(folder), "--episodes", "6", "--perturb", "sensor:0=0@3"]) == 0
    assert "perturbed: sensor:0=0@3" in capsys.readouterr().out


@pytest.mark.slow
def test_a_film_marks_the_moment_and_freezes_at_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.mp4"
    words = ["--perturb", "lesion:weights=1@4", "--controls", "--width", "120", "--out", str(film), "--json"]
    assert main(["film", str(folder), *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert film.is_file()
    assert told["frozen"]["after_steps"] == [4]
    assert main(["evaluate", str(folder), "--episodes", "1", "--perturb", "lesion:weights=1@4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["returns"] == told["returns"], "what is filmed is what is evaluated"


def test_the_report_shows_the_study(folder: Path, tmp_path: Path) -> None:
    assert main(["adapt", str(folder), "--perturb", "lesion:weights=0.5@2", "--perturb", "sensor:*=0@3", "--episodes", "4"]) == 0
    write(folder, tmp_path / "page.html", episodes=0, film=False, microscope=False)
    page = (tmp_path / "page.html").read_text()
    assert 'href="#adaptation"' in page
    assert 'id="adaptation"' in page
    assert page.count("adaptation-reward-") > 1
    assert "perturbed (step 2)" in page
