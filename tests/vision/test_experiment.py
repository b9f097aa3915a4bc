from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.runs.files.tensors import read_tensors
from nchl.vision import experiment
from nchl.vision.data.images import Images, load_images
from nchl.vision.networks.classifier import Classifier, build
from nchl.vision.records.folder import read_rows
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.training.features import check_room, size_text
from nchl.vision.training.phases import Head, Unsupervised
from nchl.vision.training.schedule import count_batches, halved_lr, step_bounds
from reference.images import cifar_like

NETWORK = """
from torch import nn
from nchl.vision import SoftHebbConv2d, Triangle

def tiny(image_shape):
    channels = image_shape[0]
    return nn.Sequential(
        nn.Sequential(
            nn.BatchNorm2d(channels, affine=False), SoftHebbConv2d(channels, 12, 5, padding=2, lr=0.08), Triangle(), nn.MaxPool2d(4, 2, 1)
        ),
        nn.Sequential(nn.BatchNorm2d(12, affine=False), SoftHebbConv2d(12, 24, 3, lr=0.02), Triangle(1.4), nn.AvgPool2d(2)),
    )

def convolution(image_shape):
    return nn.Conv2d(3, 4, 3)

def nothing_hebbian(image_shape):
    return nn.Sequential(nn.Conv2d(image_shape[0], 4, 3))

def too_deep(image_shape):
    return nn.Sequential(SoftHebbConv2d(image_shape[0], 4, 33))
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "tiny_networks.py"
    path.write_text(NETWORK)
    return f"{path}:tiny"


def settings(images: str, network: str, **more) -> SoftHebbSettings:
    return SoftHebbSettings(**{"data": images, "network": network, "epochs_head": 10, "threads": 1, "lr_head": 0.01, **more})


def final(run: Path) -> dict[str, np.ndarray]:
    return read_tensors(run / "network.safetensors")[0]


def test_a_run_and_what_it_leaves(images: str, network: str, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    summary = experiment.start(settings(images, network, checkpoint_every=5), run)
    assert summary["test_accuracy"] > 0.7  # chance: 0.25
    assert json.loads((run / "summary.json").read_text())["test_accuracy"] == summary["test_accuracy"]
    for name in ("config.json", "metrics.csv", "filters.png", "curves.png", "confusion.png", "network.safetensors", "tensorboard"):
        assert (run / name).exists(), name
    assert len(list((run / "checkpoints").iterdir())) == 2
    rows = read_rows(run)
    assert [row["phase"] for row in rows] == ["unsupervised"] * 3 + ["head"] * 10
    assert float(rows[2]["norm_distance"]) < float(rows[0]["norm_distance"])
    assert np.trace(np.array(summary["confusion"])) == summary["test_correct"]
    with pytest.raises(RunError, match="finished"):
        experiment.resume(run)
    with pytest.raises(RunError, match="exists already, and its run is finished; name another folder with --out"):
        experiment.start(settings(images, network), run)


def test_only_an_unfinished_run_is_said_to_go_on(images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(run: Path) -> str:
        with pytest.raises(RunError) as caught:
            experiment.start(settings(images, network), run)
        return str(caught.value)

    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    for other in (folder, file):
        assert refused(other) == f"{other} exists already; name another folder with --out"
    for text in ('{"kind": "evolve"}', "no JSON"):
        (folder / "config.json").write_text(text)
        assert refused(folder) == f"{folder} exists already; name another folder with --out"
    run = tmp_path / "run"
    interrupted(settings(images, network, epochs_head=1), run, monkeypatch)
    assert refused(run) == f"{run} exists already; continue it with: nchl softhebb --resume {run}, or name another folder with --out"


def test_equal_runs_have_equal_bits_and_other_seeds_other_ones(images: str, network: str, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in "abc"]
    for run, seed in zip(runs, (1, 1, 2), strict=True):
        experiment.start(settings(images, network, seed=seed, epochs_head=2), run)
    a, b, c = (final(run) for run in runs)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["network.blocks.0.1.weight"], c["network.blocks.0.1.weight"])
    assert (runs[0] / "network.safetensors").read_bytes() == (runs[1] / "network.safetensors").read_bytes()


@pytest.mark.parametrize(
    "more", [{"schedule": "layerwise"}, {"features": "disk"}, {"sharing": "max"}, {"sharing": "median", "competition": "layer", "lr": 0.01}]
)
def test_variants(images: str, network: str, tmp_path: Path, more: dict) -> None:
    run = tmp_path / "run"
    summary = experiment.start(settings(images, network, epochs_head=4, **more), run)
    assert summary["test_accuracy"] > 0.3
    assert not list(run.glob("*-features.*"))
    if more.get("schedule") == "layerwise":
        assert list(summary["seconds"])[:2] == ["unsupervised-1", "unsupervised-2"]


def test_random_layers_do_not_move_and_backpropagation_moves_all(images: str, network: str, tmp_path: Path) -> None:
    experiment.start(settings(images, network, method="random", epochs_head=2), tmp_path / "random")
    experiment.start(settings(images, network, epochs_unsupervised=0, epochs_head=2), tmp_path / "zero")
    random, zero = final(tmp_path / "random"), final(tmp_path / "zero")
    assert all(np.array_equal(random[name], zero[name]) for name in random)
    drawn = build(network, (3, 16, 16), 4, seed=0).blocks[0][1].weight
    assert np.array_equal(random["network.blocks.0.1.weight"], drawn.detach().numpy())
    assert not np.array_equal(random["network.blocks.0.0.running_mean"], np.zeros(3, np.float32))
    summary = experiment.start(settings(images, network, method="backprop", epochs_head=8, batch_size_head=16), tmp_path / "backprop")
    assert summary["test_accuracy"] > 0.6
    trained = final(tmp_path / "backprop")
    assert all(not np.array_equal(random[name], trained[name]) for name in random if name.endswith("weight"))


def test_validation_images_choose_the_epoch_and_are_not_trained_on(
    images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[Images] = []
    features: list[Images] = []
    epochs: list[tuple[float | None, dict[str, np.ndarray]]] = []
    init, validate, compute = Unsupervised.__init__, Head.validate, experiment.compute_features

    def spy_init(self: Unsupervised, classifier: Classifier, images: Images, **more: Any) -> None:
        learned.append(images)
        init(self, classifier, images, **more)

    def spy_validate(self: Head, epoch: int) -> float | None:
        accuracy = validate(self, epoch)
        epochs.append((accuracy, {name: value.numpy().copy() for name, value in self._classifier.head.state_dict().items()}))
        return accuracy

    def spy_compute(classifier: Classifier, images: Images, **more: Any) -> torch.Tensor:
        features.append(images)
        return compute(classifier, images, **more)

    monkeypatch.setattr(Unsupervised, "__init__", spy_init)
    monkeypatch.setattr(Head, "validate", spy_validate)
    monkeypatch.setattr(experiment, "compute_features", spy_compute)
    run = tmp_path / "run"
    # With these settings, 15 of the 30 validation images are right after the third epoch, and at most 9 after any other.
    more = {"validation": 0.25, "epochs_head": 6, "lr_head": 0.3, "dropout": 0.9, "batch_size_head": 10, "seed": 1}
    summary = experiment.start(settings(images, network, **more), run)
    accuracies = [accuracy for accuracy, _ in epochs]
    best = int(np.argmax(accuracies))
    assert 0 < best < 5, accuracies  # else a run that takes the first or the last epoch would pass
    assert accuracies[-1] < accuracies[best]
    assert (summary["head_epoch"], summary["validation_accuracy"]) == (best + 1, accuracies[best])
    assert json.loads((run / "summary.json").read_text())["head_epoch"] == best + 1
    for name, value in epochs[best][1].items():
        assert np.array_equal(final(run)[f"network.head.{name}"], value)
        assert not np.array_equal(epochs[-1][1][name], value)
    assert [float(row["validation_accuracy"]) for row in read_rows(run) if row["phase"] == "head"] == accuracies

    def distinct(some: Images) -> set[bytes]:
        return {image.numpy().tobytes() for image in some.pixels}

    trained, held_out = features
    assert [distinct(each) for each in learned] == [distinct(trained)]
    assert (summary["train_images"], len(trained), len(held_out)) == (90, 90, 30)
    assert not distinct(trained) & distinct(held_out)
    assert distinct(trained) | distinct(held_out) == distinct(load_images(images).train)


def test_the_chosen_epoch_is_known_after_a_kill_before_the_test_images(
    images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(images, network, validation=0.25, epochs_head=3)
    whole = experiment.start(given, tmp_path / "whole")
    interrupted(given, tmp_path / "run", monkeypatch)
    summary = experiment.resume(tmp_path / "run")
    assert summary["validation_accuracy"] is not None
    assert [summary[key] for key in ("head_epoch", "validation_accuracy")] == [whole[key] for key in ("head_epoch", "validation_accuracy")]
    summary = experiment.start(settings(images, network, epochs_head=2), tmp_path / "none")
    assert (summary["head_epoch"], summary["validation_accuracy"]) == (2, None)


def test_a_hundred_classes_in_the_published_columns(tmp_path: Path, network: str) -> None:
    data = cifar_like(tmp_path / "hundred", train=200, test=100, classes=100, hundred=True)
    summary = experiment.start(settings(str(data), network, epochs_head=2), tmp_path / "run")
    assert len(summary["classes"]) == 100
    assert final(tmp_path / "run")["network.head.weight"].shape[0] == 100


class Stop(experiment.Reporter):
    """Ends a run after so many reports, wherever that is."""

    def __init__(self, reports: int) -> None:
        self.left = reports

    def advance(self, done: int, text: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


LAYERWISE = {
    "method": "softhebb",
    "epochs_head": 3,
    "checkpoint_every": 3,
    "validation": 0.2,
    "schedule": "layerwise",
    "epochs_unsupervised": 2,
}
BACKPROP = {"method": "backprop", "epochs_head": 4, "checkpoint_every": 2, "validation": 0.2, "batch_size_head": 16}


@pytest.mark.parametrize("more", [LAYERWISE, BACKPROP])
def test_stopped_and_resumed_ends_with_the_same_bits(images: str, network: str, tmp_path: Path, more: dict) -> None:
    experiment.start(settings(images, network, **more), tmp_path / "whole")
    run = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        experiment.start(settings(images, network, **more), run, Stop(5))
    with pytest.raises(KeyboardInterrupt):
        experiment.resume(run, Stop(11))
    experiment.resume(run)
    equal_runs(tmp_path / "whole", run)


def equal_runs(whole: Path, other: Path) -> None:
    one, two = (json.loads((run / "summary.json").read_text()) for run in (whole, other))
    assert one["test_accuracy"] == two["test_accuracy"]
    assert one["confusion"] == two["confusion"]
    assert (whole / "network.safetensors").read_bytes() == (other / "network.safetensors").read_bytes()
    assert [{**row, "seconds": ""} for row in read_rows(whole)] == [{**row, "seconds": ""} for row in read_rows(other)]


@pytest.mark.slow
@pytest.mark.parametrize("more", [LAYERWISE | {"epochs_head": 8}, BACKPROP | {"epochs_head": 8}])
def test_killed_and_resumed_ends_with_the_same_bits(images: str, network: str, tmp_path: Path, more: dict) -> None:
    """A real SIGKILL, wherever it happens to strike; then the same numbers as without."""
    experiment.start(settings(images, network, **more), tmp_path / "whole")
    run = tmp_path / "killed"
    config = tmp_path / "settings.json"
    config.write_text(json.dumps(settings(images, network, **more).to_json()))
    # Each step waits a little, so that there is time to strike between two of them.
    script = f"""
