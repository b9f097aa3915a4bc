"""Plastic sequentials: whole networks against dense matrices, sizes, populations, batches, static layers, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.errors import InvalidArgument, OrderError, ShapeError, UnknownName
from nchl.networks import activations
from nchl.networks.conv.presets import carracing, conv_hml, conv_thesis
from nchl.networks.graph import operations as conv_ops
from nchl.rules.convolution.connections import SHARINGS
from nchl.rules.convolution.geometry import ConvGeometry
from nchl.rules.kernels import program as kernels
from reference.convolution import DenseNetwork

BACKENDS = ["eager", pytest.param("compiled", marks=pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here"))]


def small(**conv: object) -> nn.Sequential:
    layers = [nn.Conv2d(2, 3, 3, bias=False, **conv), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten()]
    size = nn.Sequential(*layers)(torch.zeros(1, 2, 8, 7)).shape[1]
    return nn.Sequential(*layers, nn.Linear(size, 5, bias=False), nn.Tanh(), nn.Linear(5, 2, bias=False)).double()


def genomes(network: nchl.PlasticGraph, seed: int = 0) -> Tensor:
    return torch.randn(network.genome.shape, dtype=network.dtype, generator=torch.Generator().manual_seed(seed))


def life(network: nchl.PlasticGraph, steps: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (*network.lead, *network.input_shape)
    return torch.stack([network.step(torch.rand(shape, generator=generator, dtype=network.dtype)) for _ in range(steps)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("conv", [{}, {"padding": 1}, {"stride": 2, "padding": (2, 1)}, {"dilation": 2}], ids=str)
@pytest.mark.parametrize("sharing", SHARINGS)
def test_twenty_steps_equal_dense_matrices(sharing: str, conv: dict[str, object], backend: str) -> None:
    sequential = small(**conv)
    network = nchl.from_module(sequential, (2, 8, 7), sharing=sharing, backend=backend)
    network.set_hrules(genomes(network))
    dense = DenseNetwork(sequential, (2, 8, 7), network.genome.numpy(), [w.numpy() for w in network.weights], sharing)
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = rng.normal(size=(2, 8, 7))
        np.testing.assert_allclose(network.step(torch.as_tensor(x)), dense.step(x), rtol=1e-11, atol=1e-11)
    for mine, wanted in zip(network.weights, dense.weights, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sharing", ["max", "median"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_the_reference_vectors(golden: Path, sharing: str, backend: str, dtype: torch.dtype) -> None:
    arrays = np.load(golden / f"convnet_{sharing}.npz")
    g = {name: torch.as_tensor(arrays[name]).to(dtype) for name in arrays if arrays[name].dtype == np.float64}
    close = dict.fromkeys(("rtol", "atol"), 1e-11 if dtype == torch.float64 else 1e-5)
    sequential = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 4, bias=False),
        nn.Tanh(),
        nn.Linear(4, 2, bias=False),
    )
    network = nchl.from_module(sequential, (2, 6, 6), sharing=sharing, backend=backend, dtype=dtype)
    network.set_hrules(g["rules"])
    network.reset([g[name] for name in ("kernel0", "linear0_0", "linear0_1")])
    np.testing.assert_allclose(torch.stack([network.step(x) for x in g["inputs"]]), g["outputs"], **close)
    for weight, name in zip(network.weights, ("kernel_final", "linear_final_0", "linear_final_1"), strict=True):
        np.testing.assert_allclose(weight, g[name], err_msg=name, **close)


@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_population_is_its_individuals(sharing: str, termwise: bool, backend: str) -> None:
    options = {"sharing": sharing, "termwise": termwise, "backend": backend}
    together = nchl.from_module(small(padding=1), (2, 8, 7), population=3, **options)
    together.set_hrules(genomes(together))
    together.reset([torch.randn(3, *w.shape[1:], dtype=torch.float64) for w in together.weights])
    start = [w.clone() for w in together.weights]
    outputs = life(together, 8)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.rand(3, 2, 8, 7, generator=generator, dtype=torch.float64) for _ in range(8)]
    for p in range(3):
        alone = nchl.from_module(small(padding=1), (2, 8, 7), **options)
        alone.set_hrules(together.genome[p])
        alone.reset([w[p] for w in start])
        torch.testing.assert_close(outputs[:, p], torch.stack([alone.step(x[p]) for x in inputs]), rtol=1e-11, atol=1e-11)


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_float32_kernels_stay_with_torch_in_float64(sharing: str, termwise: bool) -> None:
    outputs = []
    for dtype, backend in ((torch.float32, "compiled"), (torch.float64, "eager")):
        network = nchl.from_module(small(), (2, 8, 7), sharing=sharing, termwise=termwise, dtype=dtype, backend=backend)
        network.set_hrules(genomes(network).double() if dtype == torch.float64 else genomes(network))
        if dtype == torch.float32:
            genome, weights = network.genome.double(), [w.double() for w in network.weights]
        else:
            network.set_hrules(genome)
            network.reset(weights)
        inputs = np.random.default_rng(0).random((5, 2, 8, 7), dtype=np.float32)
        outputs.append(torch.stack([network.step(torch.as_tensor(x)).double() for x in inputs]))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
@pytest.mark.parametrize("termwise", [False, True])
def test_overflow_comes_out_as_in_torch(termwise: bool) -> None:
    """An individual with extreme rules or observations gets torch's infinities and NaN; the others are unaffected."""
    lives = []
    for backend in ("eager", "compiled"):
        network = nchl.from_module(small(), (2, 8, 7), termwise=termwise, population=4, dtype=torch.float32, backend=backend)
        rows = genomes(network)
        rows[1] *= 1e30
        network.set_hrules(rows)
        network.reset(generator=torch.Generator().manual_seed(3))
        generator = torch.Generator().manual_seed(1)
        for step in range(3):
            x = torch.rand(4, 2, 8, 7, generator=generator)
            if step == 1:
                x[2, 0, 0, 0] = torch.nan
            network.step(x)
        lives.append(network.weights)
    for eager, compiled in zip(*lives, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert compiled[::3].isfinite().all()
        assert compiled[2].isnan().any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("termwise", [False, True])
def test_a_step_is_a_forward_and_an_update(termwise: bool, backend: str) -> None:
    modules = [nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(2), nn.Sigmoid(), nn.Conv2d(3, 4, 2), nn.Tanh()]
    sequential = nn.Sequential(*modules, nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(16, 2), nn.ReLU())
    network = nchl.from_module(sequential, (2, 8, 8), population=3, termwise=termwise, backend=backend)
    network.set_hrules(genomes(network))
    network.reset()
    twin = copy.deepcopy(network)
    for seed in range(3):
        x = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
        y = twin.forward(x)
        twin.update()
        assert torch.equal(network.step(x), y)
    for mine, others in zip(network.weights, twin.weights, strict=True):
        assert torch.equal(mine, others)


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
def test_who_is_not_active_is_left_as_he_is() -> None:
    network = nchl.from_module(small(), (2, 8, 7), population=3)
    network.set_hrules(genomes(network))
    everyone = copy.deepcopy(network)
    x = torch.rand(3, 2, 8, 7, dtype=torch.float64)
    before = [w.clone() for w in network.weights]
    y = network.step(x, active=torch.tensor([True, False, True]))
    assert torch.equal(y[::2], everyone.step(x)[::2])
    assert not y[1].any()
    for now, old, moved in zip(network.weights, before, everyone.weights, strict=True):
        assert torch.equal(now[1], old[1])
        assert torch.equal(now[::2], moved[::2])


def test_one_genome_after_the_other_and_one_batch_after_the_other() -> None:
    """Tensors kept between steps follow the rules, the batch and a new lifetime."""
    for termwise in (False, True):
        network = nchl.from_module(small(), (2, 8, 7), population=2, termwise=termwise)
        fresh = nchl.from_module(small(), (2, 8, 7), population=2, termwise=termwise)
        for seed in range(3):
            network.set_hrules(genomes(network, seed))
            network.reset([w.sin() for w in fresh.weights])
            network.step(torch.rand(2, seed + 1, 2, 8, 7, dtype=torch.float64))
            network.reset(fresh.weights)
            got = life(network, 2)
        fresh.set_hrules(genomes(fresh, 2))
        torch.testing.assert_close(got, life(fresh, 2), rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_depend_neither_on_threads_nor_on_place(backend: str) -> None:
    def run(population: int, place: int, threads: int) -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            network = conv_thesis((3, 24, 27), 3, population=population, backend=backend, generator=torch.Generator().manual_seed(4))
            rows = torch.randn(population, network.nparams, generator=torch.Generator().manual_seed(population))
            rows[place] = torch.randn(network.nparams, generator=torch.Generator().manual_seed(9))
            network.set_hrules(rows)
            generator = torch.Generator().manual_seed(5)
            outputs = []
            for _ in range(4):
                x = torch.rand(population, 3, 24, 27)
                x[place] = torch.rand(3, 24, 27, generator=generator)
                outputs.append(network.step(x)[place])
            return torch.stack(outputs)
        finally:
            torch.set_num_threads(before)

    one = run(3, 0, 1)
    assert torch.equal(one, run(3, 2, 2))
    assert torch.equal(one, run(7, 5, 2))


@pytest.mark.parametrize("termwise", [False, True])
def test_a_batch_is_averaged_per_connection(termwise: bool) -> None:
    network = nchl.from_module(small(), (2, 8, 7), sharing="mean", termwise=termwise, normalise=None, population=2)
    network.set_hrules(genomes(network))
    network.reset()
    twin = copy.deepcopy(network)
    x = torch.rand(2, 3, 2, 8, 7, dtype=torch.float64)
    y = network.step(x)
    assert y.shape == (2, 3, 2)
    # With the mean as aggregate, averaging before or after sharing is the same.
    start = [w.clone() for w in twin.weights]
    changes = [torch.zeros_like(w) for w in start]
    for b in range(3):
        twin.reset(start)
        torch.testing.assert_close(twin.step(x[:, b]), y[:, b], rtol=1e-12, atol=1e-12)
        for change, before, after in zip(changes, start, twin.weights, strict=True):
            change += (after - before) / 3
    for mine, before, change in zip(network.weights, start, changes, strict=True):
        torch.testing.assert_close(mine, before + change, rtol=1e-11, atol=1e-11)


def test_sizes_of_the_published_networks() -> None:
    thesis = conv_thesis((3, 64, 64), 3)
    assert thesis.nparams == 173_284
    assert {b.name: b.parameters for b in thesis.layout.blocks} == {
        "input": ("A", "C", "D", "eta"),
        "conv0": ("B", "C", "D", "eta"),
        "pool0": ("A", "C", "D", "eta"),
        "conv1": ("B", "C", "D", "eta"),
        "pool1": ("A", "C", "D", "eta"),
        "linear0": ("A", "B", "C", "D", "eta"),
        "linear1": ("A", "B", "C", "D", "eta"),
        "linear2": ("B", "C", "D", "eta"),
    }
    assert "622,728" in thesis.describe()
    hml = conv_hml((3, 84, 84), 3)
    assert hml.nparams == 456_640 + 1_362
    assert [b.name for b in hml.layout.blocks] == ["layer2", "layer3", "layer4", "weights0", "weights1"]


def test_groups_of_neurons() -> None:
    """No pooling between two convolutions: the neurons there are the same on both sides; elementwise modules make none."""
    sequential = nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 2, 2),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Dropout(),
        nn.Conv2d(2, 1, 2),
        nn.AvgPool2d(2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Tanh(),
    )
    network = nchl.from_module(sequential, (1, 6, 6))
    assert [(b.name, b.shape) for b in network.layout.blocks] == [("input", (36, 4)), ("conv0", (50, 5)), ("conv1", (16, 4))]
    assert network.output_bounded
    assert network.output_size == 4
    network.set_hrules(genomes(network))
    x = torch.rand(1, 6, 6)
    network.forward(x)
    sequential.eval()
    sequential[1].weight.data, sequential[5].weight.data = network.weights
    torch.testing.assert_close(network.get_buffer("activations_0")[0], sequential[:1](x[None]))
    torch.testing.assert_close(network.get_buffer("activations_1")[0], sequential[:5](x[None]))
    torch.testing.assert_close(network.forward(x), sequential(x[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_static_layers_stand_in_the_genome_and_stay(backend: str) -> None:
    network = nchl.from_module(small(), (2, 8, 7), static=(0, -1), population=2, backend=backend)
    assert [b.name for b in network.layout.blocks][-2:] == ["weights0", "weights2"]
    assert [b.name for b in network.layout.blocks][:-2] == ["pool0", "linear0"]
    network.set_hrules(genomes(network))
    network.reset()
    assert [w.shape for w in network.draw_weights(torch.Generator())] == [(5, 18)]
    before = [w.clone() for w in network.weights]
    life(network, 3)
    named = network.layout.unpack(network.genome)
    assert torch.equal(network.weights[0], named["weights0"])
    assert torch.equal(network.weights[2], named["weights2"])
    assert not torch.equal(network.weights[1], before[1])


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("static", [(), (0,)])
def test_hl_kernel_is_its_torch_function(static: tuple[int, ...], dtype: torch.dtype) -> None:
    outputs = []
    for backend in ("eager", "compiled"):
        network = nchl.from_module(small(), (2, 8, 7), rule="hl", static=static, population=3, dtype=dtype, backend=backend)
        network.set_hrules(genomes(network) * 0.1)
        network.reset()
        outputs.append(life(network, 5))
    close = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(outputs[0], outputs[1], rtol=close, atol=close)


def test_hl_and_coevolved_weights() -> None:
    network = nchl.from_module(small(), (2, 8, 7), rule="hl", initial_weights="coevolved")
    count = sum(w.numel() for w in network.weights)
    assert network.nparams == 6 * count
    network.set_hrules(genomes(network))
    network.reset()
    torch.testing.assert_close(network.weights[0], network.layout.unpack(network.genome)["weights0"])
    assert life(network, 5).isfinite().all()


def test_a_rule_of_a_user() -> None:
    def oja(pre: Tensor, post: Tensor, weight: Tensor, eta_post: Tensor) -> Tensor:
        return eta_post * post * (pre - post * weight)

    network = nchl.from_module(small(), (2, 8, 7), rule=oja, population=2)
    assert [b.name for b in network.layout.blocks] == ["conv0", "linear0", "linear1"]
    network.set_hrules(genomes(network))
    assert life(network, 5).isfinite().all()
    with pytest.raises(InvalidArgument, match="termwise"):
        nchl.from_module(small(), (2, 8, 7), rule=oja, termwise=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_biases_are_constants(backend: str) -> None:
    sequential = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 3))
    network = nchl.from_module(sequential, (1, 3, 3), backend=backend)
    sequential[0].weight.data, sequential[2].weight.data = network.weights
    x = torch.rand(1, 3, 3)
    torch.testing.assert_close(network.forward(x), sequential(x[None])[0])
    assert "5 biases" in network.describe()


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.MaxPool2d((3, 2), (1, 3)), nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2)],
    ids=str,
)
def test_pooling_is_that_of_torch(pool: nn.Module) -> None:
    x = torch.randn(4, 2, 9, 8)
    x[0, 0, 3, 3] = torch.nan
    torch.testing.assert_close(conv_ops.pool(pool, x), pool(x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sigmoid_has_the_same_bits_wherever_an_individual_stands(dtype: torch.dtype, backend: str) -> None:
    """`torch.sigmoid` has not: it takes another way at the end of a tensor."""
    modules = [nn.Conv2d(1, 1, 2, bias=False), nn.Sigmoid(), nn.Flatten(), nn.Linear(6, 5, bias=False), nn.Sigmoid(), nn.Linear(5, 1)]
    sequential, people = nn.Sequential(*modules), 61
    x = 4 * torch.randn(3, people, 1, 3, 4, generator=torch.Generator().manual_seed(0))

    def lives(rows: slice) -> list[Tensor]:
        count = len(range(people)[rows])
        network = nchl.from_module(sequential, (1, 3, 4), population=count, dtype=dtype, backend=backend, normalise=None)
        network.set_hrules(torch.randn(people, network.nparams, generator=torch.Generator().manual_seed(1))[rows])
        network.reset(generator=torch.Generator().manual_seed(2))
        return [torch.stack([network.step(each[rows]) for each in x], dim=1), *network.weights]

    whole = lives(slice(None))
    for rows in (slice(0, 1), slice(0, 7), slice(3, 40), slice(20, 25), slice(60, 61), slice(31, 61)):
        for mine, all_of_them in zip(lives(rows), whole, strict=True):
            assert torch.equal(mine, all_of_them[rows])
    given = torch.linspace(-30, 30, 1001, dtype=dtype)
    torch.testing.assert_close(activations.apply(nn.Sigmoid(), given), torch.sigmoid(given), rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_a_state_dict_brings_back_the_middle_of_a_life() -> None:
    network = nchl.from_module(small(), (2, 8, 7), population=2, termwise=True)
    network.set_hrules(genomes(network))
    life(network, 3)
    other = nchl.from_module(small(), (2, 8, 7), population=2, termwise=True)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(life(other, 3, seed=7), life(network, 3, seed=7), rtol=0, atol=0)


def test_a_second_genome_replaces_the_first() -> None:
    network = nchl.from_module(small(), (2, 8, 7), termwise=True)
    weights = [w.clone() for w in network.weights]
    network.set_hrules(genomes(network, 1))
    first = life(network, 3)
    network.set_hrules(genomes(network, 2))
    network.reset(weights)
    assert not torch.allclose(life(network, 3), first)
    network.set_hrules(genomes(network, 1))
    network.reset(weights)
    torch.testing.assert_close(life(network, 3), first, rtol=0, atol=0)


def test_update_before_forward_is_an_error() -> None:
    with pytest.raises(OrderError, match="forward"):
        nchl.from_module(small(), (2, 8, 7)).update()


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x


class ResidualSequential(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Named(nn.Sequential):
    """A subclass that computes what a sequential does."""


@pytest.mark.parametrize(
    ("modules", "shape", "words"),
    [
        ([nn.Conv2d(1, 1, 2), Residual()], (1, 5, 5), "module 1 .Residual"),
        ([Named(nn.Tanh(), ResidualSequential(nn.Tanh()))], (1, 5, 5), r"module 0\.1 .ResidualSequential. has a forward of its own"),
        ([nn.Tanh(), Doubled(1, 1, 2)], (1, 5, 5), "module 1 .Doubled. has a forward of its own, other than that of Conv2d"),
        ([nn.Conv2d(1, 1, 5)], (1, 3, 9), "module 0 .Conv2d.*3 x 9.*5 x 5"),
        ([nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3)], (1, 6, 6), "module 2 .Conv2d.*2 x 2.*3 x 3"),
        ([nn.Conv2d(3, 1, 3)], (1, 6, 6), r"\(3, height, width\), got \(1, 6, 6\)"),
        ([nn.Flatten(), nn.Linear(36, 1)], (1, 6, 7), r"\(36,\), got \(42,\)"),
        ([nn.Linear(6, 1)], (1, 6, 6), "put a Flatten before"),
        ([nn.Conv2d(1, 1, 3), nn.MaxPool2d(5)], (1, 6, 6), r"module 1 .MaxPool2d.*\(1, 4, 4\).*5"),
        ([nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")], (1, 6, 6), "circular"),
        ([nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1, track_running_stats=False)], (1, 6, 6), "track_running_stats"),
        ([nn.Conv2d(1, 3, 3), nn.BatchNorm1d(3)], (1, 6, 6), r"module 1 .BatchNorm1d.: expected \(n,\), got \(3, 4, 4\); use BatchNorm2d"),
        ([nn.Conv2d(1, 3, 3), nn.Flatten(), nn.BatchNorm1d(3)], (1, 6, 6), r"module 2 .BatchNorm1d.: expected 3 channels, got \(48,\)"),
        ([nn.Tanh()], (1, 6, 6), "nothing to learn"),
    ],
)
def test_modules_are_refused_by_name(modules: list[nn.Module], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        nchl.from_module(nn.Sequential(*modules), shape)


def test_a_sequential_with_a_forward_of_its_own_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"the sequential .ResidualSequential. has a forward of its own"):
        nchl.from_module(ResidualSequential(nn.Linear(3, 3)), (3,))
    nchl.from_module(Named(Named(nn.Linear(3, 3))), (3,))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_life_keeps_the_evaluation_statistics_while_others_train(backend: str) -> None:
    sequential = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 2, bias=False), nn.Flatten())
    network = nchl.from_module(sequential, (2, 4, 4), population=3, backend=backend)
    x = torch.rand(3, 2, 4, 4)
    before = network.forward(x)
    nn.ModuleList([network]).train()
    assert network.training
    assert torch.equal(network.forward(x), before)
    network.train()
    assert torch.equal(network.forward(x), before)
    assert torch.equal(network.constants()["0.running_mean"], sequential[0].running_mean)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_behind_a_flatten_is_torchs(backend: str) -> None:
    """The neurons keep the shape of their group, (3, 2, 2), and the module wants 12 of them."""
    norms = nn.BatchNorm1d(16), nn.BatchNorm1d(12)
    for k, norm in enumerate(norms):
        norm.running_mean, norm.running_var = (torch.rand(norm.num_features, generator=torch.Generator().manual_seed(k)) for _ in range(2))
    first = nn.Sequential(nn.Flatten(), norms[0], nn.Linear(16, 2))
    second = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), norms[1], nn.Tanh(), nn.Linear(12, 2))
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    for sequential in (first, second):
        for population in (None, 3):
            network = nchl.from_module(sequential, (1, 4, 4), population=population, backend=backend)
            network.reset([module.weight.detach() for module in sequential if isinstance(module, (nn.Conv2d, nn.Linear))])
            made = network.forward(x if population is None else x.expand(3, *x.shape))
            expected = copy.deepcopy(sequential).eval()(x).detach()
            torch.testing.assert_close(made, expected if population is None else expected.expand(3, -1, -1))


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
def test_overflow_of_one_changes_no_bit_of_the_others() -> None:
    """Nor does a batch, which torch computes, before a step by the kernels."""
    lives = []
    for overflow, batch in ((False, False), (True, False), (False, True)):
        network = nchl.from_module(small(), (2, 8, 7), sharing="mean", termwise=True, population=4, dtype=torch.float32)
        rows = genomes(network)
        rows[1] *= 1e30 if overflow else 1
        network.set_hrules(rows)
        network.reset(generator=torch.Generator().manual_seed(3))
        if batch:
            network.step(torch.rand(4, 2, 2, 8, 7))
            network.reset(generator=torch.Generator().manual_seed(3))
        lives.append(life(network, 2)[:, [0, 2, 3]])
    assert torch.equal(lives[1], lives[0])
    assert torch.equal(lives[2], lives[0])


