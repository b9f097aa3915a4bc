"""A convolution over an input of known size is a sparse linear layer whose connections share the kernel's elements.

    unroll(conv, size).weight @ x.flatten() == conv(x).flatten()   (without the bias)

Built from index arithmetic: time and memory grow with the number of connections. Only `to_dense`, for showing and for tests of
small layers, makes the full matrix.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nchl.errors import InvalidArgument, require
from nchl.rules.convolution.geometry import ConvGeometry, Pair, taps

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes

# Limit of graphs of Python objects and of drawings.
_SHOWABLE = 100_000


@dataclass(frozen=True, eq=False)  # == of tensors is not one bool
class Unrolled:
    """The bipartite graph of a convolution: input neurons (c, y, x) to output neurons (o, y, x), both counted in C order.

    Attributes:
        geometry: sizes of the convolution and its input.
        weight: sparse COO `(outputs, inputs)`, coalesced; every connection is stored, also one whose weight is 0.
        kernel_index: for each connection, in the order of `weight.values()`, the kernel element (flat, C order) that it shares.
    """

    geometry: ConvGeometry
    weight: Float[Tensor, "outputs inputs"]
    kernel_index: Int[Tensor, " connections"]

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self.kernel_index)

    @property
    def neurons(self) -> tuple[int, int]:
        """Numbers of (input, output) neurons."""
        return self.weight.shape[1], self.weight.shape[0]

    def to_dense(self) -> Float[Tensor, "outputs inputs"]:
        """The full matrix, zeros where there is no connection."""
        return self.weight.to_dense()

    def to_networkx(self) -> networkx.DiGraph:
        """The graph with nodes `("in", c, y, x)` and `("out", o, y, x)`; edges carry `weight` and `kernel_index`.

        Raises:
            InvalidArgument: more than 100,000 connections.
            MissingExtra: networkx is not installed.
        """
        self._refuse_large("a networkx graph")
        graph = require("networkx", "report").DiGraph()
        graph.add_nodes_from((("in", *place) for place in _places(self.geometry.input_shape)), layer=0)
        graph.add_nodes_from((("out", *place) for place in _places(self.geometry.output_shape)), layer=1)
        sources, targets = _places(self.geometry.input_shape), _places(self.geometry.output_shape)
        rows, columns = self.weight.indices().tolist()
        for row, column, value, element in zip(rows, columns, self.weight.values().tolist(), self.kernel_index.tolist(), strict=True):
            graph.add_edge(("in", *sources[column]), ("out", *targets[row]), weight=value, kernel_index=element)
        return graph

    def draw(self, ax: Axes | None = None) -> Axes:
        """Draw the connections, inputs below and outputs above, one colour per kernel element.

        Args:
            ax: where to draw; None makes a figure.

        Returns:
            The axes drawn on.

        Raises:
            InvalidArgument: more than 100,000 connections.
            MissingExtra: matplotlib is not installed.
        """
        self._refuse_large("a drawing")
        collections = require("matplotlib.collections", "report")
        if ax is None:
            ax = require("matplotlib.pyplot", "report").figure().add_subplot()
        assert ax is not None
        inputs, outputs = self.neurons
        rows, columns = self.weight.indices().cpu().double()
        x = torch.stack([(columns + 0.5) / inputs, (rows + 0.5) / outputs], dim=1)
        segments = torch.stack([x, torch.tensor([0.0, 1.0], dtype=x.dtype, device="cpu").expand_as(x)], dim=2)
        lines = collections.LineCollection(segments.numpy(), array=self.kernel_index.cpu().numpy(), cmap="turbo", linewidths=0.6, alpha=0.7)
        ax.add_collection(lines)
        for count, height in ((inputs, 0.0), (outputs, 1.0)):
            ax.scatter([(i + 0.5) / count for i in range(count)], [height] * count, s=8, color="black", zorder=2)
        ax.set(xticks=[], yticks=[0, 1], yticklabels=[f"{inputs} inputs", f"{outputs} outputs"])
        ax.set_title(f"{self.connections:,} connections share {torch.Size(self.geometry.kernel_shape).numel():,} kernel elements")
        return ax

    def __repr__(self) -> str:
        inputs, outputs = self.neurons
        return f"Unrolled({inputs:,} -> {outputs:,} neurons, {self.connections:,} connections, kernel {self.geometry.kernel_shape})"

    def _refuse_large(self, what: str) -> None:
        if self.connections > _SHOWABLE:
            raise InvalidArgument(
                f"{what} is for small layers, up to {_SHOWABLE:,} connections; this one has {self.connections:,}: use .weight"
            )


def unroll(conv: nn.Conv2d, input_size: Pair) -> Unrolled:
    """Unroll a convolution over an input of known size; the graph is on the device of its weight.

    Args:
        conv: any stride, dilation, groups, and padding by zeros. Its bias is no connection and is left out.
        input_size: (height, width) of the input, or one number for both.

    Raises:
        InvalidArgument: not a `Conv2d`, or a padding mode other than zeros.
        ShapeError: the input is smaller than the kernel.
    """
    geometry = ConvGeometry.of(conv, input_size)
    rows, columns, elements = connections(geometry)
    size = (torch.Size(geometry.output_shape).numel(), torch.Size(geometry.input_shape).numel())
    there = conv.weight.device
    places, elements = torch.stack([rows, columns]).to(there), elements.to(there)
    values = conv.weight.detach().flatten()[elements]
    weight = torch.sparse_coo_tensor(places, values, size, device=there, is_coalesced=True, check_invariants=False)
    return Unrolled(geometry, weight, elements)


def connections(geometry: ConvGeometry) -> tuple[Int[Tensor, " connections"], Int[Tensor, " connections"], Int[Tensor, " connections"]]:
    """(output neuron, input neuron, kernel element) of every connection, ordered by output and then by input neuron."""
    index, valid = taps(geometry)
    outputs, group_channels, height, width = geometry.kernel_shape
    plane_in, plane_out = geometry.input_size[0] * geometry.input_size[1], valid.shape[1]
    # (position, channel in group, tap): per position the inputs rise with channel and tap, so no sorting is needed.
    position, channel, tap = valid.T[:, None, :].expand(plane_out, group_channels, height * width).nonzero(as_tuple=True)
    output = torch.arange(outputs, device="cpu")[:, None]
    first_channel = output // (outputs // geometry.groups) * group_channels
    rows = output * plane_out + position
    columns = (first_channel + channel) * plane_in + index[tap, position]
    elements = (output * group_channels + channel) * (height * width) + tap
    return rows.flatten(), columns.flatten(), elements.flatten()


def _places(shape: tuple[int, int, int]) -> list[tuple[Any, ...]]:
    return [tuple(place) for place in torch.cartesian_prod(*(torch.arange(n, device="cpu") for n in shape)).tolist()]


class _CallableModule(ModuleType):
    """`import nchl.unroll` puts the module where users expect the function `nchl.unroll`; so the module can be called as well."""

    __call__ = staticmethod(unroll)


sys.modules[__name__].__class__ = _CallableModule
