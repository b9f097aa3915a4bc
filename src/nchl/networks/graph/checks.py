"""Checks of a graph's settings: an option that would do nothing is refused."""

from __future__ import annotations

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.graph.structure import Graph
from nchl.networks.plasticity import Plasticity

_BIASES = ("constant", "evolve")


def evolves_biases(biases: str, graph: Graph) -> bool:
    """Whether the genome contains the biases of modules.

    Raises:
        UnknownName: neither `"constant"` nor `"evolve"`.
        InvalidArgument: no module has a bias that could be evolved.
    """
    if biases not in _BIASES:
        raise UnknownName("way to treat biases", biases, _BIASES)
    if biases == "evolve" and all(edge.bias is None for edge in graph.weighted):
        raise InvalidArgument("biases: no Conv2d and no Linear of this module has a bias that could be evolved; leave 'evolve' out")
    return biases == "evolve"


def refuse_without_effect(graph: Graph, plasticity: Plasticity, sharing: str, termwise: bool) -> None:
    """Refuse settings of time without a plastic edge, and settings of shared kernels without a plastic convolution.

    Raises:
        InvalidArgument: names them.
    """
    timed = [] if graph.plastic else list(plasticity.words())
    if timed:
        raise InvalidArgument(f"{' and '.join(timed)}: no edge of this network has a rule, so that its weights never change; leave it out")
    shared = [name for name, given in (("sharing", sharing != "max"), ("termwise", termwise)) if given]
    if shared and not any(edge.geometry for edge in graph.plastic):
        named = " and ".join(shared)
        raise InvalidArgument(f"{named}: this network has no plastic convolution, whose weights could be shared; leave it out")
