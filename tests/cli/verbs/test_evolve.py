"""`nchl evolve`, `resume` and `evaluate` together: the main job, and every mistake that a user can make on the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nchl.cli import main
from nchl.errors import install_command

pytest.importorskip("gymnasium")

SMALL = ("CartPole-v1", "--hidden", "3", "--population", "8", "--generations", "2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "finished run"
    assert main(["evolve", *SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that must end with exit code 2 and say nothing on stdout."""
    capsys.readouterr()
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    # Progress may stand before it; the message itself is one or two lines.
    lines = [line for line in said.err.splitlines() if not line.startswith(("generation ", "the run is in"))]
    assert 1 <= len(lines) <= 2
    assert "Traceback" not in said.err
    return " ".join(lines)


def test_the_main_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["evolve", *SMALL, "--seed", "3", "--out", str(folder)]) == 0
    said = capsys.readouterr()
    assert "generation 2/2" in said.err
    assert f"nchl evaluate {folder} --controls" in said.out
    assert f"nchl resume {folder} --generations 4" in said.out
    assert json.loads((folder / "config.json").read_text())["settings"]["seed"] == 3

    assert main(["resume", str(folder), "--generations", "3", "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["generations"] == 3
    assert summary["reason"] == "generations"
    assert summary["resume"] is None

    assert main(["evaluate", str(folder), "--episodes", "5", "--controls", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {"episodes", "mean", "std", "iqm", "min", "max", "seed", "plasticity_off", "frozen_half_way"} <= set(scores)
    assert (scores["episodes"], scores["seed"]) == (5, 10000)

    assert main(["evaluate", str(folder), "--episodes", "5", "--which", "centre"]) == 0
    assert "centre of the search, 5 unseen episodes" in capsys.readouterr().out

    assert main(["describe", str(folder)]) == 0
    assert "nchl: 4 inputs, 2 outputs" in capsys.readouterr().out


def test_a_preset_gives_way_to_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["evolve", "--preset", "cartpole", "--generations", "1", "--hidden", "3", "--out", str(folder)]) == 0
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert (settings["generations"], settings["hidden"], settings["strategy"]) == (1, [3], "cma-es")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["CartPoole-v1"], "did you mean 'CartPole-v1'"),
        ([], "no task given"),
        (["CartPole-v1", "--hidden", "0"], "at least 1, got 0"),
        (["CartPole-v1", "--hidden", "10", "-4"], "at least 1, got -4"),
        (["CartPole-v1", "--population", "1"], "at least 2, got 1"),
        (["CartPole-v1", "--population", "7"], "even"),
        (["CartPole-v1", "--strategy", "openes"], "did you mean 'openai-es'"),
        (["CartPole-v1", "--strategy", "cma-es", "--lr", "0.1"], "--lr does not apply to the strategy cma-es"),
        (["CartPole-v1", "--network", "ncl"], "did you mean 'nchl'"),
        (["CartPole-v1", "--window", "4"], "--window does not apply to the network nchl"),
        (["CartPole-v1", "--network", "wnchl", "--initial-weights", "zeros"], "--initial-weights does not apply"),
        (["CartPole-v1", "--network", "static", "--normalise", "max"], "--normalise does not apply"),
        (["CartPole-v1", "--sharing", "max"], "--sharing does not apply"),
        (["CartPole-v1", "--termwise"], "--termwise does not apply"),
        (["CartPole-v1", "--sigma", "0"], "sigma must be greater than 0"),
        (["CartPole-v1", "--sigma", "nan"], "sigma"),
        (["CartPole-v1", "--seed", "-1"], "seed must be at least 0"),
        (["CartPole-v1", "--generations", "0"], "generations must be at least 1"),
        (["CartPole-v1", "--initial-weights", "unifrom"], "did you mean 'uniform'"),
        (["CartPole-v1", "--simulator", "mujoco"], "unknown simulator 'mujoco'"),
        (["CartPole-v1", "--device", "gpu"], "device 'gpu' cannot be used"),
        (["CartPole-v1", "--preset", "cartpol"], "did you mean 'cartpole'"),
        (["CartPole-v1", "--rule", "nowhere.py:oja"], "nowhere.py"),
        (["CartPole-v1", "--network", "nowhere.py:net"], "nowhere.py"),
        (["CartPole-v1", "--initial-genome", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_leaves_no_folder(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert said in refused(capsys, "evolve", *words, "--out", str(folder))
    assert not folder.exists()


def test_a_network_of_pictures_without_an_image_size_is_told_to_ask_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/convolution.md, with and without the option."""
    page = Path(__file__).resolve().parents[3] / "docs" / "convolution.md"
    source = page.read_text().partition("# mine.py\n")[2].partition("```")[0]
    (tmp_path / "mine.py").write_text(source)
    own = ["--network", f"{tmp_path / 'mine.py'}:network", "--out", str(tmp_path / "run")]
    said = refused(capsys, "evolve", "CarRacing-v3", *own)
    assert "CarRacing-v3 gives pictures" in said
    assert "--image-size 64 64" in said
    assert "(4,)" in refused(capsys, "evolve", "CartPole-v1", *own)
    limits = ["--population", "2", "--generations", "1", "--max-steps", "1"]
    assert main(["evolve", "CarRacing-v3", *own, "--image-size", "16", "16", "--sharing", "median", *limits]) == 0
    capsys.readouterr()


def test_a_genome_of_another_length(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evolve", "CartPole-v1", "--hidden", "4", "--initial-genome", str(finished), "--out", str(tmp_path / "run")]
    said = refused(capsys, *words)
    assert "(39,)" in said
    assert "(44,)" in said


def test_a_folder_that_exists(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(finished.rglob("*"))
    assert "exists already" in refused(capsys, "evolve", *SMALL, "--out", str(finished))
    assert sorted(finished.rglob("*")) == before


@pytest.mark.parametrize("inside", ["run", "folder/run"])
def test_a_folder_in_a_file(inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "oja.py").write_text("")
    said = refused(capsys, "evolve", *SMALL, "--out", str(tmp_path / "oja.py" / inside))
    assert f"{tmp_path / 'oja.py'} is a file and not a folder" in said


@pytest.mark.parametrize("verb", ["resume", "evaluate", "describe"])
def test_a_folder_that_is_no_run(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a run folder" in refused(capsys, verb, str(tmp_path))
    said = refused(capsys, verb, str(tmp_path / "nothing"))
    assert "no run folder" in said or "unknown network, preset or run folder" in said


@pytest.mark.parametrize("verb", ["resume", "evaluate", "describe"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": {}}', "\x80\x04."])
def test_a_corrupt_config(verb: str, content: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.json").write_text(content, encoding="latin-1")
    assert "config.json" in refused(capsys, verb, str(run))


def test_an_ended_run_needs_a_new_total(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--generations" in refused(capsys, "resume", str(run))
    assert "new total" in refused(capsys, "resume", str(run), "--generations", "1")


def test_a_task_whose_package_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybullet_envs_gymnasium", None)
    said = refused(capsys, "evolve", "AntBulletEnv-v0", "--population", "2", "--out", str(tmp_path / "run"))
    assert install_command("bullet") in said


def test_a_full_disk_in_mid_run_keeps_the_last_good_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refused(capsys, "resume", str(run), "--generations", "3")
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    assert main(["resume", str(run), "--generations", "3"]) == 0


def test_wrong_words_for_evaluate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'centre'" in refused(capsys, "evaluate", str(run), "--which", "center")
    assert "at least 1" in refused(capsys, "evaluate", str(run), "--episodes", "0")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "nchl", "evolve", *SMALL[:-1], "100000", "--out", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "generation" not in process.stderr.readline():
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code
    assert f"nchl resume {folder}" in out
    assert "Traceback" not in err
    done = json.loads(subprocess.run([*words[:3], "describe", str(folder), "--json"], capture_output=True, check=True).stdout)
    assert done["nparams"] == 39
