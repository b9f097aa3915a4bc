"""What networks have in common: checks of sizes and numbers, the genome's blocks, the product W x, normalisation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.genome import Layout
from nchl.rules import Rule

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


def group_names(nodes: Sequence[int]) -> list[str]:
    """Names of the groups of neurons: input, hidden0, ..., output."""
    return ["input", *(f"hidden{k}" for k in range(len(nodes) - 2)), "output"]


def mlp_layout(nodes: Sequence[int], rule: Rule, *, coevolved: bool = False) -> Layout:
    """The genome of an MLP: neurons' parameters group by group, synapses' layer by layer, then co-evolved weights.

    A block that would be empty (a group of neurons none of whose numbers the rule uses) is left out.
    """
    blocks: list[tuple[str, tuple[int, ...], tuple[str, ...]]] = []
    for k, (name, size) in enumerate(zip(group_names(nodes), nodes, strict=True)):
        parameters = rule.neuron_parameters(presynaptic=k < len(nodes) - 1, postsynaptic=k > 0)
        if parameters:
            blocks.append((name, (size, len(parameters)), parameters))
    layers = list(itertools.pairwise(nodes))
    if rule.synapse:
        blocks += [(f"layer{k}", (n_out, n_in, len(rule.synapse)), rule.synapse) for k, (n_in, n_out) in enumerate(layers)]
    if coevolved:
        blocks += [(f"weights{k}", (n_out, n_in), ()) for k, (n_in, n_out) in enumerate(layers)]
    return Layout(blocks)


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


def check_normalise(normalise: str | None) -> str | None:
    """None or `"max"`; the command line's word `"none"` counts as None.

    Raises:
        InvalidArgument: anything else.
    """
    if normalise in (None, "none"):
        return None
    if normalise != "max":
        raise InvalidArgument(f"normalise: expected None or 'max', got {normalise!r}")
    return normalise


def normalise_by_max(weight: Shaped[Tensor, "*lead outputs inputs"]) -> None:
    """Divide each individual's layer by its largest absolute weight, in place; a layer of zeros stays."""
    largest = weight.abs().amax(dim=(-2, -1), keepdim=True)
    weight.div_(torch.where(largest > 0, largest, 1))


def by_name(names: tuple[str, ...], block: Tensor | None, batch_axis: int | None = None, trailing: int = 1) -> dict[str, Tensor]:
    """Split `(*lead, k, n)` (or with `trailing` 2, `(*lead, k, out, in)`) into named tensors, with an axis of 1 for a batch if asked."""
    if block is None:
        return {}
    tensors = dict(zip(names, block.unbind(-1 - trailing), strict=True))
    return {name: t.unsqueeze(batch_axis) for name, t in tensors.items()} if batch_axis is not None else tensors
