"""What of a user's module neither learns nor evolves: its BatchNorm statistics and, unless they are evolved, its biases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.conv_plan import Plan

BIASES = ("constant", "evolve")


def named_constants(plan: Plan, between: Iterable[nn.Module], biases: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """The tensors themselves by name, `0.bias` or `features.1.running_mean`: a module's name in the sequential, then its own name.

    Args:
        plan: of the sequential.
        between: the module of each stage.
        biases: of each weight layer; empty where they are evolved.
    """
    found: dict[str, Tensor] = {}
    for stage, module in zip(plan.stages, between, strict=True):
        if stage.layer is None:
            held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            found |= {f"{stage.name}.{name}": tensor for name, tensor in held.items() if tensor.is_floating_point()}
    named = zip(plan.layers, biases, strict=True) if biases else ()
    return found | {f"{layer.name}.bias": bias for layer, bias in named if bias is not None}


def evolves_biases(biases: str, plan: Plan) -> bool:
    """Whether the biases stand in the genome.

    Raises:
        UnknownName: neither constant nor evolve.
        InvalidArgument: evolve, and there are none.
    """
    if biases not in BIASES:
        raise UnknownName("way to treat biases", biases, BIASES)
    if biases == "evolve" and all(layer.module.bias is None for layer in plan.layers):
        raise InvalidArgument("biases: no Conv2d and no Linear of this module has a bias that could be evolved; leave 'evolve' out")
    return biases == "evolve"
