"""The experiment with networks that users may write: a forward of their own, statistics anywhere, random modules."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.errors import InvalidArgument
from nchl.runs.files.tensors import read_tensors
from nchl.vision import experiment
from nchl.vision.data.images import Images, load_images
from nchl.vision.networks.classifier import build
from nchl.vision.networks.layers import softhebb_layers
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.training.phases import Statistics
from nchl.vision.training.schedule import epoch_order, order_stream
from reference.images import png, striped

NETWORKS = """
from torch import nn
from nchl.vision import SoftHebbConv2d, SoftHebbLinear, TriangleMaxPool2d

def conv(channels, units):
    return SoftHebbConv2d(channels, units, 3, padding=1, lr=0.05)

class Add(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)

class Module(nn.Module):
    def __init__(self, *children):
        super().__init__()
        self.children_in_order = nn.ModuleList(children)

    def forward(self, x):
        y = x
        for child in self.children_in_order:
            y = child(y)
        return x + y

def added(kind, top):
    def make(image_shape):
        inner = kind(nn.BatchNorm2d(6, affine=False), conv(6, 6), TriangleMaxPool2d(1, 1, 1))
        blocks = [conv(3, 6), inner, nn.Sequential(nn.BatchNorm2d(6, affine=False), conv(6, 5), nn.AvgPool2d(4))]
        return nn.Sequential(*blocks) if top else nn.Sequential(nn.Sequential(*blocks[:2]), blocks[2])
    return make

own_top, plain_top = added(Add, True), added(Module, True)
own_inner, plain_inner = added(Add, False), added(Module, False)

class Backwards(nn.Sequential):
    def forward(self, x):
        return super().forward(-x)

def own_forward(image_shape):
    return Backwards(conv(3, 6), nn.AvgPool2d(4))

def tail(image_shape):
    return nn.Sequential(
        nn.Sequential(nn.BatchNorm2d(3, affine=False), conv(3, 6), nn.BatchNorm2d(6), nn.AvgPool2d(2)),
        nn.Sequential(conv(6, 5), nn.BatchNorm2d(5), nn.AvgPool2d(4)),
        nn.BatchNorm2d(5),
    )

def dropout(image_shape):
    return nn.Sequential(nn.Dropout(0.3), conv(3, 6), nn.Dropout(0.3), conv(6, 5), nn.AvgPool2d(4))

class Raising(nn.Identity):
    def forward(self, x):
        if self.training:
            raise KeyError("mine")
        return x

def raising(image_shape):
    return nn.Sequential(conv(3, 6), nn.Sequential(Raising(), conv(6, 5)), nn.AvgPool2d(4))

def linear(image_shape):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768), SoftHebbLinear(768, 20))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users_networks.py"
    path.write_text(NETWORKS)
    return path


def ended(images: str, network: str, run: Path, **more: object) -> dict[str, np.ndarray]:
    settings = {"data": images, "network": network, "epochs_head": 1, "threads": 1, **more}
    experiment.start(SoftHebbSettings(**settings), run)
    return read_tensors(run / "network.safetensors")[0]


@pytest.mark.parametrize("schedule", ["together", "layerwise"])
@pytest.mark.parametrize("place", ["top", "inner"])
def test_a_forward_of_a_blocks_own_is_what_learns(images: str, file: Path, tmp_path: Path, place: str, schedule: str) -> None:
    own, plain = (
        ended(images, f"{file}:{kind}_{place}", tmp_path / kind, schedule=schedule, epochs_head=1, limit=60) for kind in ("own", "plain")
    )
    same = {name.replace("children_in_order.", ""): value for name, value in plain.items()}
    assert own.keys() == same.keys()
    assert all(np.array_equal(value, same[name]) for name, value in own.items())


def test_a_whole_network_with_a_forward_of_its_own_is_one_block(file: Path) -> None:
    classifier = build(f"{file}:own_forward", (3, 16, 16), 4)
    assert len(classifier.blocks) == 1


@pytest.mark.parametrize("more", [{}, {"schedule": "layerwise"}, {"method": "random"}])
def test_statistics_behind_the_last_layer_that_learns_are_taken_too(images: str, file: Path, tmp_path: Path, more: dict) -> None:
    found = ended(images, f"{file}:tail", tmp_path / "run", **more)
    counts = {name: int(value) for name, value in found.items() if name.endswith("num_batches_tracked")}
    assert len(counts) == 4
    assert set(counts.values()) == {2 if more.get("method") else 12}


