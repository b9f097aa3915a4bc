"""A run has its own copy of the user's code: later changes of the files have no effect, and only this copy is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument, RunError
from nchl.report.compare.evaluations import evaluate_runs
from nchl.report.compare.runs import read_evaluation
from nchl.runs.search.evolution import build
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.code_copy import collect
from nchl.runs.store.folder import RunFolder
from nchl.runs.sweep.cell_states import states_of
from nchl.runs.sweep.grid import read_sweep

pytest.importorskip("gymnasium")

RULE = "from rates import RATE\n\ndef oja(pre, post, weight, eta_post):\n    return RATE * eta_post * post * (pre - post * weight)\n"
OTHER = "def oja(pre, post, weight, eta_post):\n    return -eta_post * post * pre\n"
NETWORK = (
    "from torch import nn\n\ndef net(shape, outputs):\n    return nn.Sequential(nn.Linear(shape[0], 3), nn.Tanh(), nn.Linear(3, outputs))\n"
)
EVALUATE = "import json, sys, nchl; print(json.dumps(nchl.evaluate(sys.argv[1], episodes=4)['returns']))"
RESUME = """
import json, sys, nchl
returns = nchl.evaluate(sys.argv[1], episodes=4)["returns"]
print(json.dumps([returns, nchl.resume(sys.argv[1], generations=3, workers=1).generations]))
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a network of the user's, and a rule that imports a module beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "rule.py").write_text(RULE)
    (folder / "rates.py").write_text("RATE = 1.0\n")
    (folder / "net.py").write_text(NETWORK)
    return folder


def settings(files: Path, **more: Any) -> dict[str, Any]:
    return {"network": f"{files}/net.py:net", "rule": f"{files}/rule.py:oja", "population": 8, "generations": 2, "seed": 3} | more


def elsewhere(run: Path, code: str = EVALUATE) -> Any:
    """The result in another process."""
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_edited_files_change_nothing(files: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    whole = nchl.run("CartPole-v1", out=tmp_path / "whole", **settings(files, generations=3)).folder
    assert sorted(path.name for path in (run / "code").iterdir()) == ["net.py", "rates.py", "rule.py"]
    before = nchl.evaluate(run, episodes=4)
    assert before["notes"] == []
    assert set(before["code"]) == {"net.py", "rates.py", "rule.py"}
    (files / "rates.py").write_text("RATE = -1.0\n")
    edited = nchl.run("CartPole-v1", out=tmp_path / "edited", **settings(files)).folder  # this process has both versions now
    assert (edited / "best.safetensors").read_bytes() != (run / "best.safetensors").read_bytes()
    after = nchl.evaluate(run, episodes=4)
    assert after["returns"] == before["returns"] == elsewhere(run)
    assert len(after["notes"]) == 1
    assert "rule.py:oja has changed since the run began; it uses its own copy" in after["notes"][0]
    assert any("has changed since" in note for note in nchl.load(run)[0].notes)
    (files / "net.py").write_text("raise ValueError\n")
    told: list[str] = []
    nchl.resume(run, generations=3, workers=1, on_note=told.append)
    assert sum("have changed since the run began" in line for line in told) == 1
    assert (run / "centre.safetensors").read_bytes() == (whole / "centre.safetensors").read_bytes()


@pytest.mark.slow
def test_a_folder_that_was_copied_and_whose_files_are_gone_works(files: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    whole = nchl.run("CartPole-v1", out=tmp_path / "whole", **settings(files, generations=3)).folder
    before = nchl.evaluate(run, episodes=4)
    copy = tmp_path / "elsewhere" / "other name"
    copy.parent.mkdir()
    shutil.copytree(run, copy)
    shutil.rmtree(run)
    shutil.rmtree(files)
    assert elsewhere(copy, RESUME) == [before["returns"], 3]  # in one process, and a worker
    assert nchl.evaluate(copy, episodes=4)["notes"] == []
    nchl.load(copy)[0].reset()
    assert main(["describe", str(copy)]) == 0
    assert (copy / "centre.safetensors").read_bytes() == (whole / "centre.safetensors").read_bytes()


def test_workers_get_the_text_and_need_no_file(files: Path) -> None:
    config = EvolveConfig.create("CartPole-v1", **settings(files))
    code = collect(config)
    shutil.rmtree(files)
    scores = []
    for workers in (None, 2):
        search = build(config.replace(workers=workers), code=code)
        with contextlib.closing(search.workers):
            scores.append(search.step().fitness)
    assert np.array_equal(scores[0], scores[1])
    with pytest.raises(InvalidArgument, match="there is no file"):
        build(config)


def test_two_files_of_one_name_and_a_shared_file(files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "net.py").write_text(OTHER)
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files, rule=f"{other}/net.py:oja")).folder
    assert (run / "code" / "net.py").read_text() == NETWORK
    assert (run / "code" / "2" / "net.py").read_text() == OTHER
    before = nchl.evaluate(run, episodes=3)["returns"]
    shutil.rmtree(other)
    assert nchl.evaluate(run, episodes=3)["returns"] == before


def test_a_copy_that_was_altered_or_lost_is_refused(files: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    (run / "code" / "rates.py").write_text("RATE = 2.0\n")
    for use in (nchl.evaluate, nchl.load, nchl.resume):
        with pytest.raises(RunError, match=r"code/rates\.py is not the file that the run was begun with"):
            use(run)
    (run / "code" / "rates.py").unlink()
    with pytest.raises(RunError, match=r"code/rates\.py cannot be read"):
        nchl.load(run)
    record = json.loads((run / "config.json").read_text())
    record["code"]["sha256"]["../../mine/rates.py"] = record["code"]["sha256"].pop("rates.py")
    (run / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="the record was altered"):
        nchl.load(run)


def test_a_folder_from_elsewhere_is_asked_about_file_by_file(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "here"))
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    nchl.load(run)
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "there"))
    shutil.rmtree(files)
    with pytest.raises(RunError, match=r"runs the code of '.*run/code/"):
        nchl.load(run)
    monkeypatch.setenv("NCHL_TRUST", "1")
    nchl.load(run)
    monkeypatch.delenv("NCHL_TRUST")
    nchl.load(run)


