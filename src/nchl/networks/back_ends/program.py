"""The step of a graph with convolutions by the kernels of `nchl.rules.kernels`: forward and update of an individual in one call.

The data of one individual stays in a processor's cache from the convolution to its update. Between two calls, torch computes the
operations without a kernel (average pooling, BatchNorm, most activations, sums over several edges, other rules, traces, modulation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nchl.networks import activations
from nchl.networks.graph import operations
from nchl.networks.graph.step import Parameters, seen
from nchl.networks.graph.structure import Graph, GraphEdge
from nchl.networks.graph.updates import EdgeUpdates
from nchl.networks.plasticity import Plasticity
from nchl.rules import ABCD, NCHL
from nchl.rules.convolution.geometry import ConvGeometry, pair
from nchl.rules.kernels.program import Program

Part = Program | Callable[[], object]


class ProgramStep:
    """The programs of one network, written on first use and again when the addresses of its tensors have changed.

    Args:
        graph: groups and edges, none with a delay.
        modules: elementwise modules of each group.
        plasticity: there are kernels only for updates without trace and modulation.
        updates: the updates of edges by torch.
    """

    def __init__(self, graph: Graph, modules: Sequence[Sequence[nn.Module]], plasticity: Plasticity, updates: EdgeUpdates) -> None:
        self._graph, self._modules, self._plasticity, self._updates = graph, modules, plasticity, updates
        self._written: dict[tuple[bool, bool], tuple[list[int], list[Part]]] = {}
        self._columns: dict[int, dict[str, Tensor]] = {}
        self._synapses: dict[int, dict[str, Tensor]] = {}
        self._still: dict[int, tuple[Tensor, Tensor]] = {}

    def run(
        self,
        state: Mapping[str, Tensor],
        biases: Mapping[int, Tensor],
        parameters: Parameters,
        x: Float[Tensor, "individuals batch *observation"] | None,
        *,
        update: bool,
        active: Bool[Tensor, " individuals"] | None = None,
    ) -> None:
        """A forward pass, an update, or both, in place.

        Args:
            state: the collection of `graph.step`.
            biases: by the index of their edge.
            parameters: the rules' parameters.
            x: contiguous observations for the forward pass; None: no forward pass.
            update: whether the weights are updated afterwards.
            active: individuals to compute; None: all.
        """
        parts = self._parts(state, biases, parameters, x, update)
        if x is not None:
            cast("Program", parts[0]).redirect(x)
        for part in parts:
            if isinstance(part, Program):
                part.run(active)
            else:
                part()

    def _move(
        self, edge: GraphEdge, rows: Bool[Tensor, " individuals"] | None, state: Mapping[str, Tensor], parameters: Parameters
    ) -> None:
        """Update an edge by torch: all individuals, or the rows that a kernel has left because they could overflow."""
        if rows is not None and not bool(rows.any()):
            return
        weight, pre, post = state[f"weights_{edge.index}"], seen(state, edge.pre), seen(state, edge.post)
        # The constant terms are those that the kernels computed for their other steps of these rows.
        constant = None if edge.index not in self._still else {edge.index: self._still[edge.index]}
        if rows is not None:
            parameters, pre, post = parameters.of_rows(rows), pre[rows], post[rows]
            constant = None if constant is None else {k: (a[rows], b[rows]) for k, (a, b) in constant.items()}
        change = self._updates.change(parameters, None, whole=rows is None, constant=constant)
        moved = weight if rows is None else weight[rows]
        moved = operations.normalised(moved + change(edge, pre, post, moved, {})[0], self._plasticity)
        if rows is None:
            weight.copy_(moved)
        else:
            weight[rows] = moved
            rows.zero_()

    def _parts(
        self, state: Mapping[str, Tensor], biases: Mapping[int, Tensor], parameters: Parameters, x: Tensor | None, update: bool
    ) -> list[Part]:
        shape = state["activations_0"].shape[:2]
        addresses = [id(parameters), *shape, *(tensor.data_ptr() for tensor in state.values())]
        kind = x is not None, update
        if kind not in self._written or self._written[kind][0] != addresses:
            with torch.inference_mode(False):  # the kept tensors outlive an inference mode
                self._written[kind] = addresses, list(self._write(state, biases, parameters, x, update))
        return self._written[kind][1]

    def _write(
        self, state: Mapping[str, Tensor], biases: Mapping[int, Tensor], parameters: Parameters, x: Tensor | None, update: bool
    ) -> Iterator[Part]:
        """The parts in order; adjacent instructions form one program."""
        individuals, batch = state["activations_0"].shape[:2]
        program = Program(individuals, batch)
        moves: list[Part] = []
        if x is not None:
            program.copy(x, state["activations_0"])
            for g in range(len(self._graph.groups)):
                target = state[f"activations_{g}"]
                for n, edge in enumerate(self._graph.incoming[g]):
                    made = target if n == 0 else torch.zeros_like(target)
                    source = state[f"activations_{edge.pre}"]
                    if edge.weighted:
                        given = (source, state[f"weights_{edge.index}"], biases.get(edge.index), made)
                        if edge.geometry is None:
                            program.multiply(*given)
                        else:
                            program.convolve(edge.geometry, *given)
                    elif n == 0 and (window := _window(edge.module, self._graph.groups[edge.pre].shape)) is not None:
                        program.pool(window, source, target)
                    else:
                        assert edge.module is not None
                        yield program
                        program = Program(individuals, batch)
                        yield partial(_pool, edge.module, source, made)
                    if n:
                        yield program
                        program = Program(individuals, batch)
                        yield partial(target.add_, made)
                for module in self._modules[g]:
                    if type(module) is nn.Tanh:
                        program.tanh(target)
                    elif type(module) is nn.ReLU:
                        program.relu(target)
                    else:
                        yield program
                        program = Program(individuals, batch)
                        yield partial(_apply, module, target)
        if update:
            for edge in self._graph.plastic:
                overflow = None
                if batch == 1 and self._has_kernel(edge):
                    overflow = self._write_update(program, edge, state, parameters)
                    if overflow is None:
                        continue
                moves.append(partial(self._move, edge, overflow, state, parameters))
        yield program
        yield from moves

    def _has_kernel(self, edge: GraphEdge) -> bool:
        """Whether there is a kernel for this update: NcHL, or HL of a dense edge, without normalisation or with `"max"`."""
        known = edge.rule == NCHL or (edge.rule == ABCD and edge.geometry is None)
        return known and self._plasticity.normalise in (None, "max")

    def _write_update(
        self, program: Program, edge: GraphEdge, state: Mapping[str, Tensor], parameters: Parameters
    ) -> Bool[Tensor, " individuals"] | None:
        """Append an edge's update to a program; for a convolution, returns the mask of individuals that a run leaves to torch."""
        pre, post, weight = seen(state, edge.pre), seen(state, edge.post), state[f"weights_{edge.index}"]
        normalise = self._plasticity.normalise == "max"
        if edge.rule == ABCD:
            named = {name: tensor.contiguous() for name, tensor in parameters.of_synapses(edge).items()}
            program.move_synaptic(pre, post, self._synapses.setdefault(edge.index, named), weight, normalise=normalise)
            return None
        before, after = self._of(edge.pre, parameters), self._of(edge.post, parameters)
        if edge.geometry is None:
            program.move_linear(pre, post, before, after, weight, normalise=normalise)
            return None
        still = self._still_terms(edge, parameters) if self._updates.termwise else None
        return program.move_conv(edge.geometry, self._updates.sharing, pre, post, before, after, weight, still, normalise=normalise)

    def _of(self, g: int, parameters: Parameters) -> dict[str, Tensor]:
        """The parameters of a group's neurons by name, contiguous for the kernels."""
        if g not in self._columns:
            shape = self._graph.groups[g].shape
            named = parameters.of_neurons(self._graph, g)
            self._columns[g] = {name: tensor.reshape(-1, *shape).contiguous() for name, tensor in named.items()}
        return self._columns[g]

    def _still_terms(self, edge: GraphEdge, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The aggregates of D and eta of a convolution, which are constant in an episode, computed once by the kernels."""
        if edge.index in self._still:
            return self._still[edge.index]
        assert edge.geometry is not None
        before, after = self._of(edge.pre, parameters), self._of(edge.post, parameters)
        like = before["D"]
        still = (like.new_empty(len(like), *edge.shape), like.new_empty(len(like), *edge.shape))
        program = Program(len(like))
        rows = program.still_terms(edge.geometry, self._updates.sharing, before, after, still)
        program.run()
        if bool(rows.any()):
            named = self._updates.by_name(edge, parameters.of_rows(rows))
            for mine, repaired in zip(still, self._updates.shared(edge).constant_terms(named), strict=True):
                mine[rows] = repaired
        self._still[edge.index] = still
        return still


def _apply(module: nn.Module, a: Tensor) -> None:
    """An elementwise module, in place."""
    a.copy_(activations.apply(module, a))


def _pool(module: nn.Module, source: Tensor, target: Tensor) -> None:
    target.copy_(operations.pool(module, source.flatten(0, 1)).unflatten(0, source.shape[:2]))


def _window(module: nn.Module | None, shape: tuple[int, ...]) -> ConvGeometry | None:
    """The geometry of a max pooling for the kernels; None for another module."""
    if not isinstance(module, nn.MaxPool2d) or module.ceil_mode:
        return None
    if pair(module.padding, "padding") != (0, 0) or pair(module.dilation, "dilation") != (1, 1):
        return None
    channels, height, width = shape
    return ConvGeometry.make(channels, channels, module.kernel_size, (height, width), stride=cast(Any, module.stride), groups=channels)
