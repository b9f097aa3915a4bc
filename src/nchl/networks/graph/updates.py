"""The changes of a graph's edges: the rule on a dense matrix, or on the connections of a convolution with shared kernel elements.

With termwise sharing, the aggregates of the terms without activations (D and eta) are computed once per genome.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from nchl.networks.graph.step import Change, Parameters, dense_change
from nchl.networks.graph.structure import Graph, GraphEdge
from nchl.rules.convolution.sharing import Parameters as ByName
from nchl.rules.convolution.sharing import SharedLayer


class EdgeUpdates:
    """The changes of all edges of one network.

    Args:
        graph: groups and edges.
        sharing: the aggregate over the connections of a kernel element.
        termwise: whether each term of the rule is aggregated separately.
    """

    def __init__(self, graph: Graph, sharing: str, termwise: bool) -> None:
        self.graph, self.sharing, self.termwise = graph, sharing, termwise
        self._constant: dict[int, tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Drop values that belong to the old genome."""
        self._constant.clear()

    def change(
        self,
        parameters: Parameters,
        reward: Float[Tensor, " individuals"] | None,
        *,
        whole: bool = True,
        constant: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> Change:
        """A function that computes an edge's D and its rule's new states; see `step.dense_change`.

        Args:
            parameters: the rules' parameters.
            reward: of each individual, or None if no rule uses it.
            whole: whether the parameters are those of all individuals, so that constant terms can be kept.
            constant: aggregates of the constant terms, by edge, in place of those computed here.
        """
        dense = dense_change(self.graph, parameters, reward)

        def change(
            edge: GraphEdge, pre: Tensor, post: Tensor, weight: Tensor, memory: dict[str, Tensor]
        ) -> tuple[Tensor, dict[str, Tensor]]:
            if edge.geometry is None:
                return dense(edge, pre, post, weight, memory)
            layer = self.shared(edge)
            named = self.by_name(edge, parameters)
            if not self.termwise:
                return layer.update(pre, post, weight, named, reward=reward, memory=memory)
            if constant is not None:
                terms = constant[edge.index]
            elif whole and not torch.is_grad_enabled():
                terms = self._constant.get(edge.index) or layer.constant_terms(named)
                self._constant[edge.index] = terms
            else:
                terms = layer.constant_terms(named)
            return layer.update_termwise(pre, post, named, terms), {}

        return change

    def shared(self, edge: GraphEdge) -> SharedLayer:
        """The convolution of an edge, with a leading population axis."""
        assert edge.geometry is not None
        assert edge.rule is not None
        return SharedLayer(edge.rule, edge.geometry, self.sharing, lead=1)

    def by_name(self, edge: GraphEdge, parameters: Parameters) -> ByName:
        """The parameters of a convolution's input neurons, output neurons and kernel elements, by name and in their shapes."""
        sides = []
        for g in (edge.pre, edge.post):
            shape = self.graph.groups[g].shape
            sides.append({name: tensor.reshape(-1, *shape) for name, tensor in parameters.of_neurons(self.graph, g).items()})
        return sides[0], sides[1], parameters.of_synapses(edge)
