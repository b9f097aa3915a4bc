"""The connections of a convolution as tensors, and the aggregate of those that carry one kernel element."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nchl.errors import ShapeError, UnknownName
from nchl.rules.convolution.geometry import ConvGeometry, taps
from nchl.rules.declaration import check_lead, side

SHARINGS = ("max", "min", "median", "mean")

# Connections formed at a time, over all individuals: bounds the memory of the torch function.
_AT_ONCE = 2**21
# From this many connections of one output channel on, individuals are computed one by one.
_ALONE = 2**14

Arguments = dict[str, Tensor]


def check_sharing(sharing: str) -> str:
    """The name itself.

    Raises:
        UnknownName: it is none of `SHARINGS`.
    """
    if sharing not in SHARINGS:
        raise UnknownName("sharing", sharing, SHARINGS)
    return sharing


class Connections:
    """The connections of one layer, as tensors (*lead, batch, groups, out in group, in in group, tap, position)."""

    def __init__(self, geometry: ConvGeometry, pre: Tensor, post: Tensor, lead: int, sharing: str) -> None:
        for name, tensor, shape in (("pre", pre, geometry.input_shape), ("post", post, geometry.output_shape)):
            if tuple(tensor.shape[-3:]) != shape:
                raise ShapeError(f"{name}: expected (..., {', '.join(map(str, shape))}) for this convolution, got {tuple(tensor.shape)}")
        self.geometry, self.lead, self.sharing = geometry, lead, check_sharing(sharing)
        index, valid = taps(geometry)
        self.index = index.to(pre.device)
        self.valid = None if bool(valid.all()) else valid.to(pre.device)
        batches = pre.shape[lead:-3], post.shape[lead:-3]
        if batches[0] != batches[1]:
            check_lead(**{"the batch of pre": batches[0], "the batch of post": batches[1]})
        batch = torch.broadcast_shapes(*batches)
        self.activations = {"pre": self._with_batch(pre, batch), "post": self._with_batch(post, batch)}

    def share(self, named: Arguments, terms: Callable[[Arguments], tuple[Tensor, ...]]) -> list[Tensor]:
        """Aggregate each term, a function of the connections' arguments, into a tensor (*lead, *kernel_shape)."""
        # The reward, one number of an individual, has none of a connection's axes yet.
        given = {name: tensor[..., None, None, None, None] if name == "reward" else tensor for name, tensor in named.items()}
        tensors = self.activations | {name: tensor.unsqueeze(self.lead) for name, tensor in given.items()}
        batch = max(t.shape[self.lead] for t in tensors.values())
        people = max(t.shape[0] for t in tensors.values()) if self.lead else 1
        # A slice is one output channel of each group. Large slices are faster one individual at a time; the choice does not depend
        # on the population, and so neither does any result.
        slice_size = batch * self.geometry.in_channels * self.index.numel()
        if people == 1 or slice_size < _ALONE:
            return self._share(tensors, terms, max(1, _AT_ONCE // (people * slice_size)))
        each = [{name: t[p : p + 1] if t.shape[0] > 1 else t for name, t in tensors.items()} for p in range(people)]
        parts = [self._share(one, terms, max(1, _ALONE // slice_size)) for one in each]
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def _share(self, tensors: Arguments, terms: Callable[[Arguments], tuple[Tensor, ...]], step: int) -> list[Tensor]:
        """`step` output channels of each group at a time."""
        geometry, count = self.geometry, self.geometry.out_channels // self.geometry.groups
        arguments = {name: self._place(name, tensor) for name, tensor in tensors.items()}
        pieces: list[list[Tensor]] = []
        for start in range(0, count, step):
            outputs = {name: self._outputs(t, start, min(step, count - start)) for name, t in arguments.items()}
            shape = (geometry.groups, min(step, count - start), geometry.in_channels // geometry.groups, self.index.shape[0])
            pieces.append([self._aggregate(term.mean(self.lead), shape) for term in terms(outputs)])
        joined = [torch.cat(parts, dim=-3) for parts in zip(*pieces, strict=True)]
        return [_unflatten(part.flatten(-4, -3), -1, geometry.kernel_size) for part in joined]

    def _with_batch(self, tensor: Tensor, batch: torch.Size) -> Tensor:
        """The tensor with one batch axis, which stays 1 long where all samples have the same values."""
        missing = self.lead - (tensor.ndim - 3)
        tensor = tensor[(None,) * missing] if missing > 0 else tensor
        lead, own = tensor.shape[: self.lead], tensor.shape[self.lead : -3]
        if own != batch and own.numel() != 1:
            tensor = tensor[(slice(None),) * self.lead + (None,) * (len(batch) - len(own))]
            tensor = tensor.expand(*lead, *batch, *tensor.shape[-3:])
        return tensor.reshape(*lead, -1, *tensor.shape[-3:])

    def _place(self, name: str, tensor: Tensor) -> Tensor:
        groups, belongs = self.geometry.groups, side(name)
        if belongs == "individual":
            return tensor.flatten(-2).unsqueeze(-4).unsqueeze(-1)
        if belongs == "pre":
            patches: Tensor = tensor.flatten(-2)[..., self.index]
            return _unflatten(patches, -3, (groups, -1)).unsqueeze(-4)
        if belongs == "post":
            return _unflatten(tensor.flatten(-2), -2, (groups, -1))[..., None, None, :]
        return _unflatten(tensor.flatten(-2), -3, (groups, -1)).unsqueeze(-1)

    @staticmethod
    def _outputs(tensor: Tensor, start: int, length: int) -> Tensor:
        return tensor if tensor.shape[-4] == 1 else tensor.narrow(-4, start, length)

    def _aggregate(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        valid, sharing = self.valid, self.sharing
        if valid is None:
            plain = {
                "max": lambda v: v.amax(-1),
                "min": lambda v: v.amin(-1),
                "mean": lambda v: v.mean(-1),
                "median": lambda v: v.median(-1).values,
            }
            result = plain[sharing](values)
        else:
            counts = valid.sum(-1)
            if sharing == "mean":
                result = values.where(valid, 0).sum(-1) / counts.clamp(min=1)
            elif sharing == "median":
                result = self._median(values.expand(*values.shape[:-2], *valid.shape), valid)
            else:
                result = values.where(valid, -torch.inf).amax(-1) if sharing == "max" else values.where(valid, torch.inf).amin(-1)
            result = result.where(counts > 0, 0)
        shared: Tensor = result.expand(*result.shape[: self.lead], *shape)
        return shared

    @staticmethod
    def _median(values: Tensor, valid: Tensor) -> Tensor:
        """The lower median of each tap's connections; taps differ in their number of connections, so each is selected alone."""
        columns = [values[..., tap, here if bool(here.any()) else slice(1)] for tap, here in enumerate(valid)]
        return torch.stack([column.median(-1).values for column in columns], dim=-1)


def _unflatten(tensor: Tensor, axis: int, sizes: tuple[int, ...]) -> Tensor:
    split: Tensor = tensor.unflatten(axis, sizes)
    return split
