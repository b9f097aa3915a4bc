"""A SoftHebb run that is asked to end: after the step, with a checkpoint, and with the same bits when it goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.errors import RunError
from nchl.runs.files.lock import locked
from nchl.vision import experiment
from nchl.vision.data.images import load_images
from nchl.vision.networks.classifier import build
from nchl.vision.records.folder import read_rows
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.training.features import compute_features, feature_bytes
from reference.images import cifar_like

NETWORK = """
from torch import nn
from nchl.vision import SoftHebbConv2d, Triangle

def tiny(image_shape):
    return nn.Sequential(nn.BatchNorm2d(3, affine=False), SoftHebbConv2d(3, 8, 5), Triangle(), nn.MaxPool2d(4))
"""


class Ask(experiment.Reporter):
    """Sends a signal to this very process after so many reports."""

    def __init__(self, number: signal.Signals, reports: int) -> None:
        self.number, self.left, self.said = number, reports, []

    def say(self, line: str) -> None:
        self.said.append(line)

    def advance(self, done: int, text: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def settings(tmp_path: Path) -> SoftHebbSettings:
    (tmp_path / "tiny_networks.py").write_text(NETWORK)
    data = cifar_like(tmp_path / "images")
    # No checkpoint is due on the way: the one there afterwards was written because of the signal.
    return SoftHebbSettings(data=str(data), network=f"{tmp_path / 'tiny_networks.py'}:tiny", epochs_head=4, threads=1, checkpoint_every=500)


def test_signals_end_it_after_a_step_and_it_goes_on_with_the_same_bits(settings: SoftHebbSettings, tmp_path: Path) -> None:
    experiment.start(settings, tmp_path / "whole")
    run = tmp_path / "stopped"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        experiment.start(settings, run, Ask(signal.SIGINT, 4))
    steps = [path.name for path in (run / "checkpoints").iterdir()]
    assert len(steps) == 1
    with pytest.raises(SystemExit) as caught:
        experiment.resume(run, Ask(signal.SIGTERM, 8))
    assert caught.value.code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (run / ".lock").exists()
    experiment.resume(run)
    assert (run / "network.safetensors").read_bytes() == (tmp_path / "whole" / "network.safetensors").read_bytes()
    one, two = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "whole", run))
    assert one["confusion"] == two["confusion"]


def test_ctrl_c_while_features_are_computed_is_answered_at_once(settings: SoftHebbSettings, tmp_path: Path) -> None:
    class During(experiment.Reporter):
        name, calls = "", 0

        def start(self, name: str, total: int) -> None:
            self.name = name

        def advance(self, done: int, text: str = "") -> None:
            if self.name == asked_in:
                self.calls += 1
                os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    experiment.start(dataclasses.replace(settings, limit=110), tmp_path / "whole")
    asked_in = "training features"
    reporter = During()
    with pytest.raises(KeyboardInterrupt):
        experiment.start(dataclasses.replace(settings, limit=110), run, reporter)
    assert reporter.calls == 1  # of two chunks
    experiment.resume(run)
    assert (run / "network.safetensors").read_bytes() == (tmp_path / "whole" / "network.safetensors").read_bytes()


def test_a_stop_where_a_row_is_due_keeps_the_row(settings: SoftHebbSettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, checkpoint_every=2)
    experiment.start(settings, tmp_path / "whole")
    run = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        experiment.start(settings, run, Ask(signal.SIGINT, 3))  # comes before the fourth step, at which a row is due
    experiment.resume(run)
    whole, stopped = ([{**row, "seconds": ""} for row in read_rows(folder)] for folder in (tmp_path / "whole", run))
    assert stopped == whole


def test_an_unfinished_file_of_features_makes_room_for_itself(
    settings: SoftHebbSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, images = build(str(settings.network), (3, 16, 16), 4), load_images(settings.data).train
    file = tmp_path / "features.f16"
    size = feature_bytes(len(images), classifier.features)
    file.write_bytes(bytes(size - 2))
    disk, room = shutil.disk_usage(tmp_path), size + size // 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=room - (file.stat().st_size if file.exists() else 0)))
    assert len(compute_features(classifier, images, file=file)) == len(images)


def test_one_writer_at_a_time(settings: SoftHebbSettings, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        experiment.start(settings, run, Ask(signal.SIGINT, 3))
    with locked(run), pytest.raises(RunError, match="in use by another process"):
        experiment.resume(run)
    assert experiment.resume(run)["test_images"] == 40
