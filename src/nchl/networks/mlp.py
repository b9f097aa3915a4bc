"""Multilayer perceptrons as graphs: tanh(W x) in every layer, no biases.

`NcHL` (5N - n_in - n_out parameters) and `HL` (5 per weight) have the two published rules, `PlasticMLP` any rule; the weights of
`StaticMLP` are its genome. With `recurrent=True` each hidden group has an edge to itself with delay 1.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from nchl.errors import InvalidArgument
from nchl.networks.checks import RULE_SETTINGS, check_nodes, explained, refuse_settings
from nchl.networks.graph import declare
from nchl.networks.graph.declare import Edge
from nchl.networks.graph.structure import Graph
from nchl.networks.plastic_graph import PlasticGraph
from nchl.rules import ABCD, NCHL, Rule

_OF_GRAPHS = tuple(inspect.signature(PlasticGraph).parameters)[3:]  # without groups, edges and rule


def mlp_graph(nodes: Sequence[int], rule: object, *, recurrent: bool = False) -> Graph:
    """The graph of an MLP.

    Args:
        nodes: layer sizes, inputs first.
        rule: of all edges.
        recurrent: whether each hidden group gets an edge to itself with delay 1, directly after its feed-forward edge.

    Raises:
        InvalidArgument: invalid sizes, or recurrent without a hidden layer.
    """
    sizes = check_nodes(nodes)
    if recurrent and len(sizes) < 3:
        raise InvalidArgument(f"recurrent: expected a hidden layer that could lead to itself, got nodes {list(sizes)}")
    names = ["input", *(f"hidden{k}" for k in range(len(sizes) - 2)), "output"]
    edges: list[Edge] = []
    for pre, post in itertools.pairwise(names):
        edges.append(Edge(pre, post))
        if recurrent and post != "output":
            edges.append(Edge(post, post, delay=1))
    return declare.graph(dict(zip(names, sizes, strict=True)), edges, rule)


class PlasticMLP(PlasticGraph):
    """A multilayer perceptron with any local rule.

    Its initial weights are drawn from its own generator: `torch.manual_seed` does not change them, see `PlasticGraph`.

    Args:
        nodes: layer sizes, inputs first.
        rule: a `Rule`, a function (see `nchl.rules.Rule`), a name, or `"FILE.py:NAME"`.
        recurrent: each hidden layer also gets its own activations of the step before.
        **keywords: as `PlasticGraph`.

    Raises:
        InvalidArgument: a value out of its range; the message names it.
    """

    @explained(*_OF_GRAPHS)
    def __init__(
        self, nodes: Sequence[int], rule: str | Rule | Callable[..., Any] = "nchl", *, recurrent: bool = False, **keywords: Any
    ) -> None:
        self.nodes = check_nodes(nodes)
        super().__init__(mlp_graph(self.nodes, rule, recurrent=recurrent), **keywords)


class NcHL(PlasticMLP):
    """Neuron-centric Hebbian learning: five numbers per neuron (four for inputs and outputs). Arguments as `PlasticMLP`.

    `torch.manual_seed` does not change its initial weights; give `generator=torch.Generator().manual_seed(SEED)`.

    Source: Ferigo, Cunegatti, Iacca, GECCO 2024, arXiv 2403.12076.
    """

    @explained("recurrent", *_OF_GRAPHS)
    def __init__(self, nodes: Sequence[int], **keywords: Any) -> None:
        super().__init__(nodes, NCHL, **keywords)


class HL(PlasticMLP):
    """Synapse-centric ABCD Hebbian learning: five numbers per weight. Arguments as `PlasticMLP`.

    `torch.manual_seed` does not change its initial weights; give `generator=torch.Generator().manual_seed(SEED)`.

    Source: Najarro, Risi, NeurIPS 2020, arXiv 2007.02686.
    """

    @explained("recurrent", *_OF_GRAPHS)
    def __init__(self, nodes: Sequence[int], **keywords: Any) -> None:
        super().__init__(nodes, ABCD, **keywords)


NHCL = NcHL  # the paper's spelling


class StaticMLP(PlasticGraph):
    """A multilayer perceptron with its weights as genome, a baseline without plasticity. With `recurrent=True` an Elman network.

    Args:
        nodes: layer sizes, inputs first.
        recurrent: each hidden layer also gets its own activations of the step before.
        **keywords: population, dtype, device, generator and differentiable as `PlasticGraph`; settings of rules are refused.

    Raises:
        InvalidArgument: a value out of its range, or a setting without meaning.
    """

    @explained(*_OF_GRAPHS, *RULE_SETTINGS)
    def __init__(self, nodes: Sequence[int], *, recurrent: bool = False, **keywords: Any) -> None:
        self.nodes = check_nodes(nodes)
        keywords = refuse_settings("a network whose weights are its genome", keywords)
        super().__init__(mlp_graph(self.nodes, "static", recurrent=recurrent), **keywords)
