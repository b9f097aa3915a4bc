"""Matrix product, convolution, pooling and normalisation for a population with per-individual weights.

An individual's results depend neither on the rest of the population nor on the number of threads. On a CPU the sums are therefore
written out: a library's grouped convolution or matrix product may choose the order of its additions by the sizes.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from nchl.networks.plasticity import Plasticity
from nchl.rules.convolution.geometry import ConvGeometry, pair

_SMALL, _AT_ONCE = 2**15, 2**20  # terms of a matrix product: up to the first it is computed whole, else in pieces of the second
_kept = threading.local()


def product(weight: Shaped[Tensor, "*#lead outputs inputs"], x: Shaped[Tensor, "*#lead inputs"]) -> Shaped[Tensor, "*_lead outputs"]:
    """W x as a multiplication and a sum; unlike a matrix product, its bits depend neither on threads nor on the population."""
    return (weight * x.unsqueeze(-2)).sum(-1)


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
    individuals, batch = x.shape[:2]
    outputs, channels, *taps = geometry.kernel_shape
    groups, (height, width) = geometry.groups, geometry.output_size
    planes = x.reshape(individuals, batch, groups, 1, channels, *x.shape[-2:])
    weights = kernel.reshape(individuals, 1, groups, outputs // groups, channels, *taps, 1, 1)
    y = x.new_zeros(individuals, batch, groups, outputs // groups, height, width)
    for c in range(channels):
        for u in range(taps[0]):
            rows = slice(u * geometry.dilation[0], u * geometry.dilation[0] + geometry.stride[0] * (height - 1) + 1, geometry.stride[0])
            for v in range(taps[1]):
                start = v * geometry.dilation[1]
                columns = slice(start, start + geometry.stride[1] * (width - 1) + 1, geometry.stride[1])
                y.addcmul_(planes[..., c, rows, columns], weights[..., c, u, v, :, :])
    return y.flatten(2, 3)


def _grouped(x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
    individuals = x.shape[0]
    # The function that F.conv2d calls, without TF32, which has 10 of the 23 bits.
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
        groups=individuals * geometry.groups,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        cudnn_enabled=cudnn.enabled,
        allow_tf32=False,
    )
    return y.reshape(y.shape[0], individuals, -1, *y.shape[2:]).transpose(0, 1)


def multiply(
    x: Float[Tensor, "individuals batch inputs"], weight: Float[Tensor, "individuals outputs inputs"]
) -> Float[Tensor, "individuals batch outputs"]:
    """Each individual's matrix times its own inputs."""
    if x.device.type != "cpu":
        return torch.einsum("poi,pbi->pbo", weight, x)
    each = x.shape[1] * weight[0].numel()
    if len(weight) * each <= _SMALL or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return product(weight[:, None], x)
    # A few individuals at a time, in memory that is kept: a product as large as all weights would take new pages in every step.
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
    """Memory of this thread for `count` numbers."""
    held: dict[torch.dtype, Tensor] = _kept.__dict__.setdefault("rooms", {})
    if dtype not in held or held[dtype].numel() < count:
        with torch.inference_mode(False):  # it outlives an inference mode
            held[dtype] = torch.empty(count, dtype=dtype)
    return held[dtype]


def pool(module: nn.Module, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows channels out_height out_width"]:
    """A pooling; plain max pooling as maxima of strided views, which is ten times faster on a CPU."""
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


def normalised(
    weight: Float[Tensor, "individuals outputs *inputs"], plasticity: Plasticity
) -> Float[Tensor, "individuals outputs *inputs"]:
    """The weights of one edge after normalisation, per individual. Weights that would be divided by 0 stay unchanged.

    Weights that are not finite never become finite: otherwise back ends would differ in detecting an overflow.
    """
    kind = plasticity.normalise
    if kind is None:
        return weight
    if kind == "clip":
        return torch.where(weight.isinf(), weight, weight.clamp(-plasticity.limit, plasticity.limit))
    edge = tuple(range(1, weight.ndim))
    if kind == "max":
        largest = weight.abs().amax(dim=edge, keepdim=True)
        return weight / torch.where(largest > 0, largest, 1)
    if kind == "row":
        squares = (weight * weight).sum(dim=edge[1:], keepdim=True)
        # The square root of 0 has no finite gradient, so the root of 1 is taken instead.
        return weight / torch.where(squares > 0, squares, 1).sqrt()
    # From differences to one weight, so that the deviation of equal weights is 0 despite the rounding of their sum.
    first = weight.flatten(1)[:, :1].reshape(-1, *(1,) * len(edge))
    centred = weight - (first + (weight - first).mean(dim=edge, keepdim=True))
    variance = (centred * centred).mean(dim=edge, keepdim=True)
    return torch.where(variance > 0, centred / torch.where(variance > 0, variance, 1).sqrt(), weight)
