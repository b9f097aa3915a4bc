"""Unrolled convolutions against torch's own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl.errors import InvalidArgument, ShapeError
from nchl.networks.conv.presets import carracing
from nchl.rules.convolution.geometry import taps


def random_conv(seed: int) -> tuple[nn.Conv2d, tuple[int, int]]:
    rng = np.random.default_rng(seed)
    pick = lambda low, high: int(rng.integers(low, high))  # noqa: E731
    groups = pick(1, 4)
    kernel, dilation = (pick(1, 5), pick(1, 5)), (pick(1, 4), pick(1, 4))
    padding: tuple[int, int] | str = (pick(0, 4), pick(0, 4))
    stride = (pick(1, 4), pick(1, 4))
    if rng.random() < 0.2:
        padding, stride = "same", (1, 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = (reach[0] + pick(0, 6), reach[1] + pick(0, 9))
    conv = nn.Conv2d(groups * pick(1, 4), groups * pick(1, 4), kernel, stride, padding, dilation, groups, bias=False, dtype=torch.float64)
    return conv, size


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("seed", range(150))
def test_product_is_the_convolution(seed: int) -> None:
    conv, size = random_conv(seed)
    x = torch.randn(conv.in_channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        wanted = conv(x[None])[0]
    unrolled = nchl.unroll(conv, size)
    assert unrolled.geometry.output_shape == tuple(wanted.shape)
    torch.testing.assert_close(unrolled.weight @ x.flatten(), wanted.flatten(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(unrolled.weight.values(), conv.weight.detach().flatten()[unrolled.kernel_index], rtol=0, atol=0)
    rows, columns = unrolled.weight.indices()
    order = rows * unrolled.weight.shape[1] + columns
    assert bool((order.diff() > 0).all()), "ordered, and no connection twice"
    assert unrolled.connections == unrolled.geometry.connections


def test_equal_to_the_reference_vectors(golden: Path) -> None:
    files = sorted(golden.glob("conv_*.npz"))
    assert len(files) == 4
    for file in files:
        g = np.load(file)
        channels, outputs, k, h, w, stride, padding = (int(n) for n in g["shape"])
        conv = nn.Conv2d(channels, outputs, k, stride, padding, bias=False, dtype=torch.float64)
        conv.weight.data = torch.as_tensor(g["kernel"])
        np.testing.assert_allclose(nchl.unroll(conv, (h, w)).to_dense(), g["unrolled"], atol=1e-12)


def test_carracing_in_under_a_second() -> None:
    start = time.process_time()
    first = nchl.unroll(carracing((3, 64, 64), 3)[0], 64)
    second = nchl.unroll(carracing((3, 64, 64), 3)[3], 31)
    assert time.process_time() - start < 1
    assert (first.connections, second.connections) == (622_728, 235_200)
    assert first.neurons == (12_288, 23_064)
    with pytest.raises(InvalidArgument, match="622,728"):
        first.to_networkx()


def test_graph_of_a_small_layer() -> None:
    networkx = pytest.importorskip("networkx")
    conv = nn.Conv2d(1, 2, 2, bias=False)
    graph = nchl.unroll(conv, (3, 3)).to_networkx()
    assert networkx.is_bipartite(graph)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (9 + 8, 8 * 4)
    edge = graph.edges[("in", 0, 2, 1), ("out", 1, 1, 0)]
    assert edge["kernel_index"] == 4 + 3
    assert edge["weight"] == conv.weight[1, 0, 1, 1].item()


def test_drawing_returns_the_axes() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ax = figure.add_subplot()
    assert nchl.unroll(nn.Conv2d(1, 1, 2), (3, 3)).draw(ax) is ax
    assert "16 connections share 4" in ax.get_title()


def test_refusals_name_the_reason() -> None:
    with pytest.raises(InvalidArgument, match="padding_mode='reflect'"):
        nchl.unroll(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), 5)
    with pytest.raises(InvalidArgument, match="ConvTranspose2d"):
        nchl.unroll(nn.ConvTranspose2d(1, 1, 3), 5)
    with pytest.raises(ShapeError, match=r"2 x 7.*3 x 3"):
        nchl.unroll(nn.Conv2d(1, 1, 3), (2, 7))
    with pytest.raises(InvalidArgument, match="input_size"):
        nchl.unroll(nn.Conv2d(1, 1, 3), (2, 7, 1))
    with pytest.raises(InvalidArgument, match="input_size must be an integer"):
        nchl.unroll(nn.Conv2d(1, 1, 3), 7.0)  # type: ignore[arg-type]
    assert nchl.unroll(nn.Conv2d(1, 1, 3), (np.int64(7),) * 2).geometry.input_size == (7, 7)


def test_graphs_can_be_compared_and_kept_in_sets() -> None:
    graph, other = (nchl.unroll(nn.Conv2d(1, 1, 2), 3) for _ in range(2))
    assert graph == graph != other
    assert len({graph, other, graph}) == 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_a_graph_is_where_its_convolution_is(device: str) -> None:
    conv = nn.Conv2d(1, 2, 2).to(device)
    with torch.device("meta"):  # whatever device a user has made the default one
        taps.cache_clear()
        graph = nchl.unroll(conv, (3, 4))
    assert {graph.weight.device.type, graph.kernel_index.device.type} == {device}
    assert graph.to_dense().count_nonzero() == graph.connections == 48


def test_the_module_can_be_called_after_a_plain_import() -> None:
    import nchl.unroll as module

    assert module(nn.Conv2d(1, 1, 2), 3).connections == 16