@pytest.mark.parametrize("active", [[True] * 3, torch.ones(3, 1, dtype=torch.bool), np.ones(5, dtype=bool)], ids=type)
def test_the_active_are_as_many_as_the_individuals(active: object) -> None:
    network = nchl.from_module(small(), (2, 8, 7), population=4)
    with pytest.raises(ShapeError, match=r"active: expected shape \(4,\)"):
        network.step(torch.zeros(4, 2, 8, 7), active)  # type: ignore[arg-type]
    network.step(torch.zeros(4, 2, 8, 7), np.array([True, False] * 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_the_convolution_of_other_devices_is_that_of_the_cpu(device: str) -> None:
    """In full precision, which a GPU's own choice of TF32 has not."""
    x, kernel = torch.rand(3, 2, 4, 9, 8), torch.rand(3, 6, 2, 3, 3)
    geometry = ConvGeometry.make(4, 6, 3, (9, 8), stride=(2, 1), groups=2)
    got = conv_ops._grouped(x.to(device), kernel.to(device), geometry).cpu()
    torch.testing.assert_close(got, conv_ops.convolve(x, kernel, geometry), rtol=1e-6, atol=1e-6)


def test_a_layer_at_two_places_is_refused() -> None:
    layer = nn.Conv2d(2, 2, 3, padding=1)
    with pytest.raises(InvalidArgument, match=r"module 2 \(Conv2d\) is module 0 again"):
        nchl.from_module(nn.Sequential(layer, nn.Tanh(), layer), (2, 5, 5))


@pytest.mark.parametrize("static", [list(np.arange(1)), np.array([0]), torch.tensor([-7]), [0], ["0"]], ids=str)
def test_a_place_of_a_static_layer_may_be_any_whole_number(static: Any) -> None:
    network = nchl.from_module(small(), (2, 8, 7), static=static)
    assert [edge.plastic for edge in network.graph.weighted] == [False, True, True]


def test_options_are_refused_by_name() -> None:
    for static in ([0.0], [None], [1], [9], ["1"]):
        with pytest.raises(UnknownName, match=f"unknown static layer .*'{static[0]}': known are 0, "):
            nchl.from_module(small(), (2, 8, 7), static=static)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean 'median'"):
        nchl.from_module(small(), (2, 8, 7), sharing="medain")
    with pytest.raises(InvalidArgument, match="static: expected a sequence"):
        nchl.from_module(small(), (2, 8, 7), static=0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"input_shape: expected.*got 4"):
        nchl.from_module(small(), 4)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="dtype: expected"):
        nchl.from_module(small(), (2, 8, 7)).half()
    with pytest.raises(InvalidArgument, match="backend"):
        nchl.from_module(small(), (2, 8, 7), backend="fast")
    with pytest.raises(ShapeError, match="16 x 16"):
        carracing((3, 15, 64), 3)
    network = nchl.from_module(small(), (2, 8, 7))
    with pytest.raises(ShapeError, match=r"\(2, 8, 7\).*\(2, 7, 8\)"):
        network.forward(torch.zeros(2, 7, 8))
    with pytest.raises(ShapeError, match=r"\(3, 2, 3, 3\).*\(3, 2, 3, 2\)"):
        network.reset([w[..., :2] if w.ndim == 4 else w for w in network.weights])


def test_without_a_compiler_torch_steps_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nchl.rules.kernels.program.library", lambda: "no C++ compiler")
    network = nchl.from_module(small(), (2, 8, 7))
    assert network.backend == "eager"
    assert "no C++ compiler" in network.notes[0]
    with pytest.raises(InvalidArgument, match="no C\\+\\+ compiler"):
        nchl.from_module(small(), (2, 8, 7), backend="compiled")
