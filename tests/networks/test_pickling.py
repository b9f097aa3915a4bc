"""A network can be pickled and copied at any time, also in the middle of a life; copy and original then live on alike."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.networks.base import PlasticNetwork

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


def oja(pre: Tensor, post: Tensor, weight: Tensor, eta_post: Tensor) -> Tensor:
    return eta_post * post * (pre - post * weight)


def sequential() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 4), nn.Tanh())


def saved(network: PlasticNetwork) -> PlasticNetwork:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def live(network: PlasticNetwork, steps: range) -> list[Tensor]:
    draw = torch.Generator()
    shape = (*network.lead, *network.input_shape)
    return [network.step(torch.randn(shape, generator=draw.manual_seed(t), dtype=network.dtype)) for t in steps]


NETWORKS: dict[str, Callable[[], PlasticNetwork]] = {
    "nchl": lambda: nchl.NcHL([5, 8, 3]),
    "nchl-population": lambda: nchl.NcHL([5, 8, 3], population=16, backend="eager"),
    "nchl-compiled": lambda: nchl.NcHL([5, 8, 3], population=16, backend="compiled"),
    "hl": lambda: nchl.HL([5, 8, 3], population=16, backend="eager"),
    "hl-compiled": lambda: nchl.HL([5, 8, 3], population=16, backend="compiled"),
    "oja-compiled": lambda: nchl.PlasticMLP([5, 8, 3], oja, population=16, backend="compiled", normalise="max"),
    "static": lambda: nchl.StaticMLP([5, 8, 3], population=16),
    "wnchl": lambda: nchl.WNcHL([5, 8, 3], population=16, window=2),
    "conv": lambda: nchl.from_module(sequential(), (1, 6, 6), population=3, backend="eager"),
    "conv-compiled": lambda: nchl.from_module(sequential(), (1, 6, 6), population=3, termwise=True),
    "conv-hl-compiled": lambda: nchl.from_module(sequential(), (1, 6, 6), population=3, rule="hl"),
}


@needs_compiler
@pytest.mark.parametrize("way", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network)), saved], ids=["copy", "pickle", "save"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_in_the_middle_of_a_life_goes_on_as_the_original(name: str, way: Callable[[PlasticNetwork], PlasticNetwork]) -> None:
    network = NETWORKS[name]()
    genomes = torch.randn(network.genome.shape, generator=torch.Generator().manual_seed(0), dtype=network.dtype)
    network.set_hrules(0.3 * genomes)
    live(network, range(2))
    backend, other = network.backend, way(network)
    for mine, its in zip(live(other, range(2, 6)), live(network, range(2, 6)), strict=True):
        assert torch.equal(mine, its)
    for mine, its in zip(other.weights, network.weights, strict=True):
        assert torch.equal(mine, its)
    assert network.backend == other.backend == backend, network.notes + other.notes
    for one in (network, other):
        one.reset()
    assert all(torch.equal(mine, its) for mine, its in zip(live(other, range(3)), live(network, range(3)), strict=True))


@needs_compiler
@pytest.mark.parametrize("name", ["nchl-compiled", "hl-compiled"])
def test_a_copy_leaves_the_original_as_it_was(name: str) -> None:
    """The update that waits is not made up for, which may have other last digits than the fused one."""
    network = NETWORKS[name]()
    network.set_hrules(torch.ones(network.nparams))
    live(network, range(2))
    fused = network._back_end._step  # type: ignore[attr-defined]
    assert fused is not None
    copy.deepcopy(network)
    assert network._back_end._step is fused  # type: ignore[attr-defined]
    assert network._lifetime.waiting  # type: ignore[attr-defined]
