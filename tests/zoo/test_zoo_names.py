"""`zoo:NAME` in place of a run folder: in Python, for each command, and what is refused. Nothing is written into the package."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium")

import nchl
from nchl import zoo
from nchl.cli import main
from nchl.errors import RunError, UnknownName, install_command
from nchl.runs.files.tensors import read_tensors
from nchl.runs.store.folder import RunFolder
from nchl.zoo import index as package

NAME, PACKAGE = "cartpole-nchl", package.ROOT


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of its own; the package is as before after each test."""
    before = changed(PACKAGE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert changed(PACKAGE) == before


def changed(folder: Path) -> dict[Path, int]:
    """When each file was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in (*path.parts, path.name)}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the zoo that may be damaged."""
    place = tmp_path / "installed"
    shutil.copytree(package.ROOT, place, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(package, "ROOT", place)
    return place


def test_zoo_lists_the_individuals_and_shows_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name} " in shown for name in zoo.cards())
    assert main(["zoo", NAME]) == 0
    shown = capsys.readouterr().out
    assert zoo.card(NAME).command in shown
    assert zoo.card(NAME).commit in shown
    assert main(["zoo", f"zoo:{NAME}", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)[NAME]
    assert (card["nparams"], card["score"]["episodes"]) == (74, 100)
    assert main(["zoo", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(zoo.cards())


@pytest.mark.parametrize("words", [["zoo", "cartpole-nhcl"], ["film", "zoo:cartpole-nhcl"], ["describe", "zoo:cartpole-nhcl"]])
def test_a_misspelt_name_gets_the_nearest(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "did you mean 'cartpole-nchl'?" in capsys.readouterr().err


def test_names_of_python() -> None:
    with pytest.raises(UnknownName, match="known are "):
        nchl.load("zoo:")
    assert zoo.name_of(Path("zoo:a")) == "a"
    assert zoo.name_of("./zoo:a") is None
    agent, task = nchl.load(f"zoo:{NAME}")
    assert task.id == "CartPole-v1"
    assert agent.act([0.0, 0.1, 0.0, -0.1]) in (0, 1)


@pytest.mark.parametrize("file", ["best.safetensors", "config.json", "metrics.csv"])
def test_an_altered_file_is_an_error_that_names_checksums(file: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "individuals" / NAME / file
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(
        RunError, match=rf"checksum \(SHA-256\) of .*{file} is [0-9a-f]{{12}}\.\.\., .* states {zoo.card(NAME).files[file][:12]}"
    ):
        nchl.load(f"zoo:{NAME}")
    assert main(["evaluate", f"zoo:{NAME}", "--episodes", "2"]) == 2
    assert "checksum" in capsys.readouterr().err
    path.unlink()
    with pytest.raises(RunError, match="install nchl again"):
        nchl.load(f"zoo:{NAME}")


@pytest.mark.parametrize("text", ["", "[]", '{"a": {"score": {}}}', '{"a": 1}'])
def test_a_damaged_index_is_an_error(text: str, copy: Path) -> None:
    (copy / "index.json").write_text(text)
    with pytest.raises(RunError, match=r"index of the zoo, .* is damaged"):
        zoo.cards()


def test_resume_is_refused_with_the_command_that_begins_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", f"zoo:{NAME}", "--generations", "100"]) == 2
    said = capsys.readouterr().err
    assert "nchl evolve CartPole-v1 --hidden 10" in said
    assert f"--initial-genome zoo:{NAME}" in said


def test_there_is_no_centre(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"zoo:{NAME}", "--which", "centre"]) == 2
    assert "leave out --which centre" in capsys.readouterr().err


def test_a_search_begins_with_the_individual_wherever_it_is_started(working: Path) -> None:
    options = {"hidden": (10,), "population": 4, "generations": 1, "sigma": 1e-6, "lr": 1e-6, "max_episode_steps": 20}
    result = nchl.run("CartPole-v1", out="run", initial_genome=f"zoo:{NAME}", **options)
    assert RunFolder.open(result.folder).read_record().settings.initial_genome == f"zoo:{NAME}"
    individual = read_tensors(zoo.checked_folder(NAME) / "best.safetensors")[0]["genome"]
    np.testing.assert_allclose(read_tensors(working / "run" / "centre.safetensors")[0]["genome"], individual, atol=1e-4)
    assert nchl.resume("run", generations=2).generations == 2


def test_a_sweep_names_it_too(working: Path) -> None:
    pytest.importorskip("yaml")
    from nchl.runs.sweep.grid import read_sweep

    (working / "sweep.yaml").write_text(f"task: CartPole-v1\nhidden: [10]\ninitial_genome: zoo:{NAME}\nseeds: 2\n")
    assert [cell.config.initial_genome for cell in read_sweep(working / "sweep.yaml")] == [f"zoo:{NAME}"] * 2


def test_describe_and_compare(capsys: pytest.CaptureFixture[str], working: Path) -> None:
    pytest.importorskip("scipy")
    assert main(["describe", f"zoo:{NAME}"]) == 0
    assert "74 numbers in the genome" in capsys.readouterr().out
    nchl.run("CartPole-v1", out="run", hidden=(4,), population=4, generations=1, max_episode_steps=20)
    assert main(["compare", f"zoo:{NAME}", f"zoo:{NAME}", "run", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert len(groups) == 2
    assert main(["compare", f"zoo:{NAME}", "--evaluate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["iqm"]["value"] == 500.0
    assert main(["compare", f"zoo:{NAME}", "--evaluate", "--episodes", "3"]) == 2
    assert "cannot keep another" in capsys.readouterr().err


def test_adapt_keeps_nothing_but_what_out_asks_for(capsys: pytest.CaptureFixture[str], working: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ["adapt", f"zoo:{NAME}", "--perturb", "lesion:weights=1@20", "--episodes", "3"]
    assert main([*words, "--out", "study"]) == 0
    assert "nothing is written into the zoo" in capsys.readouterr().err
    assert json.loads((working / "study" / "adaptation.json").read_text())["runs"] == {"nchl": [f"zoo:{NAME}"]}


def test_the_report_shows_a_study_that_lies_elsewhere(capsys: pytest.CaptureFixture[str], working: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    assert main(["adapt", f"zoo:{NAME}", "--perturb", "lesion:weights=1@20", "--episodes", "2", "--out", "study"]) == 0
    words = ["report", "--episodes", "0", "--no-film", "--no-microscope", "--adaptation"]
    assert main([*words, "study", f"zoo:{NAME}"]) == 0
    assert "reward around the perturbation lesion:weights=1@20" in (working / f"{NAME}-report.html").read_text()
    capsys.readouterr()
    assert main([*words, "study", "zoo:cartpole-lesions"]) == 2
    assert "is not of the individual that zoo:cartpole-lesions has now" in capsys.readouterr().err
    assert main([*words, "nowhere", f"zoo:{NAME}"]) == 2
    assert f"nowhere has no adaptation.json; give the folder that `nchl adapt zoo:{NAME} --out DIR`" in capsys.readouterr().err
    assert main([*words, "study", f"zoo:{NAME}", "--rule", "mine.py:mine", "--out", "page.html"]) == 2
    assert "leave out --adaptation, or --rule" in capsys.readouterr().err
    assert not (working / "page.html").exists()


def test_the_film_is_written_to_the_working_directory(working: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("imageio_ffmpeg")
    assert main(["film", f"zoo:{NAME}", "--width", "64", "--fps", "5", "--seconds", "1", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["film"] == f"{NAME}-film-seconds-1.mp4"
    assert about["returns"] == [500.0]
    assert [path.name for path in working.iterdir()] == [f"{NAME}-film-seconds-1.mp4"]
    assert (
        main(["film", f"zoo:{NAME}", "--perturb", "motor:*=0", "--width", "64", "--seconds", "1"]) == 2
    )  # actions of CartPole are no numbers
    assert RunFolder.open(f"zoo:{NAME}").output("film-controls.mp4") == Path(f"{NAME}-film-controls.mp4")


def test_a_film_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "imageio", None)
    assert main(["film", f"zoo:{NAME}"]) == 2
    assert install_command("report") in capsys.readouterr().err


def test_the_report_is_written_to_the_working_directory(working: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    assert main(["report", f"zoo:{NAME}", "--episodes", "2", "--no-film", "--no-microscope", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == f"{NAME}-report.html"
    page = (working / f"{NAME}-report.html").read_text()
    assert f"nchl evaluate zoo:{NAME} --controls" in page
    assert f"--initial-genome zoo:{NAME}" in page
    assert f"nchl resume zoo:{NAME}" not in page
    assert [path.name for path in working.iterdir()] == [f"{NAME}-report.html"]
