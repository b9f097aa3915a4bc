"""A SoftHebb run has a copy of the code of a user's network: changes of the original have no effect and are reported."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.errors import RunError
from nchl.vision import experiment
from nchl.vision.records.folder import VisionRun
from nchl.vision.settings import SoftHebbSettings

NETWORK = """
from torch import nn
from nchl.vision import SoftHebbConv2d, TriangleMaxPool2d
from sizes import UNITS

def tiny(image_shape):
    conv = SoftHebbConv2d(image_shape[0], UNITS, 5, padding=2, lr=0.08)
    return nn.Sequential(nn.Sequential(nn.BatchNorm2d(image_shape[0], affine=False), conv, TriangleMaxPool2d(0.7, 4, 2, 1)))
"""
HEAD: dict[str, Any] = {"epochs_head": 2, "lr_head": 0.01, "threads": 1, "checkpoint_every": 2, "limit": 60}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "net.py").write_text(NETWORK)
    (folder / "sizes.py").write_text("UNITS = 6\n")
    return folder


class Telling(experiment.Reporter):
    """Keeps what is said; stops the run after so many steps."""

    def __init__(self, steps: int = -1) -> None:
        self.left, self.lines = steps, list[str]()

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, done: int, text: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def settings(images: str, files: Path) -> SoftHebbSettings:
    return SoftHebbSettings(data=images, network=f"{files}/net.py:tiny", **HEAD)


def stopped(images: str, files: Path, run: Path, steps: int = 4) -> Path:
    with pytest.raises(KeyboardInterrupt):
        experiment.start(settings(images, files), run, Telling(steps))
    return run


def tensors(run: Path) -> bytes:
    return (run / "network.safetensors").read_bytes()


def test_a_run_goes_on_with_its_copy_wherever_it_lies(images: str, files: Path, tmp_path: Path) -> None:
    experiment.start(settings(images, files), tmp_path / "whole")
    run = stopped(images, files, tmp_path / "run")
    copy = tmp_path / "elsewhere" / "other name"
    shutil.copytree(run, copy)
    (files / "sizes.py").write_text("UNITS = 7\n")
    told = Telling()
    experiment.resume(run, told)
    assert sum("has changed since the run began; it uses its own copy" in line for line in told.lines) == 1
    shutil.rmtree(files)
    shutil.rmtree(run)
    experiment.resume(copy)
    assert tensors(copy) == tensors(tmp_path / "whole")
    record = json.loads((copy / "config.json").read_text())
    assert record["code"]["sha256"] == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in (("net.py", NETWORK), ("sizes.py", "UNITS = 6\n"))
    }
    assert len(record["sessions"]) == 2


def test_a_copy_from_elsewhere_is_asked_about_and_an_altered_one_refused(
    images: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(images, files, tmp_path / "run")
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "there"))
    with pytest.raises(RunError, match=r"runs the code of '.*run/code/net\.py'"):
        experiment.resume(run)
    monkeypatch.setenv("NCHL_TRUST", "1")
    (run / "code" / "sizes.py").write_text("UNITS = 7\n")
    with pytest.raises(RunError, match=r"code/sizes\.py is not the file that the run was begun with"):
        experiment.resume(run)
    (run / "code" / "sizes.py").write_text("UNITS = 6\n")
    experiment.resume(run)


def test_layers_bring_their_code_with_them(images: str, files: Path, tmp_path: Path) -> None:
    experiment.start(settings(images, files), tmp_path / "lender")
    (files / "sizes.py").write_text("UNITS = 7\n")
    lender = (tmp_path / "lender").rename(tmp_path / "moved")
    told = Telling()
    experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD), tmp_path / "again", told)
    assert sum("has changed since" in line for line in told.lines) == 1
    assert (tmp_path / "again" / "code" / "sizes.py").read_text() == "UNITS = 6\n"
    assert tensors(tmp_path / "again") == tensors(lender)


def test_a_kill_before_the_files_are_copied_loses_nothing(
    images: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment.start(settings(images, files), tmp_path / "whole")

    def kill(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("nchl.runs.store.code_copy.write_atomically", kill)
        with pytest.raises(KeyboardInterrupt):
            experiment.start(settings(images, files), tmp_path / "run")
    run = tmp_path / "run"
    assert (run / "config.json").exists()
    assert not list((run / "code").iterdir())
    (files / "sizes.py").write_text("UNITS = 7\n")
    with pytest.raises(RunError, match=r"lacks net\.py, sizes\.py: the run was stopped before its files were copied"):
        experiment.resume(run)
    (files / "sizes.py").write_text("UNITS = 6\n")
    told = Telling()
    experiment.resume(run, told)
    assert sum("are copied now" in line for line in told.lines) == 1
    assert tensors(run) == tensors(tmp_path / "whole")


def test_a_record_without_a_copy_runs_what_lies_there(images: str, files: Path, tmp_path: Path) -> None:
    experiment.start(settings(images, files), tmp_path / "whole")
    run = stopped(images, files, tmp_path / "run")
    shutil.rmtree(run / "code")
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({name: value for name, value in record.items() if name not in ("code", "sessions")}))
    experiment.resume(run)
    assert tensors(run) == tensors(tmp_path / "whole")
    (run / "config.json").write_text(json.dumps(record | {"code": "mine"}))
    with pytest.raises(RunError, match="key 'code' must be an object or null"):
        VisionRun.open(run)
