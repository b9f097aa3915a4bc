"""SoftHebb layers as torch modules: a forward pass in training mode also learns, one in evaluation mode does not.

One learning step of unit o:  W_o += lr_o * dW_o / max|dW|,  lr_o = lr * | |W_o| - 1 | ** power  ("norm"), or lr ("constant").
The output is computed with the weights before the step. No gradient is needed.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules.kernels import softhebb as kernels
from nchl.rules.softhebb import check_names, kernel_rows, rows_to_kernel, shared_update, soft_wta, unfold

PADDING_MODES = ("zeros", "reflect")


class SoftHebbLayer(nn.Module):
    """Weight and learning rate of a SoftHebb layer.

    Attributes:
        plastic: whether the layer learns in training mode.
    """

    weight: nn.Parameter
    plastic = True

    def __init__(self, t_invert: float, lr: float, lr_rule: str, lr_power: float) -> None:
        super().__init__()
        self.t_invert, self.lr, self.lr_rule, self.lr_power = t_invert, lr, lr_rule, lr_power

    def unit_lr(self) -> Float[Tensor, " units"]:
        """The current learning rate of each unit: lr * | |W_o| - 1 | ** power, the norm over its whole kernel; or lr for all."""
        if self.lr_rule == "constant":
            return self.weight.new_full((self.weight.shape[0],), self.lr)
        norm: Tensor = torch.linalg.vector_norm(self.weight.detach(), dim=tuple(range(1, self.weight.ndim)))
        return norm.sub_(1).abs_().pow_(self.lr_power).mul_(self.lr)

    def _learns(self) -> bool:
        """Whether a forward pass learns.

        Raises:
            InvalidArgument: the weight is computed from other tensors, which a learning step would not change.
        """
        learns = self.training and self.plastic
        if learns and torch.nn.utils.parametrize.is_parametrized(self, "weight"):
            raise InvalidArgument(
                "a parametrized weight cannot learn by SoftHebb; remove it first: torch.nn.utils.parametrize.remove_parametrizations"
            )
        return learns


class SoftHebbConv2d(SoftHebbLayer):
    """A convolution without bias that learns by SoftHebb in training mode.

    `weight` is a `Parameter` without gradient, so `state_dict`, `.to()` and counting work as for `nn.Conv2d`. Set `plastic`
    to False (and `weight.requires_grad_(True)`) to train it by backpropagation instead. Source: Journe et al., ICLR 2023.

    Args:
        in_channels: channels of the input.
        out_channels: number of units per position.
        kernel_size: rows and columns, or one number for both.
        stride: step between output positions.
        padding: pixels added on each side.
        padding_mode: `"zeros"` or `"reflect"`.
        t_invert: inverse temperature of the softmax.
        lr: learning rate, before it is multiplied by the distance of a unit's norm from 1.
        lr_rule: `"norm"`, as the ICLR paper, or `"constant"`.
        lr_power: power of that distance, 0.5 in the paper.
        competition: `"channel"` or `"layer"`, see `nchl.rules.softhebb_conv`.
        sharing: `"sum"`, `"mean"`, `"max"`, `"min"` or `"median"`.
        radius: initial weights are N(0, radius**2 / fan-in), so that a unit's norm is near `radius`.
        generator: CPU generator of the initial weights; None for torch's own.
        dtype: of the weights.
        device: of the weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        padding_mode: str = "zeros",
        t_invert: float = 1.0,
        lr: float = 0.01,
        lr_rule: str = "norm",
        lr_power: float = 0.5,
        competition: str = "channel",
        sharing: str = "sum",
        radius: float = 25.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(t_invert, lr, lr_rule, lr_power)
        check_names(competition, sharing)
        if padding_mode not in PADDING_MODES:
            raise UnknownName("padding mode", padding_mode, PADDING_MODES)
        if lr_rule not in ("norm", "constant"):
            raise UnknownName("learning rate rule", lr_rule, ("norm", "constant"))
        rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        for name, value, least in (
            ("in_channels", in_channels, 1),
            ("out_channels", out_channels, 1),
            ("kernel_size", min(rows, columns), 1),
            ("stride", stride, 1),
            ("padding", padding, 0),
        ):
            if value < least:
                raise InvalidArgument(f"expected {name} of at least {least}, got {value}")
        if not (t_invert > 0 and lr >= 0 and radius > 0 and lr_power >= 0 and math.isfinite(t_invert + lr + radius + lr_power)):
            raise InvalidArgument(
                f"expected t_invert and radius above 0, lr and lr_power of at least 0, all of them finite, "
                f"got t_invert={t_invert}, radius={radius}, lr={lr}, lr_power={lr_power}"
            )
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, (rows, columns)
        self.stride, self.padding, self.padding_mode = stride, padding, padding_mode
        self.competition, self.sharing, self.radius = competition, sharing, radius
        # Stored channels last, so that the rule's matrix is a view of it.
        values = torch.empty((out_channels, in_channels, rows, columns), dtype=dtype, device=device)
        self.weight = nn.Parameter(values.to(memory_format=torch.channels_last), requires_grad=False)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, N(0, radius**2 / fan-in); the values do not depend on device or memory format.

        Args:
            generator: CPU generator, for weights on any device; None for torch's own.
        """
        if generator is not None and generator.device.type != "cpu":
            raise InvalidArgument(f"expected a generator of the CPU, for weights on any device, got one of {generator.device}")
        fan_in = self.in_channels * math.prod(self.kernel_size)
        drawn = torch.randn(tuple(self.weight.shape), generator=generator, dtype=torch.float64)
        with torch.no_grad():
            self.weight.copy_(drawn * (self.radius / math.sqrt(fan_in)))

    def forward(self, x: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Weighted sums u of every position; in training mode the weights then learn."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(f"expected images (batch, {self.in_channels}, height, width), got {tuple(x.shape)}")
        if not self._learns():
            return F.conv2d(self._padded(x), self.weight, stride=self.stride)
        if x.requires_grad:
            # Gradients of earlier layers need the old weights, and the learning step changes them in place.
            output = F.conv2d(self._padded(x), self.weight.clone(), stride=self.stride)
            self._learn(x.detach())
            return output
        return self._learn(x)

    @torch.no_grad()
    def _learn(self, x: Tensor) -> Tensor:
        # Autocast would reduce the precision of the matrix products alone.
        with torch.autocast(x.device.type, enabled=False):
            return self._step(self._padded(x.to(self.weight.dtype)))

    def _step(self, x: Tensor) -> Tensor:
        weights = kernel_rows(self.weight)
        fast = kernels.serve(x, weights) and weights.is_contiguous()
        patches, (height, width) = unfold(x, self.kernel_size, self.stride, kernel=fast)
        u = patches @ weights.T
        s = kernels.soft_wta(u, self.t_invert, self.competition) if fast else soft_wta(u, self.t_invert, self.competition)
        if fast and self.sharing in ("sum", "mean") and weights.data_ptr() == self.weight.data_ptr():
            # Mean and sum give the same step, because the update is divided by its largest absolute value.
            total = s.flatten(0, 1).T @ patches.flatten(0, 1)
            kernels.move_(weights, total, self.lr, self.lr_power, by_norm=self.lr_rule == "norm")
            torch.autograd.graph.increment_version(self.weight)  # autograd does not notice a kernel's writes
        else:
            share = kernels.shared_update if fast and self.sharing not in ("sum", "mean") else shared_update
            update = share(patches, u, s, weights, self.sharing)
            hebbian_step_(self.weight, rows_to_kernel(update, self.weight.shape), self.unit_lr())
        return u.view(x.shape[0], height, width, self.out_channels).permute(0, 3, 1, 2)

    def _padded(self, x: Tensor) -> Tensor:
        if self.padding == 0:
            return x
        return F.pad(x, (self.padding,) * 4, mode="reflect" if self.padding_mode == "reflect" else "constant")

    def extra_repr(self) -> str:
        """The text of `print(layer)`."""
        pad = f", padding={self.padding} ({self.padding_mode})" if self.padding else ""
        size = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}{pad}"
        return f"{size}, t_invert={self.t_invert}, lr={self.lr} ({self.lr_rule}), competition={self.competition}, sharing={self.sharing}"


class SoftHebbLinear(SoftHebbLayer):
    """A linear layer without bias that learns by SoftHebb in training mode; its units compete for each sample.

    Arguments as for `SoftHebbConv2d`, without competition and sharing, because there is one position.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        t_invert: float = 1.0,
        lr: float = 0.01,
        lr_rule: str = "norm",
        lr_power: float = 0.5,
        radius: float = 25.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(t_invert, lr, lr_rule, lr_power)
        # A 1x1 convolution with one position, for the same checks and the same initial weights.
        same = SoftHebbConv2d(
            in_features, out_features, 1, t_invert=t_invert, lr=lr, lr_rule=lr_rule, lr_power=lr_power, radius=radius, generator=generator
        )
        self.in_features, self.out_features = in_features, out_features
        drawn = same.weight.detach().reshape(out_features, in_features)
        self.weight = nn.Parameter(drawn.to(dtype=dtype, device=device).contiguous(), requires_grad=False)

    def forward(self, x: Float[Tensor, "batch in_features"]) -> Float[Tensor, "batch out_features"]:
        """Weighted sums u; in training mode the weights then learn."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"expected (batch, {self.in_features}), got {tuple(x.shape)}; put nn.Flatten() before this layer?")
        if not self._learns():
            return F.linear(x, self.weight)
        output = F.linear(x, self.weight.clone() if x.requires_grad else self.weight)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            pre = x.detach()[:, None].to(self.weight.dtype)
            u = pre @ self.weight.T if output.dtype != self.weight.dtype else output.detach()[:, None]
            update = shared_update(pre, u, soft_wta(u, self.t_invert), self.weight)
            hebbian_step_(self.weight, update, self.unit_lr())
        return output

    def extra_repr(self) -> str:
        """The text of `print(layer)`."""
        return f"{self.in_features}, {self.out_features}, t_invert={self.t_invert}, lr={self.lr} ({self.lr_rule})"


def hebbian_step_(weight: Tensor, update: Tensor, unit_lr: Float[Tensor, " units"]) -> None:
    """Move `weight` in place by `update`, divided by its largest absolute value (not if that is 0) and times each unit's rate."""
    # amin and amax take any memory format; aminmax would copy a kernel stored channels last.
    largest = torch.maximum(update.amin().neg(), update.amax())
    # No `if`, which would wait for the value on a GPU.
    rate = unit_lr / torch.where(largest == 0, torch.ones_like(largest), largest)
    weight.addcmul_(update, rate.view(-1, *[1] * (weight.ndim - 1)))


def softhebb_layers(network: nn.Module) -> list[SoftHebbLayer]:
    """The SoftHebb layers of a network, in the order of its modules."""
    return [module for module in network.modules() if isinstance(module, SoftHebbLayer)]
