"""The population step of the built-in NcHL on the CPU by a kernel in C++, `rules/kernels/source/step.cpp`.

It serves graphs of dense edges whose groups have tanh, ReLU or the identity, with every setting of `Plasticity`. It is compiled when
the first network needs it (a few seconds) and kept for later processes. Tests compare it with the torch functions; it is independent
of threads and population as `fused` is. Numbers that are not finite propagate as in the torch functions. Only if finite numbers
overflow, one side may give infinity and the other NaN, and no normalisation makes either finite again.
"""

from __future__ import annotations

import copy
import ctypes
import struct
from array import array
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from nchl.errors import NchlError
from nchl.networks.back_ends.fused import FusedStep
from nchl.networks.graph.lifetime import Waiting
from nchl.networks.graph.step import Parameters
from nchl.networks.graph.structure import Graph
from nchl.networks.plasticity import Plasticity
from nchl.rules import NCHL
from nchl.rules.kernels.build import library

_SYMBOLS = {torch.float32: "step_float", torch.float64: "step_double"}
_NUMBERS = ("A", "B", "C", "D", "eta")
_FUNCTIONS: dict[type[nn.Module] | None, int] = {nn.Tanh: 0, None: 1, nn.ReLU: 2}
_NORMALISE = {None: 0, "max": 1, "row": 2, "zscore": 3, "clip": 4}
_NOTHING, _APPLY, _KEEP, _SETTLE = range(4)
# Offsets in the kernel's struct Plan, in 32-bit numbers: three doubles, then these.
_THREADS, _UPDATE, _FORWARD, _COUNT, _PAST = 9, 10, 11, 14, 16
_LONGEST_PAST = 7  # most steps with changes deferred until the weights move


def serves(graph: Graph, device: torch.device) -> bool:
    """Whether the kernel serves networks with this graph on this device."""
    functions = [type(group.modules[0]) if group.modules else None for group in graph.groups]
    return (
        device.type == "cpu"
        and all(edge.weighted and edge.geometry is None and edge.bias is None for edge in graph.edges)
        and all(edge.rule == NCHL for edge in graph.plastic)
        and bool(graph.plastic)
        and all(len(group.modules) <= 1 for group in graph.groups)
        and functions[0] is None
        and all(function in _FUNCTIONS for function in functions)
    )


