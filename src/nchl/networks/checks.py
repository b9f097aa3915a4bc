"""What networks have in common: checks of sizes and numbers, the genome's blocks, the product W x, normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.networks.plasticity import Plasticity

Numbers = Tensor | np.ndarray | Sequence[Any]
"""What a user may give where a tensor is wanted."""


def real_numbers(given: Numbers, what: str) -> Tensor:
    """A tensor of what a user gives as numbers; `what` takes them goes into the errors.

    Raises:
        InvalidArgument: they are no array of real numbers.
    """
    if isinstance(given, Tensor):
        tensor = given
    else:
        try:
            array = np.asarray(given)
            # What torch cannot look at where it is: a foreign order of bytes, an axis that runs backwards, memory that is read-only.
            if not array.dtype.isnative or min(array.strides, default=0) < 0 or not array.flags.writeable:
                array = array.astype(array.dtype.newbyteorder("="), order="C")
            tensor = torch.as_tensor(array)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # of what is no array of numbers, or a ragged one
            raise InvalidArgument(f"{what}: expected numbers, got {type(given).__name__} ({str(error)[:200]})") from error
    if tensor.is_complex():
        raise InvalidArgument(f"{what}: expected real numbers, got {tensor.dtype}")
    return tensor


def gives_weights(weights: object) -> bool:
    """Whether `reset` was given any, by its first argument: the empty list of a network that draws none counts as none."""
    return weights is not None and not (isinstance(weights, Sequence) and len(weights) == 0)


def check_device(device: torch.device | str | None) -> None:
    """Raise an InvalidArgument for a device that torch does not have here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgument(f"device {str(device)!r} cannot be used here ({reason}); cpu always can") from error


def check_generator(generator: object) -> torch.Generator:
    """The generator itself.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(generator, torch.Generator):
        hint = f"; for a seed, write torch.Generator().manual_seed({generator})" if isinstance(generator, int) else ""
        raise InvalidArgument(f"generator: expected a torch.Generator, got {generator!r}{hint}")
    return generator


def check_active(active: Any, population: int | None) -> Tensor | None:
    """`active` as a bool tensor of one number for each individual, or None where none was given.

    Raises:
        ShapeError: another number of them, or a single network.
        InvalidArgument: neither True nor False.
    """
    if active is None or (type(active) is Tensor and active.dtype is torch.bool and active.shape == (population,)):
        return active
    try:
        given = torch.as_tensor(active)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidArgument(f"active: expected True or False for each individual, got {type(active).__name__} ({error})") from error
    if given.dtype not in (torch.bool, torch.uint8):
        raise InvalidArgument(f"active: expected True or False for each individual, got numbers of type {given.dtype}")
    if population is None or tuple(given.shape) != (population,):
        expected = "a population (this is a single network: leave it out)" if population is None else f"shape {(population,)}"
        raise ShapeError(f"active: expected {expected}, got shape {tuple(given.shape)}")
    return given.bool()


def check_constants(named: Mapping[str, Numbers], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `load_constants` was given, as tensors.

    Args:
        named: constants by name.
        own: those of the network.

    Raises:
        InvalidArgument: a constant is missing, or there is none of that name.
        ShapeError: one has another shape.
    """
    if set(named) != set(own):
        raise InvalidArgument(
            f"load_constants: this network's constants are {', '.join(sorted(own)) or 'none'}, "
            f"got {', '.join(sorted(named)) or 'none'}; they are those of another network"
        )
    new = {name: real_numbers(value, f"constant {name}") for name, value in named.items()}
    for name, value in new.items():
        if value.shape != own[name].shape:
            raise ShapeError(f"load_constants: expected {name} of shape {tuple(own[name].shape)}, got {tuple(value.shape)}")
    return new


