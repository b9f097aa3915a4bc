"""What neither learns nor evolves in a graph: BatchNorm statistics and, unless they are evolved, the biases of modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.graph.structure import Graph

BIASES = ("constant", "evolve")


def named_constants(graph: Graph, modules: Sequence[Sequence[nn.Module]], biases: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """The tensors themselves by name, `0.bias` or `features.1.running_mean`: a module's or edge's name, then its own name.

    Args:
        graph: groups and edges.
        modules: elementwise modules of each group.
        biases: those that are constants, by the index of their edge.
    """
    found: dict[str, Tensor] = {}
    for group, own in zip(graph.groups, modules, strict=True):
        for name, module in zip(group.module_names, own, strict=True):
            held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            found |= {f"{name}.{part}": tensor for part, tensor in held.items() if tensor.is_floating_point()}
    return found | {f"{edge.name}.bias": biases[edge.index] for edge in graph.weighted if edge.index in biases}


def evolves_biases(biases: str, graph: Graph) -> bool:
    """Whether the biases stand in the genome.

    Raises:
        UnknownName: neither constant nor evolve.
        InvalidArgument: evolve, and there are none.
    """
    if biases not in BIASES:
        raise UnknownName("way to treat biases", biases, BIASES)
    if biases == "evolve" and all(edge.bias is None for edge in graph.weighted):
        raise InvalidArgument("biases: no Conv2d and no Linear of this module has a bias that could be evolved; leave 'evolve' out")
    return biases == "evolve"
