"""What the rest of the tests show on the CPU, on a GPU where there is one: the same numbers, and runs that go on with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.networks.base import PlasticNetwork
from nchl.rules.convolution.connections import SHARINGS
from nchl.rules.softhebb import COMPETITIONS
from nchl.rules.softhebb import SHARINGS as SOFTHEBB_SHARINGS
from nchl.vision import SoftHebbConv2d, SoftHebbLinear, TriangleMaxPool2d

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def oja(pre: Tensor, post: Tensor, eta_post: Tensor) -> Tensor:
    return eta_post * post * (pre - post)


def remembering(pre: Tensor, post: Tensor, reward: Tensor, e_trace: Tensor, h_post_trace: Tensor, eta_post: Tensor) -> tuple[Tensor, ...]:
    e = 0.9 * e_trace + pre * post
    return eta_post * reward * e * (1 - h_post_trace), e, 0.5 * h_post_trace + post


GROUPS = {"x": 4, "h": nchl.Group(6, "gelu"), "y": nchl.Group(3, None)}
EDGES = [("x", "h"), ("h", "h", 1), nchl.Edge("x", "y", rule="hl"), nchl.Edge("h", "y", rule="static"), ("y", "h", 1)]
FULL: dict[str, Any] = {"average": "mean:3", "every": 2, "trace": 0.8, "modulate": "advantage:0.2", "normalise": "zscore"}
MLPS = {
    "nchl": lambda **more: nchl.NcHL([4, 6, 3], **more),
    "nchl, divided by the largest": lambda **more: nchl.NcHL([4, 6, 3], normalise="max", **more),
    "hl": lambda **more: nchl.HL([4, 6, 3], **more),
    "weightless": lambda **more: nchl.WNcHL([4, 6, 3], window=5, **more),
    "static": lambda **more: nchl.StaticMLP([4, 6, 3], **more),
    "own rule": lambda **more: nchl.PlasticMLP([4, 6, 3], rule=oja, **more),
    "recurrent": lambda **more: nchl.NcHL([4, 6, 3], recurrent=True, average="ema:0.3", normalise="row", **more),
    "trace and reward": lambda **more: nchl.HL([4, 6, 3], **FULL, **more),
    "graph": lambda **more: nchl.PlasticGraph(GROUPS, EDGES, **FULL, **more),
    "rule with memory": lambda **more: nchl.PlasticMLP([4, 6, 3], rule=remembering, normalise="clip:0.5", **more),
    "elman": lambda **more: nchl.StaticMLP([4, 6, 3], recurrent=True, **more),
}


def life(network: PlasticNetwork, inputs: Tensor) -> Tensor:
    """Outputs of a life, with a genome and first weights that do not depend on the device."""
    genome = 0.1 * torch.randn(network.genome.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    network.set_hrules(genome.to(inputs.device))
    generator = torch.Generator().manual_seed(2)
    first = [
        torch.rand(weight.shape, dtype=torch.float64, generator=generator).to(inputs.device) for weight in network.draw_weights(generator)
    ]
    network.reset(first or None)  # none where the genome is the weights, or there are none
    return torch.stack([network.step(x, reward=0.3 * t if t and network.needs_reward else None) for t, x in enumerate(inputs)])


@pytest.mark.parametrize("population", [None, 5])
@pytest.mark.parametrize("name", MLPS)
def test_a_life_has_the_numbers_of_the_cpu(name: str, population: int | None) -> None:
    shape = (12, *(() if population is None else (population,)), 4)
    inputs = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cpu = life(MLPS[name](population=population, dtype=torch.float64), inputs)
    gpu = life(MLPS[name](population=population, dtype=torch.float64, device="cuda"), inputs.cuda())
    assert gpu.device.type == "cuda"
    torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_convolutional_life_has_the_numbers_of_the_cpu(sharing: str, termwise: bool) -> None:
    def make(device: str) -> PlasticNetwork:
        layers = [nn.Conv2d(2, 3, 3, bias=False), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2, bias=False)]
        settings = {"sharing": sharing, "termwise": termwise, "population": 3, "dtype": torch.float64, "device": device}
        return nchl.from_module(nn.Sequential(*layers).double(), (2, 8, 8), **settings)

    inputs = torch.rand(6, 3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cpu, gpu = life(make("cpu"), inputs), life(make("cuda"), inputs.cuda())
    torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("average", ["mean:2", "ema:0.4"])
def test_a_convolutional_life_in_time_has_the_numbers_of_the_cpu(average: str) -> None:
    def make(device: str) -> PlasticNetwork:
        layers = [nn.Conv2d(2, 3, 3, bias=False), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2, bias=False)]
        settings = {**FULL, "average": average, "population": 3, "dtype": torch.float64, "device": device}
        return nchl.from_module(nn.Sequential(*layers).double(), (2, 8, 8), "median", **settings)

    inputs = torch.rand(6, 3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(life(make("cuda"), inputs.cuda()).cpu(), life(make("cpu"), inputs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["nchl", "recurrent", "trace and reward", "graph", "rule with memory"])
def test_gradients_are_those_of_the_cpu(name: str) -> None:
    inputs, found = torch.randn(6, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), []
    for device in ("cpu", "cuda"):
        network = MLPS[name](population=2, dtype=torch.float64, device=device, differentiable=True)
        genome = 0.3 * torch.randn(2, network.nparams, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        genome = genome.to(device).requires_grad_()
        network.set_hrules(genome)
        network.reset(generator=torch.Generator().manual_seed(2))
        steps = enumerate(inputs.to(device))
        y = torch.stack([network.step(x, reward=0.3 * t if t and network.needs_reward else None) for t, x in steps])
        found.append(torch.autograd.grad(y.square().sum(), genome)[0].cpu())
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["recurrent", "trace and reward", "rule with memory"])
def test_a_life_moves_to_the_gpu_in_its_middle(name: str) -> None:
    inputs = torch.randn(8, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs = []
    for moved in (False, True):
        network = MLPS[name](population=5, dtype=torch.float64)
        network.set_hrules(0.3 * torch.randn(network.nparams, generator=torch.Generator().manual_seed(1)))
        network.reset(generator=torch.Generator().manual_seed(2))
        for t, x in enumerate(inputs):
            network = network.cuda() if moved and t == 4 else network
            y = network.step(x.to(network.device), reward=0.3 * t if t and network.needs_reward else None)
        outputs.append(y.cpu())
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("competition", COMPETITIONS)
@pytest.mark.parametrize("sharing", SOFTHEBB_SHARINGS)
def test_softhebb_learns_the_weights_of_the_cpu(sharing: str, competition: str) -> None:
    def learned(device: str) -> Tensor:
        settings = {"sharing": sharing, "competition": competition, "dtype": torch.float64, "device": device}
        layer = SoftHebbConv2d(3, 6, 3, padding=1, generator=torch.Generator().manual_seed(0), **settings)
        following = SoftHebbLinear(6 * 16, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, device=device)
        x = torch.rand(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(device)
        network = nn.Sequential(layer, TriangleMaxPool2d(0.7, 4, 2, 1), nn.Flatten(), following)
        for _ in range(3):
            network(x)
        return torch.cat([layer.weight.flatten(), following.weight.flatten()]).cpu()

    torch.testing.assert_close(learned("cuda"), learned("cpu"), rtol=1e-9, atol=1e-11)


def test_softhebb_learns_under_autocast_as_without() -> None:
    layers = [SoftHebbConv2d(3, 16, 5, device="cuda", generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    x = torch.rand(4, 3, 9, 9, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        layers[0](x)
    layers[1](x)
    assert torch.equal(layers[0].weight, layers[1].weight)


@pytest.mark.parametrize("more", [{}, {"schedule": "layerwise"}, {"method": "random"}], ids=str)
def test_an_experiment_that_was_stopped_ends_with_the_same_bits(more: dict[str, str], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    from nchl.vision import experiment
    from nchl.vision.settings import SoftHebbSettings

    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 10)):
        for label, name in enumerate(("dark", "bright")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 128, (32, 32, 3)) + 127 * label
                image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / split / name / f"{index}.png")

    class Stop(experiment.Reporter):
        left = 7

        def advance(self, done: int, text: str = "") -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    given = {"data": str(tmp_path / "images"), "network": "softhebb-small", "device": "cuda", "epochs_head": 3, "checkpoint_every": 2}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    experiment.start(SoftHebbSettings(**given, **more), whole)
    with pytest.raises(KeyboardInterrupt):
        experiment.start(SoftHebbSettings(**given, **more), stopped, Stop())
    experiment.resume(stopped)
    assert (whole / "network.safetensors").read_bytes() == (stopped / "network.safetensors").read_bytes()
