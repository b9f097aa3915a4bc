"""`nchl adapt`, and `--perturb` of the other verbs, as typed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    assert main([*words, "--window", "2"]) == 0
    shown = capsys.readouterr().out
    assert "reward per step in the 2 steps before the moment, the 2 after it" in shown
    assert "in which 2 steps reach 90 % of the twin's reward" in shown
    assert main([*words, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("group,perturbation,control,")
    large, small = tmp_path / "large.svg", tmp_path / "small.svg"
    assert main([*words, "--figure", str(large)]) == 0
    assert main([*words, "--figure", str(small), "--figure-width", "5.5"]) == 0
    assert ['width="864pt"' in file.read_text() for file in (large, small)] == [True, False]
    assert 'width="396pt"' in small.read_text()


def test_a_mistake_is_two_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(folder), "--perturb", "motor:0=0"]) == 2
    error = capsys.readouterr().err
    assert "takes choices" in error
    assert "Traceback" not in error
    assert main(["adapt", str(folder), "--perturb", "sensor:0=0", "--figure-width", "3"]) == 2
    assert "--figure-width only applies to --figure; add it" in capsys.readouterr().err
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
    assert json.loads(capsys.readouterr().out)["returns"] == told["returns"], "the film shows the evaluated episode"


def test_the_report_shows_the_study(folder: Path, tmp_path: Path) -> None:
    assert main(["adapt", str(folder), "--perturb", "lesion:weights=0.5@2", "--perturb", "sensor:*=0@3", "--episodes", "4"]) == 0
    write(folder, tmp_path / "page.html", episodes=0, film=False, microscope=False)
    page = (tmp_path / "page.html").read_text()
    assert 'href="#adaptation"' in page
    assert 'id="adaptation"' in page
    assert page.count("adaptation-0-reward-") > 1
    assert "perturbed (step 2)" in page


ADAPT = ["--perturb", "lesion:weights=1@5", "--perturb", "sensor:*=0@3", "--perturb", "shuffle:weights@5"]
# In front of a program: the figure is never finished.
ENDLESS_FIGURE = """
import time
from nchl.report.plots import adaptation
def save(kept, path):
    print("under way", flush=True)
    time.sleep(600)
adaptation.save = save
"""


Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts `nchl adapt` in a process of its own, after what is to be done `before`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, before: str = "") -> subprocess.Popen[str]:
        program = f"{before}\nimport sys\nfrom nchl.cli import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, "adapt", *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_study_that_is_killed_leaves_nothing_and_can_be_made_again(folder: Path, tmp_path: Path, begin: Begin) -> None:
    psutil = pytest.importorskip("psutil")
    run_folder, out = shutil.copytree(folder, tmp_path / "run"), tmp_path / "out"
    before = sorted(run_folder.iterdir())
    words = [str(run_folder), *ADAPT, "--workers", "3", "--out", str(out), "--json", "--episodes"]
    process = begin(*words, "100000")
    playing: list[Any] = []
    while sum(child.cpu_times().user > 2 for child in playing) < 3:  # by then they have imported torch and play
        assert process.poll() is None
        time.sleep(0.2)
        playing = psutil.Process(process.pid).children()
    killed(process)
    _, alive = psutil.wait_procs(playing, timeout=30)
    assert not alive, "processes that play end with the one that has started them"
    assert sorted(run_folder.iterdir()) == before
    assert not out.exists()
    again = begin(*words, "6")
    told, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert main([*("adapt", str(folder)), *ADAPT, "--episodes", "6", "--out", str(tmp_path / "whole")]) == 0
    assert (out / "adaptation.csv").read_bytes() == (tmp_path / "whole" / "adaptation.csv").read_bytes()
    kept = json.loads((run_folder / "adaptation-perturb.json").read_text())
    assert [row["mean"] for row in kept["rows"]] == [row["mean"] for row in json.loads(told)["rows"]]


@pytest.mark.slow
def test_a_study_that_is_killed_while_it_is_written_leaves_no_mixture(folder: Path, tmp_path: Path, begin: Begin) -> None:
    words = [str(folder), *ADAPT, "--out", str(tmp_path), "--episodes"]
    assert main(["adapt", *words, "4"]) == 0
    (tmp_path / "notes.txt").write_text("the user's own")
    process = begin(*words, "5", before=ENDLESS_FIGURE)
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    killed(process)
    names = ["adaptation.csv", "adaptation.json", "adaptation.md", "adaptation.txt", "notes.txt"]
    assert sorted(each.name for each in tmp_path.iterdir()) == names, "the figure was of the earlier study"
    assert json.loads((tmp_path / "adaptation.json").read_text())["episodes"] == 5
    assert main(["adapt", *words, "5"]) == 0
    assert (tmp_path / "adaptation.png").is_file()