def test_another_rule_on_purpose_is_stored_nowhere(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    other = tmp_path / "other.py"
    other.write_text(OTHER)
    held = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    own = nchl.evaluate(run, episodes=4)
    with_other = nchl.evaluate(run, episodes=4, rule=f"{other}:oja")
    assert with_other["returns"] != own["returns"]
    assert f"played with the rule {other}:oja" in with_other["notes"][0]
    assert set(with_other["code"].values()) == {own["code"]["net.py"], hashlib.sha256(OTHER.encode()).hexdigest()}
    assert nchl.load(run, rule=f"{other}:oja")[0].rule.function.__name__ == "oja"
    assert main(["evaluate", str(run), "--episodes", "2", "--rule", f"{other}:oja"]) == 0
    assert "note: played with the rule" in capsys.readouterr().out
    for verb in ("film", "report"):
        assert main([verb, str(run), "--rule", f"{other}:oja"]) == 2
        assert "with --out" in capsys.readouterr().err
    with pytest.raises(InvalidArgument, match="does not apply to the network hl"):
        nchl.evaluate(
            nchl.run("CartPole-v1", out=tmp_path / "hl", network="hl", hidden=[2], population=4, generations=1).folder, rule=f"{other}:oja"
        )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == held


def test_a_kept_evaluation_answers_for_its_own_code_alone(files: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    (files / "rule.py").write_text(OTHER)
    evaluate_runs([run], episodes=3)
    kept = read_evaluation(RunFolder(run))
    assert kept is not None
    assert kept["returns"] == nchl.evaluate(run, episodes=3)["returns"]
    assert {"best_sha256", "code", "simulator", "environment"} <= set(kept)
    file = run / "evaluation.json"
    for stale in ({**kept, "code": {**kept["code"], "rule.py": "0" * 64}}, {name: value for name, value in kept.items() if name != "code"}):
        file.write_text(json.dumps({**stale, "mean": 12345.0}))
        assert read_evaluation(RunFolder(run)) is None
        evaluate_runs([run], episodes=3)
        assert json.loads(file.read_text()) == kept


def test_a_sweep_goes_on_with_its_copy_wherever_the_files_lie(files: Path, tmp_path: Path) -> None:
    def sweep(folder: Path) -> Path:
        text = f"task: CartPole-v1\nnetwork: {folder}/net.py:net\nrule: {folder}/rule.py:oja\npopulation: 4\ngenerations: 1\n"
        (tmp_path / "sweep.yaml").write_text(text)
        return tmp_path / "sweep.yaml"

    (cell,) = read_sweep(sweep(files))
    nchl.run(cell.config, out=tmp_path / "out" / cell.name)
    moved = files.rename(tmp_path / "moved")
    states, _ = states_of(read_sweep(sweep(moved)), tmp_path / "out")
    assert [state.state for state in states] == ["done"]
    (moved / "rates.py").write_text("RATE = 3.0\n")
    states, _ = states_of(read_sweep(sweep(moved)), tmp_path / "out")
    assert [state.state for state in states] == ["new"]
    assert "rates.py changed since" in states[0].note


KILLED = """
import json, os, signal, sys
import nchl
from nchl.runs.store import code_copy
write, left = code_copy.write_atomically, int(sys.argv[2])
def kill(*args, **more):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    write(*args, **more)
code_copy.write_atomically = kill
nchl.run("CartPole-v1", out=sys.argv[1], **json.loads(sys.argv[3]))
"""


@pytest.mark.parametrize("copied", [0, 2])
def test_a_kill_before_the_files_are_copied_loses_nothing(files: Path, tmp_path: Path, copied: int) -> None:
    whole = nchl.run("CartPole-v1", out=tmp_path / "whole", **settings(files)).folder
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, str(run), str(copied), json.dumps(settings(files))], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((run / "code").glob("*"))) == copied if copied else not list(run.glob("code/*.py"))
    (files / "rates.py").write_text("RATE = -1.0\n")
    with pytest.raises(RunError, match=r"code lacks .*rule\.py: the run was stopped before .*, and .* has changed since"):
        nchl.resume(run)
    moved = files.rename(tmp_path / "moved")
    with pytest.raises(RunError, match=r"mine/net\.py, .*mine/rule\.py cannot be found\. Restore"):
        nchl.resume(run)
    moved.rename(files)
    (files / "rates.py").write_text("RATE = 1.0\n")
    told: list[str] = []
    nchl.resume(run, on_note=told.append)
    assert sum("are copied now" in line for line in told) == 1
    shutil.rmtree(files)
    assert (run / "centre.safetensors").read_bytes() == (whole / "centre.safetensors").read_bytes()
    assert nchl.evaluate(run, episodes=3)["returns"] == nchl.evaluate(whole, episodes=3)["returns"]


def test_a_copy_that_is_lost_behind_a_checkpoint_is_not_made_up(files: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", **settings(files)).folder
    (run / "code" / "rates.py").unlink()
    with pytest.raises(RunError, match=r"code/rates\.py cannot be read"):
        nchl.resume(run, generations=3)
    assert not (run / "code" / "rates.py").exists()
