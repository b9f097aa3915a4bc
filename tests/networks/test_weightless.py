from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import nchl
from nchl.errors import InvalidArgument, OrderError, ShapeError
from reference.mlp import wnchl_life

GOLDEN = [f"wnchl_{size}_window{window}" for size in ("small", "deep") for window in (1, 4, 40)]


def random(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


@pytest.mark.parametrize("population", [None, 3])
@pytest.mark.parametrize("name", GOLDEN)
def test_reference_vectors(golden: Path, name: str, population: int | None):
    g = np.load(golden / f"{name}.npz")
    for dtype, tolerance in ((torch.float64, 1e-12 if population is None else 1e-11), (torch.float32, 1e-5)):
        net = nchl.WNcHL(g["nodes"].tolist(), window=int(g["window"]), population=population, dtype=dtype)
        net.set_hrules(g["rules"] if population is None else np.stack([g["rules"] * 0.1, g["rules"], -g["rules"]]))
        for x, expected in zip(g["inputs"], g["outputs"], strict=True):
            y = net.step(torch.as_tensor(x))
            np.testing.assert_allclose(y if population is None else y[1], expected, rtol=0, atol=tolerance)


@given(nodes=st.lists(st.integers(1, 4), min_size=2, max_size=4), window=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_equal_to_summing_matrices_in_plain_loops(nodes, window, seed):
    net = nchl.WNcHL(nodes, window=window, dtype=torch.float64)
    genome, inputs = random(net.nparams, seed=seed), random(7, nodes[0], seed=seed + 1)
    net.set_hrules(genome)
    expected = wnchl_life(nodes, genome.tolist(), window, inputs.tolist())
    np.testing.assert_allclose(torch.stack([net.step(x) for x in inputs]), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("population", [None, 4])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_a_window_as_long_as_the_life_is_nchl_from_zero_weights(population, batch):
    lead, steps = () if population is None else (population,), 6
    weightless = nchl.WNcHL([3, 5, 2], window=steps, population=population, dtype=torch.float64)
    plain = nchl.NcHL([3, 5, 2], population=population, initial_weights="zeros", dtype=torch.float64)
    genome = random(*lead, plain.nparams, scale=0.5)
    for net in (weightless, plain):
        net.set_hrules(genome)
    for t in range(steps):
        x = random(*lead, *batch, 3, seed=t)
        torch.testing.assert_close(weightless.step(x), plain.step(x), rtol=0, atol=1e-12)
        for mine, expected in zip(weightless.weights, plain.weights, strict=True):
            torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


def test_the_first_output_is_zero():
    net = nchl.WNcHL([3, 4, 2], window=2)
    net.set_hrules(random(net.nparams))
    assert not net.step(torch.ones(3)).any()
    net.step(torch.ones(3))
    net.reset()
    assert not net.step(torch.ones(3)).any()


@pytest.mark.parametrize("worst", [float("inf"), float("nan"), 3e38])
@pytest.mark.parametrize("lead", [(3,), (4, 3)])
def test_the_first_output_is_zero_whatever_it_sees(lead, worst):
    net = nchl.WNcHL([3, 4, 2], window=2)
    net.set_hrules(random(net.nparams))
    assert torch.equal(net.step(torch.full(lead, worst)), torch.zeros(*lead[:-1], 2))


def test_state_dict_round_trip():
    net, copy = (nchl.WNcHL([3, 4, 2], window=3, population=2) for _ in range(2))
    net.set_hrules(random(2, net.nparams))
    for t in range(5):
        net.step(random(2, 3, seed=t))
    copy.load_state_dict(load_tensors(save_tensors(net.state_dict())))
    for t in range(5):
        assert torch.equal(net.step(random(2, 3, seed=t)), copy.step(random(2, 3, seed=t)))


@pytest.mark.parametrize("others", [2, 20])
def test_a_state_with_another_window_is_refused(others):
    net, other = (nchl.WNcHL([3, 4, 2], window=window) for window in (5, others))
    net.step(torch.zeros(3))
    with pytest.raises(RuntimeError, match=f"window of 5 steps, this network one of {others}"):
        other.load_state_dict(net.state_dict())


def test_what_has_no_meaning_is_refused():
    for keywords in ({"initial_weights": "uniform"}, {"normalise": "max"}, {"rule": "nchl"}):
        with pytest.raises(InvalidArgument, match="does not apply"):
            nchl.WNcHL([3, 2], **keywords)
    for window in (0, -1):
        with pytest.raises(InvalidArgument, match="at least 1"):
            nchl.WNcHL([3, 2], window=window)
    net = nchl.WNcHL([3, 2])
    with pytest.raises(InvalidArgument, match="no initial weights"):
        net.reset([torch.zeros(2, 3)])
    with pytest.raises(OrderError):
        net.update()
    net.step(torch.zeros(4, 3))
    with pytest.raises(ShapeError, match="batch of 4"):
        net.step(torch.zeros(2, 3))


def test_memory_follows_neurons_not_weights():
    net = nchl.WNcHL([512, 512], window=16)
    net.step(torch.zeros(512))
    held = sum(buffer.numel() for buffer in net.buffers())
    assert held < 512 * 512 / 8


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(each.numel() for each in tree_leaves(made) if isinstance(each, torch.Tensor))])
        return made


@pytest.mark.parametrize("window", [2, 6])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_exactly_those_are_finite_whose_weights_are(batch: tuple[int, ...], window: int):
    """Parameters from tiny to the largest numbers, observations that are not finite, steps that a lesion has dropped."""
    for seed in range(30):
        net = nchl.WNcHL([3, 4, 2], window=window, population=8)
        powers = torch.tensor([0, 0, 9, 12, 18, 19, 30, 37])[:, None] * random(8, net.nparams, seed=seed).sign()
        net.set_hrules(random(8, net.nparams, seed=seed).mul(10.0**powers).clamp(-3e38, 3e38))
        assert net.finite(torch.arange(8)).all()
        for t in range(4):
            x = random(8, *batch, 3, seed=10 * seed + t)
            x[1, ..., seed % 3] = [1.0, float("nan"), float("inf"), 1e38][seed % 4]
            net.step(x)
            if seed % 5 == 0 and t == 1:
                net.drop_steps([0, 1, 6], [[True] + [False] * (window - 1)] * 3)
        expected = nchl.PlasticNetwork.finite(net, torch.arange(8))
        assert torch.equal(net.finite(torch.arange(8)), expected)
        some = torch.tensor([5, 1, 0])
        assert torch.equal(net.finite(some), expected[some])
        assert expected[0]
        if seed % 4 in (1, 2):
            assert not expected[1]
    assert not expected[-1]


def test_a_single_network_and_a_state_that_was_loaded_are_looked_at_too():
    net, copy = (nchl.WNcHL([3, 4, 2], window=3) for _ in range(2))
    net.set_hrules(random(net.nparams))
    net.step(torch.ones(3))
    assert net.finite(torch.tensor([0])).tolist() == [True]
    net.step(torch.tensor([0.0, float("inf"), 0.0]))
    copy.load_state_dict(net.state_dict())
    assert net.finite(torch.tensor([0])).tolist() == copy.finite(torch.tensor([0])).tolist() == [False]


def test_to_look_at_some_individuals_makes_no_weights_of_the_others():
    net = nchl.WNcHL([256, 256], window=4, population=16)
    net.set_hrules(random(16, net.nparams))
    x = random(16, 256)
    x[5, 0] = float("nan")
    net.step(x)
    with Largest() as largest:
        assert net.finite(torch.tensor([3, 7])).tolist() == [True, True]
    assert largest.numbers < 256 * 256
    with Largest() as largest:
        assert net.finite(torch.tensor([7, 5])).tolist() == [True, False]
    assert largest.numbers == 256 * 256
