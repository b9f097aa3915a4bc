"""Programs of C++ kernels for the CPU: forward passes, NcHL, and HL of dense layers. Tests compare them with the torch functions.

Tensors are `(individuals, ...)`, float32 or float64, contiguous. An individual's bits depend neither on the number of threads nor
on its place in the population. An individual with a connection that could overflow is left to the torch function, so that
infinities and NaN are the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nchl.errors import NchlError
from nchl.rules.convolution.geometry import ConvGeometry
from nchl.rules.kernels.build import library

_KINDS = ("copy", "convolve", "multiply", "tanh", "relu", "pool", "move_conv", "still_terms", "move_linear", "move_synaptic")
_SHARING = {"max": 0, "min": 1, "mean": 2, "median": 3}
_RUN = {torch.float32: "run_float", torch.float64: "run_double"}
BEFORE, AFTER, SYNAPSES = ("A", "C", "D", "eta"), ("B", "C", "D", "eta"), ("A", "B", "C", "D", "eta")


class _Instruction(ctypes.Structure):
    """The struct `Instruction` of kernels.cpp. Addresses are plain numbers, so that a program can be copied."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "sharing", "inputs", "outputs", "weights", "normalise")),
        ("geometry", ctypes.c_int32 * 15),
        ("bias_each", ctypes.c_int32),
        *((name, ctypes.c_size_t) for name in ("x", "bias")),
        *((name, ctypes.c_size_t * n) for name, n in (("before", 4), ("after", 4), ("synapses", 5))),
        *((name, ctypes.c_size_t) for name in ("y", "weight", "constant", "rate", "overflow")),
    )


def unavailable() -> str:
    """The reason why there are no kernels on this machine; empty if there are. The first call compiles them (some seconds)."""
    found = library()
    return found if isinstance(found, str) else ""


