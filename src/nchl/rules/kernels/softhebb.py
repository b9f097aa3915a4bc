"""C++ kernels for SoftHebb's step around its matrix products: float32, CPU. Tests compare them with `nchl.rules.softhebb`.

They are compiled when the first layer learns (a few seconds) and kept for later processes. Without a compiler the torch
functions compute the same up to rounding. No result depends on the number of threads.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nchl.errors import NchlError
from nchl.rules.kernels.build import library

_STEP, _SHARE = "softhebb", "softhebb_share"  # the sources
_SHARINGS = {"max": 0, "min": 1, "median": 2}


def unavailable() -> str:
    """The reason why there are no kernels on this machine; empty if there are."""
    return next((found for found in map(library, (_STEP, _SHARE)) if isinstance(found, str)), "")


def serve(*tensors: Tensor) -> bool:
    """Whether there are kernels and they take these tensors."""
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors) and not unavailable()


def patches(
    x: Float[Tensor, "batch in_channels height width"], kernel_size: tuple[int, int], stride: int, out: tuple[int, int]
) -> Float[Tensor, "batch positions fan_in"]:
    """The rows of `softhebb.unfold`; `out` is the output's height and width."""
    image = x.permute(0, 2, 3, 1).contiguous()
    result = image.new_empty(len(image), out[0] * out[1], kernel_size[0] * kernel_size[1] * image.shape[3])
    sizes = (*image.shape, *kernel_size, stride, *out)
    _call("patches", (ctypes.c_int64 * len(sizes))(*sizes), torch.get_num_threads(), _at(image), _at(result))
    return result


def soft_wta(u: Float[Tensor, "batch positions units"], t_invert: float, competition: str) -> Float[Tensor, "batch positions units"]:
    """As `softhebb.soft_wta`."""
    u = u.contiguous()
    s = torch.empty_like(u)
    batch, positions, units = u.shape
    groups, together = (batch * positions, 1) if competition == "channel" else (batch, positions)
    sizes = (ctypes.c_int64(groups), ctypes.c_int64(together), ctypes.c_int64(units))
    _call("soft_wta", *sizes, torch.get_num_threads(), ctypes.c_float(t_invert), _at(u), _at(s))
    return s


def move_(weights: Float[Tensor, "units fan_in"], total: Float[Tensor, "units fan_in"], lr: float, power: float, *, by_norm: bool) -> None:
    """Move weights in place by the update total - (total . W) W, divided by its largest absolute value, times each unit's rate.

    Args:
        weights: contiguous.
        total: sum (or mean) of s x, contiguous.
        lr: learning rate, before it is multiplied by the distance of a unit's norm from 1.
        power: of that distance.
        by_norm: False for `lr` as it is.
    """
    units, fan_in = weights.shape
    spread = weights.new_empty(units, 2)
    sizes = (ctypes.c_int64(units), ctypes.c_int64(fan_in), torch.get_num_threads(), by_norm)
    _call("move", *sizes, ctypes.c_float(lr), ctypes.c_float(power), _at(total), _at(weights), _at(spread))


def triangle_max_pool(
    u: Float[Tensor, "batch channels height width"], size: int, stride: int, padding: int
) -> Float[Tensor, "batch channels out_height out_width"]:
    """The largest relu(u - mean over channels) of each window, stored channels last; at most half of `size` is `padding`."""
    image = u.permute(0, 2, 3, 1).contiguous()
    batch, height, width, channels = image.shape
    out = [(side + 2 * padding - size) // stride + 1 for side in (height, width)]
    result = image.new_empty(batch, *out, channels)
    sizes = (batch, height, width, channels, size, stride, padding, *out)
    _call("triangle_max_pool", (ctypes.c_int64 * len(sizes))(*sizes), torch.get_num_threads(), _at(image), _at(result))
    return result.permute(0, 3, 1, 2)


def shared_update(
    patches: Float[Tensor, "batch positions fan_in"],
    u: Float[Tensor, "batch positions units"],
    s: Float[Tensor, "batch positions units"],
    weights: Float[Tensor, "units fan_in"],
    sharing: str,
) -> Float[Tensor, "units fan_in"]:
    """As `softhebb.shared_update`, for max, min and median."""
    batch, positions, fan_in = patches.shape
    update = torch.empty_like(weights)
    decay = (s * u).sum(dim=0).T.contiguous()
    by_unit = s.permute(2, 1, 0).contiguous()
    sizes = [ctypes.c_int64(size) for size in (batch, positions, len(weights), fan_in)]
    _call(
        "share", *sizes, torch.get_num_threads(), _SHARINGS[sharing], *map(_at, (patches, by_unit, decay, weights, update)), source=_SHARE
    )
    return update


def _at(tensor: Tensor) -> ctypes.c_void_p:
    # Not an assert, which `python -O` removes: a kernel reads this memory.
    if not (tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()):
        raise TypeError(f"a kernel takes contiguous float32 tensors on the CPU, got {tensor.dtype} on {tensor.device}")
    return ctypes.c_void_p(tensor.data_ptr())


def _call(name: str, *arguments: Any, source: str = _STEP) -> None:
    found = library(source)
    if isinstance(found, str):
        raise NchlError(f"the SoftHebb kernels cannot be built: {found}")
    function = getattr(found, name)
    function.restype = None
    function(*arguments)
