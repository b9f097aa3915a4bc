"""Distributions of the initial weights of a lifetime.

| name           | distribution                                                    |
| -------------- | --------------------------------------------------------------- |
| zeros          | 0                                                               |
| uniform        | U(-0.1, 0.1), the default                                       |
| normal         | N(0, 0.024), 0.024 being the standard deviation                 |
| xavier         | U(-b, b), b = 0.3 sqrt(6 / (fan_in + fan_out))                  |
| kaiming        | U(-b, b), b = sqrt(6 / fan_in)                                  |
| uniform1       | U(-1, 1)                                                        |
| sparse         | N(0, 0.01), but 80 % of each unit's incoming weights (never all)|
|                | are 0                                                           |
| coevolved      | none is drawn: the weights stand at the end of the genome       |
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.checks import check_generator

COEVOLVED = "coevolved"
DEFAULT = "uniform"


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64) * 2 - 1) * bound


def _normal(shape: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64) * std


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _xavier(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return _uniform(shape, 0.3 * math.sqrt(6 / sum(_fans(shape))), generator)


def _kaiming(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return _uniform(shape, math.sqrt(6 / _fans(shape)[0]), generator)


def _sparse(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    weight = _normal(shape, 0.01, generator).reshape(shape[0], -1)
    # As in torch.nn.init.sparse_, an exact share instead of a random choice per weight; per unit, so that no unit loses all inputs.
    order = torch.rand(weight.shape, generator=generator, device=generator.device, dtype=torch.float64).argsort(dim=1)
    incoming = weight.shape[1]
    return weight.masked_fill(order < min(math.ceil(0.8 * incoming), incoming - 1), 0.0).reshape(shape)


_DRAW: dict[str, Callable[[tuple[int, ...], torch.Generator], Tensor]] = {
    "zeros": lambda shape, generator: torch.zeros(shape, device=generator.device, dtype=torch.float64),
    "uniform": lambda shape, generator: _uniform(shape, 0.1, generator),
    "normal": lambda shape, generator: _normal(shape, 0.024, generator),
    "xavier": _xavier,
    "kaiming": _kaiming,
    "uniform1": lambda shape, generator: _uniform(shape, 1.0, generator),
    "sparse": _sparse,
}
NAMES = (*_DRAW, COEVOLVED)


def check(name: str) -> str:
    """The name itself.

    Raises:
        UnknownName: `name` is none of `NAMES`.
    """
    if name not in NAMES:
        raise UnknownName("initial weights", name, NAMES)
    return name


def draw(name: str, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """One individual's weights of one layer, on the generator's device.

    They are drawn in float64 and then rounded, so that float32 and float64 networks start from the same weights.

    Args:
        name: one of `NAMES` except `"coevolved"`, which draws nothing.
        shape: `(out, in)` or `(out, in, *kernel)`.
        generator: a CPU generator.
        dtype: of the result; None: torch's default.

    Raises:
        UnknownName: `name` is none of `NAMES`.
        InvalidArgument: `name` is `"coevolved"`, or `generator` is no torch.Generator.
    """
    if name == COEVOLVED:
        raise InvalidArgument(f"initial weights {COEVOLVED!r}: none are drawn, they stand in the genome; draw one of {', '.join(_DRAW)}")
    return _DRAW[check(name)](shape, check_generator(generator)).to(dtype or torch.get_default_dtype())
