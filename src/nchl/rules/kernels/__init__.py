"""Hand-written kernels for the CPU, beside the torch functions of `nchl.rules` and held to them by tests: NcHL, dense HL, forward.

They serve a population without a batch: tensors `(people, ...)`, float32 or float64, contiguous. An individual's bits depend
neither on the number of threads nor on the place in the population. Where a connection could overflow the individual is
computed by the torch function, so that infinities and NaN come out alike.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nchl.errors import NchlError
from nchl.rules.geometry import ConvGeometry
from nchl.rules.kernels.build import library
from nchl.rules.neuronal import NCHL
from nchl.rules.shared import shared_terms, shared_update

_SHARING = {"max": 0, "min": 1, "mean": 2, "median": 3}
_NAMES = {torch.float32: "float", torch.float64: "double"}


def unavailable() -> str:
    """Why there are no kernels on this machine; empty where there are. The first call compiles them (some seconds)."""
    found = library()
    return found if isinstance(found, str) else ""


def conv_update(
    geometry: ConvGeometry,
    sharing: str,
    pre: Float[Tensor, "individuals channels height width"],
    post: Float[Tensor, "individuals out_channels out_height out_width"],
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    kernel: Float[Tensor, "individuals out_channels group_channels kernel_height kernel_width"],
    constant: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Add the NcHL update to each individual's kernel, in place.

    Args:
        geometry: the convolution.
        sharing: one of max, min, median, mean.
        pre: activations of the input neurons.
        post: activations of the output neurons.
        before: A, C, D, eta of the input neurons, each as `pre`.
        after: B, C, D, eta of the output neurons, each as `post`.
        kernel: the weights; written to.
        constant: the aggregates of D and eta (`shared.constant_terms`): then termwise.
    """
    people = len(kernel)
    overflow = torch.zeros(people, dtype=torch.uint8)
    held, arrays = _neurons(pre, post, before, after)
    still = (None, None) if constant is None else tuple(c.contiguous() for c in constant)
    _call(
        "share",
        kernel,
        _geometry(geometry),
        _SHARING[sharing],
        people,
        _threads(people),
        arrays,
        *map(_at, still),
        _at(kernel),
        _at(overflow),
    )
    del held
    if overflow.any():
        here = overflow.bool()
        ins, outs = ({name: p[here] for name, p in parameters.items()} for parameters in (before, after))
        if constant is None:
            kernel[here] += shared_update(NCHL, geometry, sharing, pre[here], post[here], None, ins, outs, {}, lead=1)
        else:
            terms = (constant[0][here], constant[1][here])
            kernel[here] += shared_terms(NCHL, geometry, sharing, pre[here], post[here], None, ins, outs, {}, lead=1, constant=terms)


def linear_update(
    pre: Float[Tensor, "individuals *inputs"],  # noqa: UP037
    post: Float[Tensor, "individuals *outputs"],  # noqa: UP037
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    weight: Float[Tensor, "individuals out_features in_features"],
) -> None:
    """Add the NcHL update to each individual's weights, in place; arguments as `conv_update`."""
    held, arrays = _neurons(pre, post, before, after)
    people, outputs, inputs = weight.shape
    _call("move_linear", weight, inputs, outputs, people, _threads(people), arrays, _at(weight))
    del held


def synaptic_update(
    pre: Float[Tensor, "individuals *inputs"],  # noqa: UP037
    post: Float[Tensor, "individuals *outputs"],  # noqa: UP037
    synapses: Mapping[str, Tensor],
    weight: Float[Tensor, "individuals out_features in_features"],
) -> None:
    """Add the HL update to each individual's weights, in place.

    Args:
        pre: activations of the input neurons.
        post: activations of the output neurons.
        synapses: A, B, C, D, eta, each as `weight`.
        weight: written to.
    """
    held = [synapses[name].contiguous() for name in ("A", "B", "C", "D", "eta")]
    arrays = (ctypes.c_void_p * len(held))(*(t.data_ptr() for t in held))
    people, outputs, inputs = weight.shape
    pre, post = pre.contiguous(), post.contiguous()
    _call("move_synaptic", weight, inputs, outputs, people, _threads(people), _at(pre), _at(post), arrays, _at(weight))


def normalise(weight: Float[Tensor, "individuals *layer"]) -> None:  # noqa: UP037
    """Divide each individual's layer by its largest absolute weight, in place; a layer of zeros stays."""
    _call("normalise", weight, weight[0].numel(), len(weight), _threads(len(weight)), _at(weight))


def convolve(
    x: Float[Tensor, "individuals batch channels height width"],
    kernel: Float[Tensor, "individuals out_channels group_channels kernel_height kernel_width"],
    bias: Float[Tensor, " out_channels"] | None,
    geometry: ConvGeometry,
) -> Float[Tensor, "individuals batch out_channels out_height out_width"]:
    """Each individual's kernel over his own inputs."""
    x = x.contiguous()
    y = x.new_empty(*x.shape[:2], *geometry.output_shape)
    _call("convolve", x, _geometry(geometry), *x.shape[:2], _threads(x.shape[0] * x.shape[1]), _at(x), _at(kernel), _at(bias), _at(y))
    return y


def linear(
    x: Float[Tensor, "individuals batch in_features"],
    weight: Float[Tensor, "individuals out_features in_features"],
    bias: Float[Tensor, " out_features"] | None,
) -> Float[Tensor, "individuals batch out_features"]:
    """Each individual's matrix times his own inputs."""
    x = x.contiguous()
    people, outputs, inputs = weight.shape
    y = x.new_empty(people, x.shape[1], outputs)
    _call("linear", x, inputs, outputs, people, x.shape[1], _threads(people * x.shape[1]), _at(x), _at(weight), _at(bias), _at(y))
    return y


def _threads(tasks: int) -> int:
    """A single individual wakes nobody."""
    return min(tasks, torch.get_num_threads())


def _neurons(pre: Tensor, post: Tensor, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[list[Tensor], Any]:
    tensors = [pre, post, *(before[name] for name in ("A", "C", "D", "eta")), *(after[name] for name in ("B", "C", "D", "eta"))]
    held = [t.contiguous() for t in tensors]  # alive until the call is over
    return held, (ctypes.c_void_p * len(held))(*(t.data_ptr() for t in held))


def _geometry(g: ConvGeometry) -> Any:
    top, _, left, _ = g.padding
    sizes = (g.in_channels, g.out_channels, *g.kernel_size, *g.input_size, *g.stride, top, left, *g.dilation, g.groups, *g.output_size)
    return (ctypes.c_int * len(sizes))(*sizes)


def _at(tensor: Tensor | None) -> ctypes.c_void_p | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    return ctypes.c_void_p(tensor.data_ptr())


def _call(name: str, example: Tensor, *arguments: Any) -> None:
    found = library()
    if isinstance(found, str):
        raise NchlError(f"the convolution kernels cannot be built: {found}")
    function = getattr(found, f"{name}_{_NAMES[example.dtype]}")
    function.restype = None
    function(*arguments)