class KernelStep(FusedStep):
    """The step by the kernel; tensors of inactive individuals are not touched.

    Args:
        graph: groups and edges; see `serves`.
        plasticity: averages, trace, modulation and normalisation.
        state: the collection of `graph.step`; changed in place.
        parameters: the rule's parameters.

    Raises:
        NchlError: the kernel could not be compiled.
    """

    def __init__(self, graph: Graph, plasticity: Plasticity, state: Mapping[str, Tensor], parameters: Parameters) -> None:
        found = library("step")
        if isinstance(found, str):
            raise NchlError(f"the kernel of the step cannot be built: {found}")
        self.observed = state["activations_0"]
        self._graph, self._state, self._parameters = graph, state, parameters
        self._outputs = graph.groups[-1].shape
        people = len(self.observed)
        numbers = [group.size for group in graph.groups]
        numbers += [_FUNCTIONS[type(group.modules[0]) if group.modules else None] for group in graph.groups]
        for edge in graph.edges:
            numbers += [edge.pre, edge.post, edge.delay, edge.plastic]
        head = struct.pack("=3d", plasticity.alpha, plasticity.trace or 0.0, plasticity.limit)
        kind = _NORMALISE[plasticity.normalise]
        self._plan = array("i", head)
        self._capacity = min(plasticity.every - 1, _LONGEST_PAST) if plasticity.trace is not None else 0
        self._past = 0  # steps that are not in the traces yet
        self._plan.extend(
            [len(graph.groups), len(graph.edges), people, 1, 0, 0, kind, plasticity.window, 1, self._capacity, 0, 0, *numbers]
        )
        self._tensors = self._in_order()
        self._table = self._addresses()

    def __call__(self, x: Tensor, waiting: Waiting, count: int, active: Tensor | None) -> Tensor:
        """See `FusedStep`; rows of inactive individuals are zeros."""
        y = x.new_empty((len(x), *self._outputs))
        self._do(waiting, x.contiguous(), y, max(count, 1), active)
        return y

    def update(self, waiting: Waiting, rows: Tensor | None = None) -> bool:
        """See `FusedStep`; always by the kernel, because the torch functions would round differently."""
        if rows is None:
            self._do(waiting)
        elif waiting.applies:  # the lifetime of these rows ends here: their traces are no longer needed
            self._call(_APPLY, waiting.gain, None, None, 1, rows)
        return True

    def settle(self) -> None:
        """See `FusedStep`."""
        if self._past:
            self._call(_SETTLE, None, None, None, 1, None)
            self._past = 0

    def begin(self) -> None:
        """See `FusedStep`."""
        self._past = 0

    def _do(self, waiting: Waiting, x: Tensor | None = None, y: Tensor | None = None, count: int = 1, active: Tensor | None = None) -> None:
        """The waiting update, and a forward pass if `x` is given. An update of traces alone is deferred: see `step.cpp`."""
        update = _APPLY if waiting.applies else _KEEP if waiting.keeps else _NOTHING
        if update == _KEEP and self._past == self._capacity:
            self.settle()
        self._call(update, waiting.gain, x, y, count, active)
        if update == _KEEP:
            self._past += 1
        elif update == _APPLY:
            self._past = 0

    def _call(self, update: int, gain: Tensor | None, x: Tensor | None, y: Tensor | None, count: int, active: Tensor | None) -> None:
        # Few and small objects: the kernel has filled the caches, and the interpreter's data has been evicted from them.
        chosen = None if active is None else active.to("cpu", torch.bool).contiguous()
        plan, first = self._plan, self._table.buffer_info()[0]
        plan[_THREADS], plan[_UPDATE], plan[_FORWARD] = torch.get_num_threads(), update, x is not None
        plan[_COUNT], plan[_PAST] = count, self._past
        _symbol(self.observed.dtype)(
            plan.buffer_info()[0],
            None if chosen is None else chosen.data_ptr(),
            first,
            first + 16 * len(self._graph.edges),
            None if gain is None else gain.data_ptr(),
            None if x is None else x.data_ptr(),
            None if y is None else y.data_ptr(),
        )

    def _in_order(self) -> list[Tensor | None]:
        """The tensors of the kernel's table: weight and trace of each edge, then the tensors of each group."""
        state, found = self._state, list[Tensor | None]()
        for edge in self._graph.edges:
            found += [state[f"weights_{edge.index}"], state.get(f"trace_{edge.index}")]
        for g in range(len(self._graph.groups)):
            activation = state[f"activations_{g}"]
            found += [activation, state.get(f"seen_{g}", activation), state.get(f"before_{g}"), state.get(f"history_{g}")]
            for key in ("activations", "before"):
                kept = self._capacity and f"{key}_{g}" in state and g in self._parameters.neurons
                found.append(activation.new_zeros(len(activation), self._capacity, activation[0].numel()) if kept else None)
            found.append(self._parameters.neurons.get(g))
        assert all(t.is_contiguous() for t in found if t is not None)
        return found

    def _addresses(self) -> array[int]:
        """The kernel's table of addresses: weight and trace of each edge, then tensors and parameters of each group."""
        found = [0 if t is None else t.data_ptr() for t in self._tensors]
        edges = 2 * len(self._graph.edges)
        table = array("q", found[:edges])
        for g in range(len(self._graph.groups)):
            *own, numbers = found[edges + 7 * g : edges + 7 * g + 7]
            table.extend([*own, *self._group(g, numbers)])
        return table

    def __deepcopy__(self, memo: dict[int, Any]) -> KernelStep:
        """With the addresses of the copied tensors."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        vars(made).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        made._table = made._addresses()
        return made

    def _group(self, g: int, start: int) -> list[int]:
        """Addresses of the first individual's A, B, C, D and eta (0 for none), and the count of parameters per individual."""
        group = self._graph.groups[g]
        step = group.size * self.observed.element_size()
        return [
            *(start + group.parameters.index(n) * step if n in group.parameters else 0 for n in _NUMBERS),
            len(group.parameters) * group.size,
        ]


@lru_cache
def _symbol(dtype: torch.dtype) -> Any:
    function = getattr(library("step"), _SYMBOLS[dtype])
    function.restype, function.argtypes = None, [ctypes.c_void_p] * 7
    return function
