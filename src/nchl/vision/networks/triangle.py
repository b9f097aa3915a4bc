"""Triangle, the activation of SoftHebb's convolutions, alone and together with a following max pooling."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nchl.errors import InvalidArgument, ShapeError
from nchl.rules.kernels import softhebb as kernels


class Triangle(nn.Module):
    """relu(u - mean over the channels of the position) ** power, the activation of SoftHebb's convolutions.

    Args:
        power: above 0.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        if not power > 0:
            raise InvalidArgument(f"expected a power above 0, got {power}")
        self.power = power

    def forward(self, u: Float[Tensor, "batch channels *position"]) -> Float[Tensor, "batch channels *position"]:
        """Same shape as `u`; its gradient at 0 is 0 for any power."""
        return _positive_power(_triangle(u), self.power)

    def extra_repr(self) -> str:
        """The text of `print(layer)`."""
        return f"power={self.power}"


class TriangleMaxPool2d(nn.Module):
    """`Triangle(power)` and `nn.MaxPool2d(kernel_size, stride, padding)` in one.

    The power is applied after the pooling, to fewer numbers; a power preserves order, so the result is the same. In training mode, without
    a gradient, in float32 on the CPU, a C++ kernel computes both in one pass over memory.

    Args:
        power: above 0.
        kernel_size: rows and columns of a window.
        stride: step between windows, in both directions.
        padding: pixels of a window beyond the edge, at most half of `kernel_size`.
    """

    def __init__(self, power: float, kernel_size: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        if not power > 0:
            raise InvalidArgument(f"expected a power above 0, got {power}")
        if kernel_size < 1 or stride < 1 or not 0 <= padding <= kernel_size // 2:
            raise InvalidArgument(
                "expected kernel_size and stride of at least 1 and padding from 0 to half of kernel_size, "
                f"got kernel_size={kernel_size}, stride={stride}, padding={padding}"
            )
        self.power, self.kernel_size, self.stride, self.padding = power, kernel_size, stride, padding

    def forward(self, u: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels out_height out_width"]:
        """Largest activations of the windows; the gradient at 0 is 0 for any power."""
        if u.ndim != 4 or min(u.shape[2:]) + 2 * self.padding < self.kernel_size:
            raise ShapeError(
                f"expected (batch, channels, height, width) with sides of at least {self.kernel_size - 2 * self.padding}, "
                f"got {tuple(u.shape)}"
            )
        window = (self.kernel_size, self.stride, self.padding)
        # Evaluation uses torch's functions, which can be exported and compiled.
        if self.training and not u.requires_grad and kernels.serve(u):
            return kernels.triangle_max_pool(u, *window).pow_(self.power)
        return _positive_power(F.max_pool2d(_triangle(u), *window), self.power)

    def extra_repr(self) -> str:
        """The text of `print(layer)`."""
        return f"power={self.power}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _triangle(u: Tensor) -> Tensor:
    return F.relu(u - u.mean(dim=1, keepdim=True))


def _positive_power(x: Tensor, power: float) -> Tensor:
    """x ** power for x >= 0, with gradient 0 at 0 (for a power below 1 it would be infinite, and NaN after a relu)."""
    if power == 1:
        return x
    if not x.requires_grad:
        return x.pow(power)
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).pow(power), 0)
