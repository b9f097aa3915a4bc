"""Index arithmetic of a convolution: the input neuron that meets an output neuron under a kernel element.

Output position (y, x) and tap (u, v) meet input position (y * stride - top + u * dilation, x * stride - left + v * dilation).
Positions outside the input are padding, which is no neuron and makes no connection.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from nchl.errors import InvalidArgument, ShapeError

Pair = int | tuple[int, int] | list[int]


@dataclass(frozen=True)
class ConvGeometry:
    """Sizes of a two-dimensional convolution over an input of known size.

    Attributes:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: (height, width) of the kernel.
        input_size: (height, width) of the input.
        stride: steps between output positions.
        padding: zeros around the input as (top, bottom, left, right).
        dilation: steps between the taps of the kernel.
        groups: blocks of channels that do not see each other.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    input_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, low in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
            if min(getattr(self, name)) < low:
                raise InvalidArgument(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise InvalidArgument(f"groups={self.groups} must divide the channels, {self.in_channels} in and {self.out_channels} out")
        if min(self.output_size) < 1:
            padded = f"{_by(self.kernel_size)}, dilation {_by(self.dilation)}, padding {self.padding}"
            raise ShapeError(
                f"an input of {_by(self.input_size)} is smaller than the kernel of {_by(self.reach)} that should move over it "
                f"({padded}): use a larger input or a smaller kernel"
            )

    @property
    def reach(self) -> tuple[int, int]:
        """(height, width) that the dilated kernel covers."""
        (h, w), (dy, dx) = self.kernel_size, self.dilation
        return dy * (h - 1) + 1, dx * (w - 1) + 1

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the output."""
        top, bottom, left, right = self.padding
        height = (self.input_size[0] + top + bottom - self.reach[0]) // self.stride[0] + 1
        width = (self.input_size[1] + left + right - self.reach[1]) // self.stride[1] + 1
        return height, width

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the input neurons."""
        return self.in_channels, *self.input_size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the output neurons."""
        return self.out_channels, *self.output_size

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, height, width) of the kernel."""
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

    @property
    def connections(self) -> int:
        """Number of connections of the unrolled graph."""
        _, valid = taps(self)
        return int(valid.sum()) * self.out_channels * (self.in_channels // self.groups)

    @classmethod
    def make(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        input_size: Pair,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> ConvGeometry:
        """The geometry from numbers or pairs, as `nn.Conv2d` takes them."""
        above, beside = pair(padding, "padding")
        return cls(
            in_channels,
            out_channels,
            pair(kernel_size, "kernel_size"),
            pair(input_size, "input_size"),
            pair(stride, "stride"),
            (above, above, beside, beside),
            pair(dilation, "dilation"),
            groups,
        )

    @classmethod
    def of(cls, conv: nn.Conv2d, input_size: Pair) -> ConvGeometry:
        """The geometry of a `Conv2d` over an input of (height, width).

        Raises:
            InvalidArgument: the module is not a `Conv2d`, or pads with anything but zeros.
            ShapeError: the input is smaller than the kernel.
        """
        if not isinstance(conv, nn.Conv2d):
            raise InvalidArgument(
                f"expected a torch.nn.Conv2d, got {type(conv).__name__}; transposed and 1-d or 3-d convolutions are not supported"
            )
        if conv.padding_mode != "zeros":
            raise InvalidArgument(
                f"padding_mode={conv.padding_mode!r} is not supported: padding must be 'zeros', which makes no connections"
            )
        kernel, dilation = pair(conv.kernel_size, "kernel_size"), pair(conv.dilation, "dilation")
        if conv.padding == "same":  # as torch does it: the odd zero goes below and to the right
            high, wide = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
            around = (high // 2, high - high // 2, wide // 2, wide - wide // 2)
        else:
            above, beside = (0, 0) if conv.padding == "valid" else pair(conv.padding, "padding")  # type: ignore[arg-type]
            around = (above, above, beside, beside)
        size, stride = pair(input_size, "input_size"), pair(conv.stride, "stride")
        return cls(conv.in_channels, conv.out_channels, kernel, size, stride, around, dilation, conv.groups)


def pair(value: Pair | tuple[int, ...], name: str) -> tuple[int, int]:
    """(height, width) from one number or two.

    Raises:
        InvalidArgument: neither an integer nor two of them.
    """
    try:
        values = [operator.index(v) for v in (value if isinstance(value, Iterable) else (value, value))]
    except TypeError:
        values = []
    if len(values) != 2:
        raise InvalidArgument(f"{name} must be an integer or two of them (height, width), got {value!r}")
    return values[0], values[1]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the cached tensors outlive an inference mode
def taps(geometry: ConvGeometry) -> tuple[Tensor, Tensor]:
    """The input position that each tap of the kernel meets at each output position.

    Returns:
        `(index, valid)`, both (kernel height * width, output height * width), on the CPU, with taps and positions in C order. `index`
        counts input positions within a channel; where `valid` is False there is padding, and the index is 0. Do not write to them.
    """
    spans = []
    for axis in range(2):
        output = torch.arange(geometry.output_size[axis], device="cpu") * geometry.stride[axis] - geometry.padding[2 * axis]
        spans.append(torch.arange(geometry.kernel_size[axis], device="cpu")[:, None] * geometry.dilation[axis] + output)  # (tap, output)
    (rows, columns), (height, width) = spans, geometry.input_size
    inside = [(span >= 0) & (span < size) for span, size in ((rows, height), (columns, width))]
    valid = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    index = rows[:, None, :, None] * width + columns[None, :, None, :]
    count = geometry.kernel_size[0] * geometry.kernel_size[1]
    return index.where(valid, 0).reshape(count, -1), valid.reshape(count, -1)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
