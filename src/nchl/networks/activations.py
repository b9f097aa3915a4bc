"""Elementwise functions of groups of neurons: tanh by default, any elementwise module of torch, or a sequence of them.

The bits of a value do not depend on its place in a tensor, and so those of an individual not on its place in the population. torch's
vectorised code rounds some functions differently from its code for the remaining elements; these are written here by functions for
which it does not (arithmetic, tanh, exp, expm1, log1p, erf).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nchl.errors import InvalidArgument, UnknownName

Activation = str | nn.Module | Iterable[Any] | None


def sigmoid(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 / (1 + exp(-x)), by tanh."""
    return 0.5 + 0.5 * torch.tanh(0.5 * x)


def _gelu(module: Any, x: Tensor) -> Tensor:
    if module.approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


def _softplus(beta: float, threshold: float, x: Tensor) -> Tensor:
    scaled = beta * x
    # The identity beyond the threshold, where neither the exponential nor its gradient may overflow.
    return torch.where(scaled > threshold, x, torch.log1p(torch.exp(scaled.clamp(max=threshold))) / beta)


def _elu(x: Tensor, positive: float, negative: float, inside: float) -> Tensor:
    return torch.where(x > 0, positive * x, negative * torch.expm1(x.clamp(max=0) / inside))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_MISH_THRESHOLD = 20.0

_FUNCTIONS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Tanh: lambda m, x: torch.tanh(x),
    nn.Identity: lambda m, x: x,
    nn.ReLU: lambda m, x: x.clamp(min=0),
    nn.ReLU6: lambda m, x: x.clamp(0, 6),
    nn.Hardtanh: lambda m, x: x.clamp(m.min_val, m.max_val),
    nn.LeakyReLU: lambda m, x: torch.where(x > 0, x, x * m.negative_slope),
    nn.Threshold: lambda m, x: torch.where(x <= m.threshold, m.value, x),
    nn.Sigmoid: lambda m, x: sigmoid(x),
    nn.LogSigmoid: lambda m, x: x.clamp(max=0) - torch.log1p(torch.exp(-x.abs())),
    nn.SiLU: lambda m, x: x * sigmoid(x),
    nn.Mish: lambda m, x: x * torch.tanh(_softplus(1.0, _MISH_THRESHOLD, x)),
    nn.GELU: _gelu,
    nn.Softplus: lambda m, x: _softplus(m.beta, m.threshold, x),
    nn.ELU: lambda m, x: _elu(x, 1.0, m.alpha, 1.0),
    nn.CELU: lambda m, x: _elu(x, 1.0, m.alpha, m.alpha),
    nn.SELU: lambda m, x: _elu(x, _SELU_SCALE, _SELU_SCALE * _SELU_ALPHA, 1.0),
    nn.Hardsigmoid: lambda m, x: (x + 3).clamp(0, 6) / 6,
    nn.Hardswish: lambda m, x: x * (x + 3).clamp(0, 6) / 6,
    nn.Hardshrink: lambda m, x: torch.where(x.abs() <= m.lambd, 0, x),
    nn.Softshrink: lambda m, x: torch.where(x.abs() <= m.lambd, 0, torch.where(x > 0, x - m.lambd, x + m.lambd)),
    nn.Softsign: lambda m, x: x / (1 + x.abs()),
    nn.Tanhshrink: lambda m, x: x - torch.tanh(x),
}
NAMES = {kind.__name__.lower(): kind for kind in _FUNCTIONS if kind is not nn.Threshold}
ELEMENTWISE = (*_FUNCTIONS, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d)
"""Modules that a group of neurons may have; BatchNorm uses its evaluation statistics, Dropout is off."""


def apply(module: nn.Module, x: Float[Tensor, "individuals batch *shape"]) -> Float[Tensor, "individuals batch *shape"]:
    """One elementwise module, out of place."""
    function = _FUNCTIONS.get(type(module))
    if function is not None:
        return function(module, x)
    samples = x.flatten(0, 1)  # BatchNorm takes one axis before the channels
    if isinstance(module, nn.BatchNorm1d):
        samples = samples.flatten(1)  # behind a Flatten, where the neurons keep the shape of their group
    made: Tensor = module(samples).reshape(x.shape)
    return made


def is_bounded(modules: Iterable[nn.Module]) -> bool:
    """Whether the outputs lie in [-1, 1], because the last operation is tanh."""
    last = [m for m in modules if not isinstance(m, (nn.Identity, nn.Dropout))][-1:]
    return bool(last) and (type(last[0]) is nn.Tanh)


def modules_of(activation: Activation, what: str) -> tuple[nn.Module, ...]:
    """The modules of a group's activation: copies for use within episodes, without identities.

    Args:
        activation: a name (`"tanh"`, `"gelu"`, ...), a module, a sequence of them, or None for the identity.
        what: the group or module, for the errors.

    Raises:
        UnknownName: an unknown name.
        InvalidArgument: a module that is not elementwise; the message names it.
    """
    if activation is None:
        return ()
    if isinstance(activation, str):
        if activation.lower() not in NAMES:
            raise UnknownName(f"activation of {what}", activation, sorted(NAMES))
        return modules_of(NAMES[activation.lower()](), what)
    if isinstance(activation, nn.Sequential) or (isinstance(activation, Iterable) and not isinstance(activation, nn.Module)):
        return tuple(module for part in activation for module in modules_of(part, what))
    if not isinstance(activation, nn.Module):
        raise InvalidArgument(f"{what}: expected an activation by name, a torch module or a sequence of them, got {activation!r}")
    module = prepared(activation, what)
    return () if isinstance(module, nn.Identity) else (module,)


def prepared(module: nn.Module, what: str) -> nn.Module:
    """A copy of an elementwise module for use within episodes: evaluation statistics, no dropout, not in place.

    Raises:
        InvalidArgument: a module that is not elementwise, or a subclass that overrides `forward`.
    """
    if not isinstance(module, ELEMENTWISE):
        raise InvalidArgument(
            f"{what}: {type(module).__name__} is not an elementwise function that is known here; known are "
            f"{', '.join(kind.__name__ for kind in ELEMENTWISE)}"
        )
    base = next(base for base in (type(module), *type(module).__mro__) if base in ELEMENTWISE)
    if getattr(type(module), "forward", None) is not getattr(base, "forward", None) or "forward" in vars(module):
        raise InvalidArgument(f"{what}: {type(module).__name__} has a forward of its own, other than that of {base.__name__}")
    if isinstance(module, nn.Dropout):
        return nn.Identity()
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None:
        raise InvalidArgument(f"{what}: an episode uses the evaluation statistics, and track_running_stats=False keeps none; give it True")
    module = copy.deepcopy(module).eval().requires_grad_(False)
    if hasattr(module, "inplace"):
        vars(module)["inplace"] = False
    return module