def test_statistics_of_random_layers_are_averages_over_all_images(images: str, file: Path, tmp_path: Path) -> None:
    found = ended(images, f"{file}:tail", tmp_path / "whole", method="random")
    pixels = load_images(images).train.batch(slice(None))
    order = epoch_order(0, order_stream(0, labelled=False), 0, len(pixels))
    parts = [pixels[order[:100]], pixels[order[100:]]]
    for name, expected in (
        ("running_mean", torch.stack([part.mean(dim=(0, 2, 3)) for part in parts]).mean(dim=0)),
        ("running_var", torch.stack([part.var(dim=(0, 2, 3)) for part in parts]).mean(dim=0)),
    ):
        np.testing.assert_allclose(found[f"network.blocks.0.0.{name}"], expected, rtol=1e-5)

    class Stop(experiment.Reporter):
        def advance(self, done: int, text: str = "") -> None:
            raise KeyboardInterrupt

    run = tmp_path / "stopped"
    given = {"data": images, "network": f"{file}:tail", "epochs_head": 1, "threads": 1, "method": "random", "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        experiment.start(SoftHebbSettings(**given), run, Stop())
    experiment.resume(run)
    assert (run / "network.safetensors").read_bytes() == (tmp_path / "whole" / "network.safetensors").read_bytes()


@pytest.mark.parametrize("failing", [False, True])
def test_a_step_of_statistics_leaves_momentum_and_plasticity(
    images: str, file: Path, failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, data = build(f"{file}:tail", (3, 16, 16), 4), load_images(images).train
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].momentum, norms[1].running_mean[:] = 0.3, 7.0
    phase = Statistics(classifier, data)
    with monkeypatch.context() as patched:
        if failing:
            patched.setattr(Images, "batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError) if failing else contextlib.nullcontext():
            phase.step(0, 0, torch.arange(100))
    assert [norm.momentum for norm in norms] == [0.3, 0.1, 0.1, 0.1]
    assert all(layer.plastic for layer in softhebb_layers(classifier))
    assert bool((norms[1].running_mean.abs() < 5).all())  # what was there before the pass has no weight


@pytest.mark.parametrize("method", ["softhebb", "backprop"])
def test_a_network_that_draws_goes_on_with_the_same_draws(
    images: str, file: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ended(images, f"{file}:dropout", tmp_path / "whole", method=method, checkpoint_every=1, batch_size_head=16)

    class Stop(experiment.Reporter):
        left = 3

        def advance(self, done: int, text: str = "") -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    run = tmp_path / "stopped"
    settings = {"data": images, "network": f"{file}:dropout", "epochs_head": 1, "threads": 1, "method": method}
    with pytest.raises(KeyboardInterrupt):
        experiment.start(SoftHebbSettings(**settings, checkpoint_every=1, batch_size_head=16), run, Stop())
    experiment.resume(run)
    assert (run / "network.safetensors").read_bytes() == (tmp_path / "whole" / "network.safetensors").read_bytes()
    assert whole


@pytest.mark.parametrize("more", [{}, {"method": "random"}, {"method": "backprop", "batch_size_head": 50}])
def test_one_image_alone_at_the_end_joins_the_step_before(images: str, file: Path, tmp_path: Path, more: dict) -> None:
    ended(images, f"{file}:linear", tmp_path / "run", limit=101, **more)


@pytest.mark.parametrize(
    ("network", "more", "said"),
    [
        (
            "linear",
            {"batch_size": 1},
            r"block 2 of the network \(BatchNorm1d\) failed in .* of 1 image: ValueError: .*use --batch-size 2 or more",
        ),
        ("linear", {"batch_size": 1, "schedule": "layerwise"}, r"block 2 of the network \(BatchNorm1d\) .*use --batch-size 2 or more"),
        ("linear", {"batch_size_head": 1, "method": "backprop"}, r"block 2 .*use --batch-size-head 2 or more, or change this block"),
        ("raising", {}, r"block 2 of the network \(Raising\) failed in a training step of 10 images: KeyError: 'mine'; change this block"),
    ],
)
def test_a_block_that_fails_in_training_is_named(images: str, file: Path, tmp_path: Path, network: str, more: dict, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        ended(images, f"{file}:{network}", tmp_path / "run", limit=60, **more)


def test_an_option_of_convolutions_without_any_is_refused(images: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"--sharing and --competition: .* has no SoftHebbConv2d"):
        ended(images, f"{file}:linear", tmp_path / "run", sharing="max", competition="layer")


def test_the_head_of_a_layerwise_run_is_found_again_on_its_layers(images: str, file: Path, tmp_path: Path) -> None:
    first = ended(images, f"{file}:tail", tmp_path / "lender", schedule="layerwise")
    again = ended(images, None, tmp_path / "again", layers=str(tmp_path / "lender"))  # type: ignore[arg-type]
    assert all(np.array_equal(value, again[name]) for name, value in first.items())


def test_no_picture_costs_the_result(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("$5_$9", "$10_$20 over")):
            (tmp_path / "prices" / split / name).mkdir(parents=True)
            for index in range(6):
                (tmp_path / "prices" / split / name / f"{index}.png").write_bytes(png(striped(label, generator)))
    ended(str(tmp_path / "prices"), f"{file}:linear", tmp_path / "run")
    assert (tmp_path / "run" / "confusion.png").exists()
    monkeypatch.setattr("nchl.vision.records.pictures.draw", lambda *_: 1 / 0)
    ended(str(tmp_path / "prices"), f"{file}:linear", tmp_path / "other")
    assert (tmp_path / "other" / "summary.json").exists()


def test_a_loss_that_is_not_finite_ends_the_run(images: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="smaller --lr-head"):
        ended(images, f"{file}:tail", tmp_path / "run", method="backprop", lr_head=1e30, epochs_head=3)
