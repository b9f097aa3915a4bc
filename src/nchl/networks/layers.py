"""What layered networks have in common: sizes, the genome's blocks, the product W x, and normalisation by the largest weight."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.genome import Layout
from nchl.rules import Rule


def check_nodes(nodes: Sequence[int]) -> tuple[int, ...]:
    """The layer sizes as a tuple.

    Raises:
        InvalidArgument: fewer than two, or one that is not a positive integer.
    """
    sizes = tuple(int(n) for n in nodes)
    if len(sizes) < 2 or any(n != given or n < 1 for n, given in zip(sizes, nodes, strict=True)):
        raise InvalidArgument(f"nodes: expected at least two positive layer sizes (inputs first, outputs last), got {list(nodes)}")
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


def check_weights(weights: Sequence[Tensor], nodes: Sequence[int], lead: tuple[int, ...]) -> None:
    """Raise a ShapeError unless there is one tensor `(out, in)` or `(*lead, out, in)` per layer."""
    if len(weights) != len(nodes) - 1:
        raise ShapeError(f"reset: expected {len(nodes) - 1} weight tensors, one per layer, got {len(weights)}")
    for k, weight in enumerate(weights):
        shape = (nodes[k + 1], nodes[k])
        if tuple(weight.shape) not in {shape, (*lead, *shape)}:
            also = f" or {(*lead, *shape)}" if lead else ""
            raise ShapeError(f"reset: layer {k} expects weights of shape {shape}{also}, got {tuple(weight.shape)}")


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
