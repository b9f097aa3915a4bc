"""A feed-forward `nn.Sequential` as a plastic network.

The local rule gives a change for each connection of the unrolled network. A kernel element moves by an aggregate of the changes of its
connections. The network is a graph like the others, and no unrolled matrix is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from nchl.networks import initial
from nchl.networks.conv.sequential import graph_of
from nchl.networks.plastic_graph import PlasticGraph
from nchl.rules import Rule, get
from nchl.unroll import Unrolled, unroll


def from_module(
    sequential: nn.Sequential,
    input_shape: Sequence[int],
    sharing: str = "max",
    termwise: bool = False,
    normalise: str | None = "max",
    rule: str | Rule | Callable[..., Any] = "nchl",
    static: Sequence[int | str | nn.Module] = (),
    initial_weights: str = initial.DEFAULT,
    population: int | None = None,
    average: str | None = None,
    every: int = 1,
    trace: float | None = None,
    modulate: str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    biases: str = "constant",
    differentiable: bool = False,
) -> PlasticGraph:
    """A plastic network with the structure of a sequential.

    Initial weights are drawn from the network's own generator: `torch.manual_seed` does not change them (it does change the biases of
    the module). For other weights give `generator=torch.Generator().manual_seed(SEED)`.

    Args:
        sequential: Conv2d, Linear, MaxPool2d, AvgPool2d, Flatten, elementwise activations (see `networks.activations`), BatchNorm (with
            its evaluation statistics) and Dropout (off). Its weights are not used. Its statistics and, unless evolved, its biases are
            constants, see `PlasticNetwork.constants`.
        input_shape: (channels, height, width) of one observation, or (n,).
        sharing: aggregate over the connections of a kernel element: `"max"`, `"min"`, `"median"` or `"mean"`.
        termwise: aggregate each term of the rule separately, which is cheaper (rules `"nchl"` and `"hl"` only).
        normalise: None, `"max"`, `"row"`, `"zscore"` or `"clip:C"`, see `PlasticGraph`.
        rule: `"nchl"`, `"hl"` (a synapse is a kernel element, with five parameters), `"FILE.py:NAME"`, a `Rule` or a function.
        static: weight layers without a rule, by position in the sequential, name, or module; their weights are evolved.
        initial_weights: a name of `nchl.networks.initial`; `"coevolved"` puts the weights at the genome's end.
        population: number of individuals, or None for one without the axis.
        average: as `PlasticGraph`.
        every: as `PlasticGraph`.
        trace: as `PlasticGraph`; the trace of a shared kernel is kept per kernel element.
        modulate: as `PlasticGraph`.
        dtype: torch.float32 or torch.float64; None: that of the module.
        device: of all tensors; None: that of the module.
        generator: CPU generator of the initial weights.
        backend: `"compiled"` for kernels on the CPU (forward; the rule `"nchl"`; `"hl"` of linear layers), `"eager"` for torch alone,
            `"auto"` for compiled if possible.
        biases: `"constant"` keeps the biases of the module; `"evolve"` puts biases at the very end of the genome.
        differentiable: as `PlasticGraph`.

    Raises:
        InvalidArgument: a module that is not supported, or a value out of its range; the message names it.
        ShapeError: a module that does not fit its input.
    """
    graph = graph_of(sequential, input_shape, get(rule), static)
    example = next(module.weight for module in (edge.module for edge in graph.weighted) if isinstance(module, (nn.Conv2d, nn.Linear)))
    return PlasticGraph(
        graph,
        sharing=sharing,
        termwise=termwise,
        normalise=normalise,
        initial_weights=initial_weights,
        population=population,
        average=average,
        every=every,
        trace=trace,
        modulate=modulate,
        differentiable=differentiable,
        dtype=example.dtype if dtype is None else dtype,
        device=example.device if device is None else device,
        generator=generator,
        backend=backend,
        biases=biases,
    )


def unrolled(network: PlasticGraph) -> list[Unrolled]:
    """The unrolled graph of each convolution of a network, with the module's weights."""
    return [
        unroll(edge.module, edge.geometry.input_size)
        for edge in network.graph.weighted
        if isinstance(edge.module, nn.Conv2d) and edge.geometry is not None
    ]
