"""The population step of the built-in NcHL on the CPU: a kernel in C++, `rules/kernels/step.cpp`, held to the torch functions by tests.

    W(t) = normalise(W(t-1) + dW(t-1)),    a(t) = tanh(W(t) a_pre(t)),    layer by layer, one individual after the other

It is compiled when the first network needs it (a few seconds) and kept for later processes. What `step` promises, it promises
too: an individual's numbers do not depend on threads, on the population or on its place in it. Numbers that are not finite
spread as in the torch functions; only where finite numbers overflow may one side say infinity and the other NaN.
"""

from __future__ import annotations

import ctypes
from array import array
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nchl.errors import NchlError
from nchl.networks.step import FusedStep
from nchl.rules import NCHL, Rule
from nchl.rules.kernels.build import library

_FUNCTIONS = {torch.float32: "step_float", torch.float64: "step_double"}
_NUMBERS = ("A", "B", "C", "D", "eta")


def serves(rule: Rule, device: torch.device) -> bool:
    """Whether the kernel is the step of networks with this rule on this device."""
    return rule == NCHL and device.type == "cpu"


class KernelStep(FusedStep):
    """A network's tensors and the waiting update, as `FusedStep` asks; individuals that are not active are not touched.

    Args:
        weights: `(P, out, in)` per layer; moved in place.
        neurons: the rule's numbers, `(P, k, n)` per group of neurons.
        nodes: layer sizes.
        normalise: whether a layer is divided by its largest absolute weight after each update.

    Raises:
        NchlError: the kernel could not be compiled.
    """

    def __init__(self, weights: list[Tensor], neurons: list[Tensor], nodes: tuple[int, ...], normalise: bool) -> None:
        found = library("step")
        if isinstance(found, str):
            raise NchlError(f"the kernel of the step cannot be built: {found}")
        self.activations = [weights[0].new_zeros(len(weights[0]), n) for n in nodes]
        self._weights, self._neurons, self._nodes = weights, neurons, nodes
        # As the kernel's struct Plan: layers, people, threads, update, forward, normalise, nodes.
        self._plan = array("i", [len(weights), len(weights[0]), 1, 0, 0, normalise, *nodes])
        self._addresses: list[int] = []
        self._table = array("q")

    def __call__(self, x: Tensor, waiting: bool, active: Tensor | None) -> Tensor:
        """See `FusedStep`; rows of those who are not active come back as zeros."""
        y = x.new_empty((len(x), self._nodes[-1]))
        self._call(x.contiguous(), y, active, update=waiting)
        return y

    def update(self) -> bool:
        """See `FusedStep`: by the kernel, because no other arithmetic has its bits."""
        self._call(None, None, None, update=True)
        return True

    def _call(self, x: Tensor | None, y: Tensor | None, active: Tensor | None, *, update: bool) -> None:
        # Few and small objects: the kernel has just swept the caches, and each line of Python that they held comes back from afar.
        who = None if active is None else active.to("cpu", torch.bool).contiguous()
        self._write_addresses()
        plan, layers, first = self._plan, len(self._weights), self._table.buffer_info()[0]
        plan[2], plan[3], plan[4] = torch.get_num_threads(), update, x is not None
        _function(self.activations[0].dtype)(
            plan.buffer_info()[0],
            None if who is None else who.data_ptr(),
            first,
            first + 8 * (2 * layers + 1),
            first + 8 * layers,
            None if x is None else x.data_ptr(),
            None if y is None else y.data_ptr(),
        )

    def _write_addresses(self) -> None:
        """Where the kernel finds all weights, all activations, and the groups' numbers, in `_table`."""
        # Looked at each time, because a network that was copied has tensors of its own; written down only when they are new.
        addresses = [t.data_ptr() for group in (self._weights, self.activations, self._neurons) for t in group]
        if addresses == self._addresses:
            return
        layers = len(self._weights)
        assert all(t.is_contiguous() for t in (*self._weights, *self.activations, *self._neurons))
        self._addresses, self._table = addresses, array("q", addresses[: 2 * layers + 1])
        for k, start in enumerate(addresses[2 * layers + 1 :]):
            self._table.extend(self._group(k, start))

    def _group(self, k: int, start: int) -> list[int]:
        """Addresses of the first individual's A, B, C, D and eta, 0 where the group has none; numbers of one individual."""
        names = NCHL.neuron_parameters(presynaptic=k < len(self._nodes) - 1, postsynaptic=k > 0)
        step = self._nodes[k] * self._neurons[k].element_size()
        return [*(start + names.index(name) * step if name in names else 0 for name in _NUMBERS), len(names) * self._nodes[k]]


@lru_cache
def _function(dtype: torch.dtype) -> Any:
    function = getattr(library("step"), _FUNCTIONS[dtype])
    function.restype, function.argtypes = None, [ctypes.c_void_p] * 7
    return function
