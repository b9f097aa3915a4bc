"""What a network takes in: observations of one individual or a population, with or without a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nchl.errors import ShapeError
from nchl.networks.checks import Numbers, real_numbers

if TYPE_CHECKING:
    from nchl.networks.base import PlasticNetwork


def observe(net: PlasticNetwork, x: Numbers) -> tuple[Tensor, bool]:
    """A copy of `x` as `(*lead, *input_shape)` or, with a batch, `(*lead, batch, *input_shape)`; and whether there is a batch.

    It is a copy because simulators write the next observation into the same memory before the update has seen this one.

    Args:
        net: takes it: its population, input shape, dtype and device.
        x: without the axis of the population, all individuals see the same.

    Raises:
        ShapeError: another shape; names both.
        InvalidArgument: no numbers.
    """
    observation = real_numbers(x, "an observation")
    extra = observation.ndim - len(net.input_shape)
    if extra < 0 or tuple(observation.shape[extra:]) != net.input_shape or extra > len(net.lead) + 1:
        _refuse(net, observation)
    if extra == 0:
        observation = observation.expand(*net.lead, *net.input_shape)
    elif net.lead and observation.shape[0] != net.population:
        _refuse(net, observation)
    batched = extra == len(net.lead) + 1
    if batched and observation.shape[extra - 1] == 0:
        _refuse(net, observation)
    if net.differentiable:
        return observation.to(dtype=net.dtype, device=net.device, copy=True), batched
    copied = torch.empty(observation.shape, dtype=net.dtype, device=net.device)
    copied.copy_(observation.detach())
    return copied, batched


def _refuse(net: PlasticNetwork, x: Tensor) -> None:
    single = (*net.lead, *net.input_shape)
    batched = (*map(str, net.lead), "batch", *map(str, net.input_shape))
    raise ShapeError(f"expected an observation of shape {single}, or ({', '.join(batched)}), got {tuple(x.shape)}")
