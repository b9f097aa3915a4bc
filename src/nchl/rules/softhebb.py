"""SoftHebb, the soft winner-take-all rule of Journe et al. (ICLR 2023), with its update shared over a convolution's positions.

    s  = softmax(t_invert * u), its sign flipped to minus for all but the unit with the largest u
    dW = s (x - u W)                                  per connection, summed over the batch

A kernel element labels one connection per output position; it moves by the sum, mean, max, min or (lower) median of their
updates. No sharing holds one number per connection in memory. Sum and mean are two matrix products, because all positions have
the same W; max, min and median are exact and computed chunk by chunk.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules.kernels import softhebb as kernels

Competition = Literal["channel", "layer"]
Sharing = Literal["sum", "mean", "max", "min", "median"]
COMPETITIONS: tuple[str, ...] = get_args(Competition)
SHARINGS: tuple[str, ...] = get_args(Sharing)

# Numbers held at once by max, min and median: 4 MiB of float32, about the size of a core's caches.
_CHUNK = 1 << 20

# exp(-60) is negligible beside 1 and not denormal; denormal numbers make matrix products tens of times slower.
_NOTHING = -60.0


@torch.no_grad()
def softhebb_conv(
    x: Float[Tensor, "*batch in_channels height width"],
    kernel: Float[Tensor, "out_channels in_channels kernel_height kernel_width"],
    t_invert: float,
    stride: int = 1,
    padding: int = 0,
    competition: str = "channel",
    sharing: str = "sum",
) -> Float[Tensor, "out_channels in_channels kernel_height kernel_width"]:
    """The update of a convolution's kernel from one batch of inputs, before any division or learning rate.

    Source: Journe et al., ICLR 2023.

    Args:
        x: one image or a batch of them.
        kernel: the weights as they are; nothing is changed.
        t_invert: inverse temperature of the softmax, above 0.
        stride: step between output positions, in both directions.
        padding: zeros on each side, inputs like the others. (A layer with reflection pads `x` itself.)
        competition: `"channel"`, one winner per position and sample, or `"layer"`, one winner per sample.
        sharing: how a kernel element's connections agree: `"sum"`, `"mean"`, `"max"`, `"min"` or `"median"` (the lower one).

    Raises:
        ShapeError: channels differ, or the kernel is larger than the padded input.
        UnknownName: a competition or sharing that does not exist.
        InvalidArgument: a temperature, stride or padding out of range.
    """
    check_names(competition, sharing)
    _check_numbers(t_invert, stride, padding)
    if kernel.ndim != 4 or x.ndim not in (3, 4) or x.shape[-3] != kernel.shape[1]:
        raise ShapeError(
            f"expected images (batch, {kernel.shape[1] if kernel.ndim == 4 else 'channels'}, height, width) and a kernel "
            f"(out, in, height, width) with the same number of input channels, got {tuple(x.shape)} and {tuple(kernel.shape)}"
        )
    x = x if x.ndim == 4 else x.unsqueeze(0)
    padded = F.pad(x, (padding,) * 4) if padding else x
    patches, _ = unfold(padded, kernel.shape[2:], stride)
    weights = kernel_rows(kernel)
    u = patches @ weights.T
    return rows_to_kernel(shared_update(patches, u, soft_wta(u, t_invert, competition), weights, sharing), kernel.shape)


def soft_wta(
    u: Float[Tensor, "batch positions units"], t_invert: float, competition: str = "channel"
) -> Float[Tensor, "batch positions units"]:
    """Post activations s: a softmax over the competitors, positive for the winner (ties: the lowest index) and negative for the rest."""
    if competition == "channel":
        return _winner_against_the_rest(u, t_invert)
    # Units of a layer are ordered (channel, y, x), so that ties go to the lowest index of that order.
    batch, positions, units = u.shape
    flat = u.transpose(1, 2).reshape(batch, units * positions)
    return _winner_against_the_rest(flat, t_invert).view(batch, units, positions).transpose(1, 2)


def _winner_against_the_rest(competitors: Tensor, t_invert: float) -> Tensor:
    """Softmax over the last axis, negated except for the first of the largest.

    The largest is found before the temperature is applied, which could round two of them to the same number.
    """
    if competitors.device.type == "cpu":
        below = competitors - competitors.amax(dim=-1, keepdim=True)
        sign = below.sign()  # 0 for the winner, -1 for the rest; signs vectorise, comparisons and indices do not
        # Half precision would round the number of losers, and so overlook a tie.
        losers = sign.sum(dim=-1, dtype=torch.promote_types(sign.dtype, torch.float32))
        if not bool((losers != 1 - competitors.shape[-1]).any()):
            s = below.mul_(t_invert).clamp_(min=_NOTHING).exp_()
            return s.div_(s.sum(dim=-1, keepdim=True)).mul_(sign.mul_(2).add_(1))
    # There are ties or NaN; or this is a GPU, which should not wait for the result of `any`.
    top = competitors.max(dim=-1, keepdim=True)
    s = torch.softmax((competitors - top.values).mul_(t_invert).clamp_(min=_NOTHING), dim=-1)
    value = s.gather(-1, top.indices)
    return s.neg_().scatter_(-1, top.indices, value)


def shared_update(
    patches: Float[Tensor, "batch positions fan_in"],
    u: Float[Tensor, "batch positions units"],
    s: Float[Tensor, "batch positions units"],
    weights: Float[Tensor, "units fan_in"],
    sharing: str = "sum",
) -> Float[Tensor, "units fan_in"]:
    """One update per kernel element: s (x - u W), summed over the batch, shared over the positions."""
    positions = u.shape[1]
    if sharing in ("sum", "mean"):
        total = s.flatten(0, 1).T @ patches.flatten(0, 1)
        # sum of s u over batch and positions; u = x W turns it into a product of the two small matrices, where they are smaller.
        decay = (total * weights).sum(dim=1) if total.numel() < u.numel() else (s * u).sum(dim=(0, 1))
        total.addcmul_(weights, decay[:, None], value=-1)
        return total if sharing == "sum" else total.div_(positions)
    pre = patches.transpose(0, 1)  # (positions, batch, fan_in)
    post = s.permute(1, 2, 0)  # (positions, units, batch)
    decay_of_position = (s * u).sum(dim=0)[:, :, None]  # (positions, units, 1)
    if sharing == "median":
        return _median(pre, post, decay_of_position, weights)
    return _extreme(pre, post, decay_of_position, weights, largest=sharing == "max")


def _extreme(pre: Tensor, post: Tensor, decay: Tensor, weights: Tensor, *, largest: bool) -> Tensor:
    """Max or min over the positions, a few positions at a time."""
    best = torch.full_like(weights, -torch.inf if largest else torch.inf)
    together = max(1, _CHUNK // weights.numel())
    for chunk in range(0, pre.shape[0], together):
        part = slice(chunk, chunk + together)
        moves = torch.bmm(post[part], pre[part]).addcmul_(weights, decay[part], value=-1)
        best = torch.maximum(best, moves.amax(dim=0)) if largest else torch.minimum(best, moves.amin(dim=0))
    return best


def _median(pre: Tensor, post: Tensor, decay: Tensor, weights: Tensor) -> Tensor:
    """The lower median over the positions, a few units at a time, because it needs all positions of an element."""
    update = torch.empty_like(weights)
    positions, together = pre.shape[0], max(1, _CHUNK // (pre.shape[0] * weights.shape[1]))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for chunk in range(0, weights.shape[0], together):
            part = slice(chunk, chunk + together)
            moves = torch.bmm(post[:, part], pre).addcmul_(weights[part], decay[:, part], value=-1)
            update[part] = _lower_median(moves.view(positions, -1).T.contiguous(), pool).view_as(update[part])
    return update


def _lower_median(rows: Tensor, pool: ThreadPoolExecutor) -> Tensor:
    """The element (n - 1) // 2 of each sorted row; NaN where a row has one. `rows` may be overwritten."""
    if rows.device.type != "cpu" or rows.dtype == torch.bfloat16:  # numpy has no bfloat16
        return rows.median(dim=-1).values
    # On a CPU numpy's vectorised sort takes a fifth of the time of torch's selection, and threads can sort different rows.
    list(pool.map(lambda block: block.sort(axis=-1), np.array_split(rows.numpy(), torch.get_num_threads())))
    return torch.where(rows[:, -1].isnan(), rows[:, -1], rows[:, (rows.shape[1] - 1) // 2])


def unfold(
    x: Float[Tensor, "batch in_channels height width"], kernel_size: tuple[int, ...] | torch.Size, stride: int = 1, *, kernel: bool = False
) -> tuple[Float[Tensor, "batch positions fan_in"], tuple[int, int]]:
    """The inputs of every output position as rows (kernel row, kernel column, channel), and the output's height and width.

    Channels are last, so that a patch is copied in runs of `kernel width * channels` numbers; `kernel` selects the C++ kernel.
    """
    rows, columns = kernel_size
    batch, channels, height, width = x.shape
    if height < rows or width < columns:
        raise ShapeError(
            f"expected an input of at least {rows}x{columns}, the kernel's size, after padding, got {height}x{width}; "
            "use more padding or fewer layers"
        )
    out = ((height - rows) // stride + 1, (width - columns) // stride + 1)
    if kernel:
        return kernels.patches(x, (rows, columns), stride, out), out
    image = x.permute(0, 2, 3, 1).contiguous()
    step_image, step_row, step_column, _ = image.stride()
    windows = image.as_strided(
        (batch, out[0], out[1], rows, columns * channels),
        (step_image, step_row * stride, step_column * stride, step_row, 1),
        image.storage_offset(),
    )
    return windows.reshape(batch, out[0] * out[1], rows * columns * channels), out


def kernel_rows(kernel: Float[Tensor, "units in_channels rows columns"]) -> Float[Tensor, "units fan_in"]:
    """A kernel as a matrix with its columns in the order of `unfold`; a view if the kernel is stored channels last."""
    return kernel.permute(0, 2, 3, 1).reshape(kernel.shape[0], -1)


def rows_to_kernel(rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Float[Tensor, "units in_channels rows columns"]:
    """The inverse of `kernel_rows`: a view with the kernel's shape."""
    units, channels, height, width = shape
    return rows.view(units, height, width, channels).permute(0, 3, 1, 2)


def check_names(competition: str, sharing: str) -> None:
    """Raise `UnknownName` for a competition or a sharing that does not exist."""
    if competition not in COMPETITIONS:
        raise UnknownName("competition", competition, COMPETITIONS)
    if sharing not in SHARINGS:
        raise UnknownName("sharing", sharing, SHARINGS)


def _check_numbers(t_invert: float, stride: int, padding: int) -> None:
    if not 0 < t_invert < float("inf"):
        raise InvalidArgument(f"expected t_invert (the inverse temperature of the softmax) above 0 and finite, got {t_invert}")
    if stride < 1 or padding < 0:
        raise InvalidArgument(f"expected a stride of at least 1 and a padding of at least 0, got stride {stride} and padding {padding}")