import json, time
from pathlib import Path
from nchl.vision import experiment
from nchl.vision.settings import SoftHebbSettings

class Slow(experiment.Reporter):
    def advance(self, done, text=""):
        time.sleep(0.02)

config, run = Path({str(config)!r}), Path({str(run)!r})
if run.exists():
    experiment.resume(run, Slow())
else:
    experiment.start(SoftHebbSettings(**json.loads(config.read_text())), run, Slow())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for steps in (5, 20):  # twice: in the layers (of SoftHebb's run) and later
        child = subprocess.Popen([sys.executable, "-c", script], env=environment)
        try:
            deadline = time.monotonic() + 100
            while _newest_step(run) < steps and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert child.poll() is None, "the run ended before it was killed"
        finally:
            child.kill()  # SIGKILL
            child.wait()
        assert not (run / "summary.json").exists()
    experiment.resume(run)
    equal_runs(tmp_path / "whole", run)


def _newest_step(run: Path) -> int:
    return max((int(path.stem.split("-")[1]) for path in run.glob("checkpoints/step-*.safetensors")), default=-1)


def interrupted(settings: SoftHebbSettings, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stopped before its end."""
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "predict", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            experiment.start(settings, run)


def test_another_version_of_torch_is_another_machine(images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    interrupted(settings(images, network, epochs_head=1), run, monkeypatch)
    config = json.loads((run / "config.json").read_text())
    config["same_bits"]["torch"] = "1.0"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"torch was 1\.0.*--allow-other-machine"):
        experiment.resume(run)
    assert experiment.resume(run, allow_other_machine=True)["test_images"] == 40


def test_another_device_beside_resume(images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(images, network, epochs_head=2, checkpoint_every=3)
    experiment.start(given, tmp_path / "whole")
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        experiment.start(given, run, Stop(5))
    config = json.loads((run / "config.json").read_text())
    config["settings"]["device"], config["same_bits"]["device"] = "cuda", "NVIDIA H200"  # as if it had begun on a GPU
    (run / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        InvalidArgument, match=r"got 'cuda', the device of this run; give another beside --resume, for example --device cpu"
    ):
        experiment.resume(run, allow_other_machine=True)
    with pytest.raises(InvalidArgument, match=r"got 'cuda:1'$"):
        experiment.resume(run, allow_other_machine=True, device="cuda:1")
    with pytest.raises(RunError, match=r"device was NVIDIA H200 and is absent.*--allow-other-machine"):
        experiment.resume(run, device="cpu")
    experiment.resume(run, device="cpu", allow_other_machine=True)
    equal_runs(tmp_path / "whole", run)  # since in truth it began here
    assert json.loads((run / "config.json").read_text())["settings"]["device"] == "cuda"


@pytest.mark.parametrize(("first", "second"), [("memory", "disk"), ("disk", "memory")])
@pytest.mark.parametrize("reports", [5, 18])  # in the layers, and in the head
def test_no_bit_depends_on_where_the_features_are(
    images: str, network: str, tmp_path: Path, first: str, second: str, reports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(images, network, epochs_head=6, validation=0.2, checkpoint_every=2, features=first)
    experiment.start(given, tmp_path / "whole")
    run, files = tmp_path / "run", list[bool]()
    with pytest.raises(KeyboardInterrupt):
        experiment.start(given, run, Stop(reports))
    compute = experiment.compute_features
    monkeypatch.setattr(
        experiment, "compute_features", lambda *args, file, **more: (files.append(file is not None), compute(*args, file=file, **more))[1]
    )
    experiment.resume(run, features=second)
    assert files == [second == "disk"] * 2
    equal_runs(tmp_path / "whole", run)
    assert not list(run.glob("*-features.*"))


def test_room_for_the_features_is_checked_before_the_layers_learn(
    images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = settings(images, network, validation=0.25, epochs_head=1)
    size = 2 * 120 * experiment.start(whole, tmp_path / "whole")["features"]
    disk = shutil.disk_usage(tmp_path)

    def room(*, memory: int = 1 << 40, free: int = 1 << 40) -> None:
        monkeypatch.setattr("nchl.vision.training.features._memory", lambda: memory)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=free))

    run = tmp_path / "new" / "run"
    for where, hint in (("memory", "of memory.*--features disk"), ("disk", "make room or use --features memory")):
        room(**{"memory" if where == "memory" else "free": size - 1})
        with monkeypatch.context() as patched:
            patched.setattr(Unsupervised, "step", lambda *_: pytest.fail("the layers learned"))
            with pytest.raises(RunError, match=f"the features need {size_text(size)} .*{hint}"):
                experiment.start(dataclasses.replace(whole, features=where), run)
        assert not run.parent.exists()
    experiment.start(dataclasses.replace(whole, method="backprop", features=None, **WITHOUT_LAYERS), tmp_path / "backprop")
    room(memory=size, free=size)
    experiment.start(dataclasses.replace(whole, features="disk"), tmp_path / "disk")
    interrupted(whole, run, monkeypatch)
    room(free=size - 1)
    with pytest.raises(RunError, match="make room"):
        experiment.start(dataclasses.replace(whole, features="disk"), tmp_path / "other")
    room(memory=size - 1)
    experiment.resume(run)  # only the test images are left, which need no room


def test_files_of_features_that_are_there_are_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "training-features.f16").write_bytes(bytes(100_000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000))
    check_room(150_000, tmp_path)
    with pytest.raises(RunError, match=r"which has 0\.1 MiB"):
        check_room(150_001, tmp_path)


WITHOUT_LAYERS = dict.fromkeys(("epochs_unsupervised", "sharing", "competition", "lr", "batch_size", "schedule"))


def test_a_run_goes_on_with_the_images_that_it_began_with(
    images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    interrupted(settings(images, network, epochs_head=1), run, monkeypatch)
    cifar_like(Path(images), train=124)
    with pytest.raises(RunError, match=r"the images in .* are not those that this run began with"):
        experiment.resume(run, allow_other_machine=True)
    config = json.loads((run / "config.json").read_text())
    del config["images"]  # as runs of earlier versions have it
    (run / "config.json").write_text(json.dumps(config))
    cifar_like(Path(images))
    assert experiment.resume(run)["test_images"] == 40


def test_a_run_can_be_resumed_from_another_folder(images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    interrupted(settings("images", "tiny_networks.py:tiny", epochs_head=1), run, monkeypatch)
    monkeypatch.chdir("/")
    assert experiment.resume(run)["network"] == network


def test_what_is_wrong_at_once_is_said_before_any_image_is_decoded(
    images: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nchl.vision.data.images._decode", lambda *_, **__: pytest.fail("images were decoded"))
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match="exists already"):
        experiment.start(settings(images, network), tmp_path / "run")
    with pytest.raises(InvalidArgument, match=r"there is no file 'nofile\.py'"):
        experiment.start(settings(images, "nofile.py:x"), tmp_path / "other")
    with pytest.raises(InvalidArgument, match="leave --test-fraction out"):
        experiment.start(settings(images, network, test_fraction=0.2), tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sharing", "max", "--sharing"),
        ("competition", "layer", "--competition"),
        ("lr", 0.1, "--lr"),
        ("batch_size", 5, "--batch-size"),
        ("schedule", "layerwise", "--layerwise"),
    ],
)
def test_without_unsupervised_epochs_nothing_is_said_of_them(name: str, value: object, said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{said} does not apply with --epochs-unsupervised 0; leave it out"):
        SoftHebbSettings(data="images", epochs_unsupervised=0, **{name: value})
    alone = SoftHebbSettings(data="images", epochs_unsupervised=0)
    assert getattr(alone, name) is None
    assert SoftHebbSettings.from_json(alone.to_json()) == alone


def test_the_published_halvings() -> None:
    rates = [halved_lr(1.0, epoch, 50) for epoch in range(50)]
    assert [epoch for epoch in range(1, 50) if rates[epoch] < rates[epoch - 1]] == [10, 17, 25, 30, 35, 40, 45]
    assert rates[0] == 1
    assert rates[-1] == 0.5**7
    assert halved_lr(1.0, 0, 1) == 1


def test_halvings_of_few_epochs_are_at_most_half_an_epoch_early() -> None:
    for epochs in range(1, 60):
        rates = [halved_lr(1.0, epoch, epochs) for epoch in range(epochs)]
        assert rates[0] == 1
        for part in (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9):
            halvings = sum(part >= each for each in (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9))
            first = next((epoch for epoch in range(epochs) if rates[epoch] <= 0.5**halvings), epochs)
            assert part * epochs - 0.5 - 1e-9 <= first, (epochs, part)
            assert first <= max(part * epochs + 0.5 + 1e-9, 1), (epochs, part)
    assert [halved_lr(1.0, epoch, 5) for epoch in range(5)] == [1, 0.5, 0.125, 0.03125, 0.0078125]


def test_the_steps_of_an_epoch_take_every_image_once() -> None:
    for images in range(1, 40):
        for size in range(1, 12):
            batches = count_batches(images, size)
            parts = [range(images)[step_bounds(batch, batches, size, images)] for batch in range(batches)]
            assert [image for part in parts for image in part] == list(range(images))
            assert all(len(part) > 1 for part in parts) or size == 1 or images == 1


def test_what_a_user_can_get_wrong(images: str, network: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="--sharing does not apply with the method random"):
        settings(images, network, method="random", sharing="max")
    with pytest.raises(UnknownName, match="did you mean 'softhebb-small'"):
        settings(images, "softheb-small")
    with pytest.raises(InvalidArgument, match="--dropout"):
        settings(images, network, dropout=1.0)
    with pytest.raises(InvalidArgument, match="--batch-size of at least 1"):
        settings(images, network, batch_size=0)
    with pytest.raises(InvalidArgument, match="cuda"):
        experiment.start(settings(images, network, device="tpu"), tmp_path / "run")
    file = network.split(":")[0]
    for name, message in (
        ("convolution", "must return an nn.Sequential"),
        ("nothing_hebbian", "no SoftHebb layer"),
        ("too_deep", "cannot take images"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            experiment.start(settings(images, f"{file}:{name}"), tmp_path / "run")
    with pytest.raises(InvalidArgument, match="cannot take images"):
        experiment.start(settings(str(cifar_like(tmp_path / "small", size=8)), "thesis"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_global_random_numbers_are_untouched(images: str, network: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    experiment.start(settings(images, network, epochs_head=1), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