def check_reward(reward: Any, lead: tuple[int, ...], like: Tensor) -> Tensor:
    """A reward as one number for each individual (one for a single network), of the type and device of `like`.

    Raises:
        ShapeError: neither one number nor one for each individual.
        InvalidArgument: no number.
    """
    given = real_numbers(reward, "reward").to(dtype=like.dtype, device=like.device)
    if tuple(given.shape) not in {(), (1,), lead}:
        raise ShapeError(f"reward: expected a number{f' or shape {lead}' if lead else ''}, got shape {tuple(given.shape)}")
    return given.expand(lead or (1,)).contiguous()


def check_nodes(nodes: Sequence[int]) -> tuple[int, ...]:
    """The layer sizes as a tuple.

    Raises:
        InvalidArgument: fewer than two, or one that is not a positive integer.
    """
    expected = "nodes: expected at least two positive layer sizes (inputs first, outputs last), got"
    try:
        given = list(nodes)
        sizes = tuple(int(n) for n in given)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{expected} {nodes!r}") from None
    if len(sizes) < 2 or any(n != number or n < 1 for n, number in zip(sizes, given, strict=True)):
        raise InvalidArgument(f"{expected} {given}")
    return sizes


def check_weights(weights: Sequence[Numbers], layers: Sequence[tuple[str, tuple[int, ...]]], lead: tuple[int, ...]) -> list[Tensor]:
    """What `reset` was given, as tensors.

    Args:
        weights: for each layer `shape`, or `(*lead, *shape)`.
        layers: name and shape of each.
        lead: the axes of the population.

    Raises:
        ShapeError: another number of them, or another shape.
        InvalidArgument: no numbers.
    """
    if len(weights) != len(layers):
        raise ShapeError(f"reset: expected {len(layers)} weight tensors, one per layer, got {len(weights)}")
    tensors = [real_numbers(weight, "reset") for weight in weights]
    for (name, shape), tensor in zip(layers, tensors, strict=True):
        if tuple(tensor.shape) not in {shape, (*lead, *shape)}:
            also = f" or {(*lead, *shape)}" if lead else ""
            raise ShapeError(f"reset: layer {name} expects weights of shape {shape}{also}, got {tuple(tensor.shape)}")
    return tensors


def product(weight: Shaped[Tensor, "*#lead outputs inputs"], x: Shaped[Tensor, "*#lead inputs"]) -> Shaped[Tensor, "*_lead outputs"]:
    """W x, as a multiplication and a sum: unlike a matrix product, its bits depend neither on threads nor on the population."""
    return (weight * x.unsqueeze(-2)).sum(-1)


def normalised(
    weight: Float[Tensor, "individuals outputs *inputs"], plasticity: Plasticity
) -> Float[Tensor, "individuals outputs *inputs"]:
    """The weights of one edge after normalisation, each individual by itself; what would divide by 0 stays.

    A weight that is not finite makes none that is: clipped, an overflow would be found by one back end and not by another.
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
        # The root of 0 has no slope, so that it is taken of 1 there.
        return weight / torch.where(squares > 0, squares, 1).sqrt()
    # Of differences from one weight: the deviation of equal weights is then 0, whatever the rounding of a sum of them.
    first = weight.flatten(1)[:, :1].reshape(-1, *(1,) * len(edge))
    centred = weight - (first + (weight - first).mean(dim=edge, keepdim=True))
    variance = (centred * centred).mean(dim=edge, keepdim=True)
    return torch.where(variance > 0, centred / torch.where(variance > 0, variance, 1).sqrt(), weight)


def by_name(names: tuple[str, ...], block: Tensor | None, batch_axis: int | None = None, trailing: int = 1) -> dict[str, Tensor]:
    """Split `(*lead, k, n)` (or with `trailing` 2, `(*lead, k, out, in)`) into named tensors, with an axis of 1 for a batch if asked."""
    if block is None:
        return {}
    tensors = dict(zip(names, block.unbind(-1 - trailing), strict=True))
    return {name: t.unsqueeze(batch_axis) for name, t in tensors.items()} if batch_axis is not None else tensors
