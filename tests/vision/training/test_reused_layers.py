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


@pytest.mark.parametrize(
    ("more", "method", "schedule"),
    [
        ({}, "softhebb", "together"),
        ({"schedule": "layerwise"}, "softhebb", "layerwise"),
        ({"method": "random"}, "random", None),
        ({"epochs_unsupervised": 0}, "random", None),
        ({"method": "backprop"}, "backprop", None),
    ],
)
def test_how_the_layers_were_trained_is_recorded(
    images: str, code: Path, tmp_path: Path, more: dict, method: str, schedule: str | None
) -> None:
    lender, one, two = (tmp_path / name for name in ("lender", "one", "two"))
    first = experiment.start(SoftHebbSettings(data=images, network=f"{code}:tiny", limit=40, **HEAD | {"epochs_head": 1}, **more), lender)
    assert (first["layers_method"], first["layers_schedule"]) == (None, None)
    # The second takes its layers from a run that took them from the first, whose folder is not needed any more.
    for path, layers in ((one, lender), (two, one)):
        summary = experiment.start(SoftHebbSettings(data=images, layers=str(layers), limit=40, **HEAD | {"epochs_head": 1}), path)
        assert (summary["layers_method"], summary["layers_schedule"]) == (method, schedule)
        assert json.loads((path / "config.json").read_text())["layers_method"] == method
        shutil.rmtree(layers)
    (two / "summary.json").unlink()
    summary = experiment.resume(two)
    assert (summary["layers_method"], summary["layers_schedule"]) == (method, schedule)


def test_a_record_of_an_older_version_says_no_method(lender: Path, images: str, tmp_path: Path) -> None:
    middle = tmp_path / "middle"
    experiment.start(SoftHebbSettings(data=images, layers=str(lender), **HEAD), middle)
    record = json.loads((middle / "config.json").read_text())
    older = {key: value for key, value in record.items() if not key.startswith("layers_")}
    (middle / "config.json").write_text(json.dumps(older))
    summary = experiment.start(SoftHebbSettings(data=images, layers=str(middle), **HEAD), tmp_path / "run")
    assert summary["layers_method"] is None
    (middle / "config.json").write_text(json.dumps(older | {"layers_settings": 3}))
    with pytest.raises(RunError, match="'layers_settings' must be an object or null, got int"):
        VisionRun.open(middle)


@pytest.fixture
def without_test_set(images: str) -> str:
    Path(images, "test.parquet").unlink()
    return images


def test_images_that_the_layers_learned_from_are_no_test_images(without_test_set: str, code: Path, tmp_path: Path) -> None:
    lender, data = tmp_path / "lender", without_test_set
    experiment.start(SoftHebbSettings(data=data, network=f"{code}:tiny", test_fraction=0.25, seed=3, **HEAD), lender)
    for more in ({"test_fraction": 0.25}, {"test_fraction": 0.2, "seed": 3}, {"seed": 3}):
        with pytest.raises(InvalidArgument, match=r"as test images: write --test-fraction 0\.25 --seed 3$"):
            experiment.start(SoftHebbSettings(data=data, layers=str(lender), **more, **HEAD), tmp_path / "run")
    experiment.start(SoftHebbSettings(data=data, layers=str(lender), test_fraction=0.25, seed=3, **HEAD), tmp_path / "run")
    # Through another run too, and not for other images.
    with pytest.raises(InvalidArgument, match=r"write --test-fraction 0\.25 --seed 3$"):
        experiment.start(SoftHebbSettings(data=data, layers=str(tmp_path / "run"), test_fraction=0.25, **HEAD), tmp_path / "again")
    other = shutil.copytree(data, tmp_path / "other images")
    experiment.start(SoftHebbSettings(data=str(other), layers=str(lender), test_fraction=0.25, **HEAD), tmp_path / "again")


def test_images_that_the_layers_learned_from_do_not_choose_the_epoch(images: str, code: Path, tmp_path: Path) -> None:
    lender = tmp_path / "lender"
    experiment.start(SoftHebbSettings(data=images, network=f"{code}:tiny", validation=0.25, seed=3, **HEAD), lender)
    for more, said in (
        ({"validation": 0.25}, ""),
        ({"validation": 0.3, "seed": 3}, ""),
        ({"validation": 0.25, "seed": 3, "limit": 60}, ", and leave --limit out"),
    ):
        with pytest.raises(InvalidArgument, match=rf"as validation images: write --validation 0\.25 --seed 3{said}$"):
            experiment.start(SoftHebbSettings(data=images, layers=str(lender), **more, **HEAD), tmp_path / "run")
    for number, more in enumerate(({"validation": 0.25, "seed": 3}, {"seed": 4})):
        experiment.start(SoftHebbSettings(data=images, layers=str(lender), **more, **HEAD), tmp_path / f"run{number}")
