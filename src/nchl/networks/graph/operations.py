"""Convolution, matrix product and pooling for a population in which each individual has weights of its own.

Promise: an individual's numbers depend neither on the rest of the population nor on the number of threads. That is why, on a
CPU, the sums here are written out: a library's grouped convolution or matrix product may choose its order by the sizes.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nchl.networks.checks import product
from nchl.rules.convolution.geometry import ConvGeometry, pair

_SMALL, _AT_ONCE = 2**15, 2**20  # terms of a matrix product: below the one nothing is gained by pieces, of the other a piece is made
_kept = threading.local()


def convolve(
    x: Float[Tensor, "individuals batch channels height width"],
    kernel: Float[Tensor, "individuals out_channels group_channels kernel_height kernel_width"],
    geometry: ConvGeometry,
) -> Float[Tensor, "individuals batch out_channels out_height out_width"]:
    """Each individual's kernel over its own inputs, without a bias."""
    top, bottom, left, right = geometry.padding
    x = F.pad(x, (left, right, top, bottom)) if any(geometry.padding) else x
    if x.device.type != "cpu":
        return _grouped(x, kernel, geometry)
    people, batch = x.shape[:2]
    outputs, channels, *taps = geometry.kernel_shape
    groups, (height, width) = geometry.groups, geometry.output_size
    planes = x.reshape(people, batch, groups, 1, channels, *x.shape[-2:])
    weights = kernel.reshape(people, 1, groups, outputs // groups, channels, *taps, 1, 1)
    y = x.new_zeros(people, batch, groups, outputs // groups, height, width)
    for c in range(channels):
        for u in range(taps[0]):
            rows = slice(u * geometry.dilation[0], u * geometry.dilation[0] + geometry.stride[0] * (height - 1) + 1, geometry.stride[0])
            for v in range(taps[1]):
                start = v * geometry.dilation[1]
                columns = slice(start, start + geometry.stride[1] * (width - 1) + 1, geometry.stride[1])
                y.addcmul_(planes[..., c, rows, columns], weights[..., c, u, v, :, :])
    return y.flatten(2, 3)


def _grouped(x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
    people = x.shape[0]
    # What F.conv2d calls, with its last argument False: it may take TF32, with 10 of the 23 bits, where a GPU has it.
    cudnn = torch.backends.cudnn
    y = torch._convolution(
        x.transpose(0, 1).flatten(1, 2),
        kernel.flatten(0, 1),
        bias=None,
        stride=geometry.stride,
        padding=(0, 0),
        dilation=geometry.dilation,
        transposed=False,
        output_padding=(0, 0),
        groups=people * geometry.groups,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        cudnn_enabled=cudnn.enabled,
        allow_tf32=False,
    )
    return y.reshape(y.shape[0], people, -1, *y.shape[2:]).transpose(0, 1)


def multiply(
    x: Float[Tensor, "individuals batch inputs"], weight: Float[Tensor, "individuals outputs inputs"]
) -> Float[Tensor, "individuals batch outputs"]:
    """Each individual's matrix times its own inputs."""
    if x.device.type != "cpu":
        return torch.einsum("poi,pbi->pbo", weight, x)
    each = x.shape[1] * weight[0].numel()
    if len(weight) * each <= _SMALL or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return product(weight[:, None], x)
    # A few individuals at a time, in memory that is kept: a product as large as all weights would be new pages at every step.
    count = max(1, _AT_ONCE // each)
    room = _room(min(count, len(weight)) * each, x.dtype)
    y = x.new_empty(*x.shape[:2], weight.shape[1])
    for start in range(0, len(weight), count):
        rows = slice(start, start + count)
        a, w = x[rows, :, None, :], weight[rows, None]
        terms = room[: len(a) * each].view(len(a), *x.shape[1:2], *weight.shape[1:])
        torch.sum(torch.mul(w, a, out=terms), -1, out=y[rows])
    return y


def _room(count: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread for so many numbers."""
    held: dict[torch.dtype, Tensor] = _kept.__dict__.setdefault("rooms", {})
    if dtype not in held or held[dtype].numel() < count:
        with torch.inference_mode(False):  # it outlives an inference mode
            held[dtype] = torch.empty(count, dtype=dtype)
    return held[dtype]


def pool(module: nn.Module, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows channels out_height out_width"]:
    """A pooling; plain max pooling as maxima of strided views, which a CPU does ten times faster."""
    if not isinstance(module, nn.MaxPool2d) or module.ceil_mode or x.device.type != "cpu":
        return module(x)  # type: ignore[no-any-return]
    kernel, stride = pair(module.kernel_size, "kernel_size"), pair(module.stride, "stride")
    if pair(module.padding, "padding") != (0, 0) or pair(module.dilation, "dilation") != (1, 1):
        return module(x)  # type: ignore[no-any-return]
    for axis in (-2, -1):
        count = (x.shape[axis] - kernel[axis]) // stride[axis] + 1
        views = [_strided(x, axis, start, count, stride[axis]) for start in range(kernel[axis])]
        x = views[0]
        for view in views[1:]:
            x = torch.maximum(x, view)
    return x


def _strided(x: Tensor, axis: int, start: int, count: int, stride: int) -> Tensor:
    places = slice(start, start + stride * (count - 1) + 1, stride)
    return x[..., places, :] if axis == -2 else x[..., places]
