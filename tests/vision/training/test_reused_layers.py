"""The layers of a finished run under a new head."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.errors import InvalidArgument, RunError
from nchl.runs.files.tensors import read_tensors
from nchl.vision import experiment
from nchl.vision.records.folder import VisionRun, read_rows
from nchl.vision.settings import SoftHebbSettings

NETWORK = """
from torch import nn
from nchl.vision import SoftHebbConv2d, TriangleMaxPool2d

def block(channels, units):
    return nn.Sequential(
        nn.BatchNorm2d(channels, affine=False), SoftHebbConv2d(channels, units, 5, padding=2, lr=0.08), TriangleMaxPool2d(0.7, 4, 2, 1)
    )

def tiny(image_shape):
    return nn.Sequential(block(image_shape[0], 8), block(8, 12))

def wider(image_shape):
    return nn.Sequential(block(image_shape[0], 8), block(8, 13))
"""
HEAD = {"epochs_head": 3, "lr_head": 0.01, "threads": 1}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "lent_networks.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture
def lender(images: str, code: Path, tmp_path: Path) -> Path:
    run = tmp_path / "lender"
    experiment.start(SoftHebbSettings(data=images, network=f"{code}:tiny", **HEAD), run)
    return run


def final(run: Path) -> dict[str, np.ndarray]:
    return read_tensors(run / "network.safetensors")[0]


def test_the_same_head_is_the_same_run_and_another_head_leaves_the_layers(lender: Path, images: str, code: Path, tmp_path: Path) -> None:
    again = experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD), tmp_path / "again")
    first, same = final(lender), final(tmp_path / "again")
    assert all(np.array_equal(first[name], same[name]) for name in first.keys() | same.keys())
    assert [row["phase"] for row in read_rows(tmp_path / "again")] == ["head"] * 3
    assert (again["network"], again["layers"]) == (f"{code}:tiny", str(lender))
    experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD | {"lr_head": 0.001}), tmp_path / "other")
    other = final(tmp_path / "other")
    assert {name for name in first if not np.array_equal(first[name], other[name])} == {"network.head.bias", "network.head.weight"}


def test_going_on_needs_the_other_folder_no_more(lender: Path, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(VisionRun, "begin", kill)
        with pytest.raises(Killed):
            experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD), run)
    first = final(lender)
    shutil.rmtree(lender)
    experiment.resume(run)
    assert all(np.array_equal(value, final(run)[name]) for name, value in first.items())


def test_a_run_killed_before_its_first_checkpoint_takes_the_layers_again(lender: Path, images: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD), run)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "summary.json").unlink()
    experiment.resume(run)
    assert all(np.array_equal(value, final(run)[name]) for name, value in final(lender).items())


def test_what_cannot_be_borrowed(lender: Path, images: str, code: Path, tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, **more: object) -> None:
        with pytest.raises(error, match=match):
            experiment.start(SoftHebbSettings(data=images, layers=str(lender), **more), tmp_path / "none")
        assert not (tmp_path / "none").exists()

    refused(InvalidArgument, "leave --network out", network=f"{code}:wider")
    refused(InvalidArgument, "--random does not apply with --layers", method="random")
    refused(InvalidArgument, "--sharing does not apply with --layers", sharing="max")
    refused(InvalidArgument, "--epochs-unsupervised does not apply with --layers", epochs_unsupervised=2)
    record = json.loads((lender / "config.json").read_text())  # as an earlier version wrote it, without a copy of the file
    (lender / "config.json").write_text(json.dumps(record | {"code": None}))
    code.write_text(NETWORK.replace("def tiny", "def was_tiny").replace("def wider", "def tiny"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NCHL_TRUST", "1")
        refused(RunError, r"1.1.weight should have the shape \(13, 8, 5, 5\), got \(12, 8, 5, 5\)")
    (lender / "summary.json").unlink()
    code.write_text(NETWORK)
    refused(RunError, f"not finished; first: nchl softhebb --resume {lender}")
    with pytest.raises(RunError, match=r"no config\.json"):
        experiment.start(SoftHebbSettings(data=images, layers=str(tmp_path)), tmp_path / "none")