class Program:
    """A list of instructions that one call runs for every individual, one after the other.

    Tensors are `(individuals, ...)`, those of forward passes `(individuals, batch, ...)`. They are read and written in place and
    must be contiguous. Updates take no batch.

    Args:
        people: number of individuals.
        batch: observations of each individual.
    """

    def __init__(self, people: int, batch: int = 1) -> None:
        self.people, self.batch = people, batch
        self._list: list[_Instruction] = []
        self._held: list[Tensor] = []  # keeps the memory behind the addresses
        self._ready: Any = None

    def copy(self, x: Float[Tensor, "*lead"], y: Float[Tensor, "*lead"]) -> None:
        """y = x; `redirect` replaces the x of the first instruction."""
        self._add("copy", x=x, y=y)

    def redirect(self, x: Float[Tensor, "*lead"]) -> None:
        """Let the first instruction read another tensor of the same shape and type."""
        self._held[0] = x
        (self._list if self._ready is None else self._ready)[0].x = _address(x)

    def convolve(
        self,
        geometry: ConvGeometry,
        x: Float[Tensor, "*lead channels height width"],
        weight: Float[Tensor, "individuals out_channels group_channels kernel_height kernel_width"],
        bias: Float[Tensor, "*individuals out_channels"] | None,
        y: Float[Tensor, "*lead out_channels out_height out_width"],
    ) -> None:
        """Each individual's kernel over its own inputs; biases are shared, `(out_channels,)`, or one row per individual."""
        self._add("convolve", geometry=geometry, x=x, weight=weight, bias=bias, y=y)

    def multiply(
        self,
        x: Float[Tensor, "*lead inputs"],
        weight: Float[Tensor, "individuals outputs inputs"],
        bias: Float[Tensor, "*individuals outputs"] | None,
        y: Float[Tensor, "*lead outputs"],
    ) -> None:
        """Each individual's matrix times its own inputs; the biases as for `convolve`."""
        self._add("multiply", x=x, weight=weight, bias=bias, y=y)

    def tanh(self, y: Float[Tensor, "*lead"]) -> None:
        """In place."""
        self._add("tanh", x=y, y=y)

    def relu(self, y: Float[Tensor, "*lead"]) -> None:
        """In place."""
        self._add("relu", x=y, y=y)

    def pool(
        self,
        geometry: ConvGeometry,
        x: Float[Tensor, "*lead channels height width"],
        y: Float[Tensor, "*lead channels out_height out_width"],
    ) -> None:
        """Max pooling; `geometry` gives the window, without padding and dilation."""
        self._add("pool", geometry=geometry, x=x, y=y)

    def move_conv(
        self,
        geometry: ConvGeometry,
        sharing: str,
        pre: Float[Tensor, "individuals channels height width"],
        post: Float[Tensor, "individuals out_channels out_height out_width"],
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        weight: Float[Tensor, "individuals out_channels group_channels kernel_height kernel_width"],
        still: tuple[Tensor, Tensor] | None = None,
        *,
        normalise: bool = False,
    ) -> Bool[Tensor, " individuals"]:
        """Add the NcHL update to each individual's kernel.

        Args:
            geometry: the convolution.
            sharing: one of max, min, median, mean.
            pre: activations of the input neurons.
            post: activations of the output neurons.
            before: A, C, D, eta of the input neurons, each as `pre`.
            after: B, C, D, eta of the output neurons, each as `post`.
            weight: the kernels; written to.
            still: the aggregates of D and eta (`still_terms`): then termwise.
            normalise: divide each kernel by its largest absolute element.

        Returns:
            After a run, True for individuals with numbers that could overflow; their kernels are unchanged.
        """
        overflow = torch.zeros(self.people, dtype=torch.bool)
        constant, rate = still or (None, None)
        self._add(
            "move_conv",
            geometry=geometry,
            sharing=sharing,
            x=pre,
            y=post,
            before=[before[name] for name in BEFORE],
            after=[after[name] for name in AFTER],
            weight=weight,
            constant=constant,
            rate=rate,
            overflow=overflow,
            normalise=normalise,
        )
        return overflow

    def still_terms(
        self,
        geometry: ConvGeometry,
        sharing: str,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        still: tuple[Tensor, Tensor],
    ) -> Bool[Tensor, " individuals"]:
        """Write the aggregates of D and eta, each as the kernel, into `still`; arguments and result as `move_conv`."""
        overflow = torch.zeros(self.people, dtype=torch.bool)
        self._add(
            "still_terms",
            geometry=geometry,
            sharing=sharing,
            x=before["D"],  # in place of activations, which this instruction ignores
            y=after["D"],
            before=[before[name] for name in BEFORE],
            after=[after[name] for name in AFTER],
            weight=still[0],
            constant=still[0],
            rate=still[1],
            overflow=overflow,
        )
        return overflow

    def move_linear(
        self,
        pre: Float[Tensor, "individuals *inputs"],  # noqa: UP037
        post: Float[Tensor, "individuals *outputs"],  # noqa: UP037
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        weight: Float[Tensor, "individuals out_features in_features"],
        *,
        normalise: bool = False,
    ) -> None:
        """Add the NcHL update to each individual's weights; arguments as `move_conv`."""
        sides = {"before": [before[name] for name in BEFORE], "after": [after[name] for name in AFTER]}
        self._add("move_linear", x=pre, y=post, weight=weight, normalise=normalise, **sides)

    def move_synaptic(
        self,
        pre: Float[Tensor, "individuals *inputs"],  # noqa: UP037
        post: Float[Tensor, "individuals *outputs"],  # noqa: UP037
        synapses: Mapping[str, Tensor],
        weight: Float[Tensor, "individuals out_features in_features"],
        *,
        normalise: bool = False,
    ) -> None:
        """Add the HL update to each individual's weights; `synapses`: A, B, C, D, eta, each as `weight`."""
        self._add("move_synaptic", x=pre, y=post, weight=weight, normalise=normalise, synapses=[synapses[name] for name in SYNAPSES])

    def run(self, active: Bool[Tensor, " individuals"] | None = None) -> None:
        """Run all instructions for all individuals, or for the active ones; the tensors of the others stay unchanged."""
        if not self._list:
            return
        if self._ready is None:
            self._ready = (_Instruction * len(self._list))(*self._list)
        found = library()
        if isinstance(found, str):
            raise NchlError(f"the convolution kernels cannot be built: {found}")
        function = getattr(found, _RUN[self._held[0].dtype])
        function.restype = None
        mask = None if active is None else active.to("cpu", torch.bool).contiguous()
        chosen = None if mask is None else ctypes.c_void_p(mask.data_ptr())
        function(self._ready, len(self._ready), self.people, self.batch, torch.get_num_threads(), chosen)

    def _add(self, kind: str, **given: Any) -> None:
        """Append an instruction; sizes are per individual (and observation)."""
        instruction = _Instruction(kind=_KINDS.index(kind))
        for name, value in given.items():
            if name == "geometry":
                instruction.geometry[:] = _sizes(value)
            elif name == "sharing":
                instruction.sharing = _SHARING[value]
            elif isinstance(value, list):
                getattr(instruction, name)[:] = [self._hold(tensor) for tensor in value]
            elif isinstance(value, Tensor):
                setattr(instruction, name, self._hold(value))
            elif value is not None:
                setattr(instruction, name, value)
        rows = self.people * self.batch
        instruction.inputs, instruction.outputs = given["x"].numel() // rows, given["y"].numel() // rows
        if given.get("bias") is not None and given["bias"].ndim == 2:
            instruction.bias_each = given["bias"].shape[1]
        if "weight" in given:
            instruction.weights = given["weight"].numel() // self.people
        self._list.append(instruction)
        self._ready = None

    def _hold(self, tensor: Tensor) -> int:
        self._held.append(tensor)
        return _address(tensor)


def _address(tensor: Tensor) -> int:
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    return tensor.data_ptr()


def _sizes(g: ConvGeometry) -> tuple[int, ...]:
    top, _, left, _ = g.padding
    return (g.in_channels, g.out_channels, *g.kernel_size, *g.input_size, *g.stride, top, left, *g.dilation, g.groups, *g.output_size)
