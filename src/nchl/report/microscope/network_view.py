"""What can be recorded of a network during an episode: groups of neurons, layers of weights, and its other state (averages, traces,
states of rules). All of it is read from the network's graph and settings, for any class of network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.graph.structure import Graph, GraphEdge
from nchl.networks.plasticity import Plasticity
from nchl.report.microscope.shares import BUILT_IN, Shares
from nchl.rules.declaration import side


@dataclass(frozen=True)
class Held:
    """State of a network beside weights and activations.

    Attributes:
        key: name of the network's buffer; `earlier_G` is kept by the recording instead.
        kind: "seen" (the rule's input from a group), "before" (the same one step earlier), "earlier" (activations of the step before),
            "trace", or "memory" (a state of a rule).
        name: description for readers.
        group: index of its group, or None.
        layer: index of its layer, or None.
        size: number of values.
    """

    key: str
    kind: str
    name: str
    group: int | None
    layer: int | None
    size: int


class NetworkView:
    """Reads the parts of a network of one individual.

    Args:
        network: without a population axis, or with a population of 1.

    Attributes:
        groups: groups of neurons, input first.
        layers: edges with weights.
        labels: of each layer, the names of its two groups and the delay; unique in the network.
        plasticity: averages, trace, modulation, interval and normalisation.
        held: the other state.
        window: length of a weightless network's window in steps; 0 for other networks.

    Raises:
        InvalidArgument: the network has no graph.
    """

    def __init__(self, network: PlasticNetwork) -> None:
        self.network: Any = network
        graph: Graph | None = getattr(network, "graph", None)
        if graph is None:
            raise InvalidArgument(
                f"the microscope reads a network's graph of groups and edges, and {type(network).__name__} has none; "
                "build the network as an nchl.PlasticGraph"
            )
        self.plasticity: Plasticity = getattr(network, "plasticity", Plasticity())
        self.window: int = getattr(network, "window", 0)
        self.groups, self.layers = graph.groups, graph.weighted
        arrow = " \N{RIGHTWARDS ARROW} "
        labels = [f"{self.groups[e.pre].name}{arrow}{self.groups[e.post].name}{' (delay 1)' * e.delay}" for e in self.layers]
        self.labels = [label if labels.count(label) == 1 else f"{label} ({k})" for k, label in enumerate(labels)]
        self.held = self._find_held()
        flat, layout = network.genome.detach().cpu().double().reshape(-1), network.layout
        blocks = {name: values.reshape(layout.block(name).shape) for name, values in layout.unpack(flat).items()}
        rules = dict.fromkeys(layer.rule for layer in self.layers if layer.rule is not None)
        self._shares = {rule: Shares(rule, blocks, layout) for rule in rules}

    @property
    def plastic(self) -> bool:
        """Whether any layer changes."""
        return any(layer.plastic for layer in self.layers)

    def weights(self) -> list[Float[np.ndarray, " n"]]:
        """Copies of the current weights of each layer, row-major; those of a weightless network are computed."""
        return [np.array(weight.detach().cpu().numpy(), dtype=np.float32).reshape(-1) for weight in self.network.weights]

    def activations(self) -> list[Float[np.ndarray, " n"]]:
        """The activations of each group in the last step."""
        return [self._buffer(f"activations_{g}") for g in range(len(self.groups))]

    def past(self) -> list[Float[np.ndarray, "window n"]]:
        """The activations of each group in a weightless network's window, oldest first; zeros for steps before the first."""
        steps = int(self.network.get_extra_state())
        order = (np.arange(self.window) + steps) % self.window
        found = []
        for g, group in enumerate(self.groups):
            history = self._buffer(f"activations_history_{g}").reshape(self.window, group.size)
            found.append(history[order] if steps >= self.window else np.roll(history, self.window - steps, axis=0))
        return found

    def held_values(self, earlier: list[Float[np.ndarray, " n"]]) -> list[Float[np.ndarray, " n"]]:
        """The current values of each entry of `held`.

        Args:
            earlier: activations of each group in the step before.
        """
        return [earlier[held.group] if held.kind == "earlier" and held.group is not None else self._buffer(held.key) for held in self.held]

    def rule_inputs(self) -> list[tuple[Float[np.ndarray, " n_in"], Float[np.ndarray, " n_out"]]]:
        """`pre` and `post` as each layer's rule got them in the last step: averaged or delayed where the network does that."""
        found = []
        for layer in self.layers:
            before = f"before_{layer.pre}"
            pre = self._buffer(before) if layer.delay and self._has(before) else self._seen(layer.pre)
            found.append((pre, self._seen(layer.post)))
        return found

    def synapses(self, layer: GraphEdge) -> str | None:
        """The genome block with one set of parameters per weight of a layer, or None."""
        block = f"layer{layer.index}"
        return block if layer.plastic and block in self.network.layout else None

    def term_names(self, layer: GraphEdge) -> tuple[str, ...]:
        """The terms (A, B, C, D) or parameters that `terms` measures; empty if the layer's change cannot be split.

        The change of a kernel cannot: many connections share each of its elements.
        """
        return () if layer.rule is None or len(layer.shape) != 2 else self._shares[layer.rule].names

    def why_no_terms(self, layer: GraphEdge) -> str:
        """The reason, as a sentence, if a plastic layer's change cannot be split; else empty."""
        if layer.rule is None or self.term_names(layer):
            return ""
        if len(layer.shape) != 2:
            what = "terms" if layer.rule in BUILT_IN else "parameters"
            return f"Changes of kernels cannot be split by {what}, because many connections share an element: only the total is shown."
        return self._shares[layer.rule].why

    def terms(
        self, inputs: list[tuple[Float[np.ndarray, " n_in"], Float[np.ndarray, " n_out"]]], weights: list[Float[np.ndarray, " n"]]
    ) -> list[Float[np.ndarray, " terms"] | None]:
        """The share of each term of each layer in one step; see `Shares.of`.

        Args:
            inputs: `rule_inputs` of the step.
            weights: of each layer before the update.

        Returns:
            One array per layer, in the order of `term_names`; None if the change cannot be split.
        """
        found: list[np.ndarray | None] = []
        for layer, (pre, post), weight in zip(self.layers, inputs, weights, strict=True):
            if layer.rule is None or not self.term_names(layer):
                found.append(None)
                continue
            blocks = self.groups[layer.pre].name, self.groups[layer.post].name
            found.append(self._shares[layer.rule].of(blocks, self.synapses(layer), pre, post, weight.reshape(layer.shape)))
        return found

    def _find_held(self) -> list[Held]:
        found = []
        for g, group in enumerate(self.groups):
            if self._has(f"seen_{g}"):
                found.append(Held(f"seen_{g}", "seen", "input of the rule", g, None, group.size))
                if self._has(f"before_{g}"):
                    found.append(Held(f"before_{g}", "before", "input of the rule in the step before", g, None, group.size))
            if group.delayed:
                found.append(Held(f"earlier_{g}", "earlier", "activations of the step before", g, None, group.size))
        for k, layer in enumerate(self.layers):
            if self._has(f"trace_{layer.index}"):
                found.append(Held(f"trace_{layer.index}", "trace", "eligibility trace E", None, k, math.prod(layer.shape)))
            for name in () if layer.rule is None else layer.rule.memory:
                owner = {"pre": layer.pre, "post": layer.post}.get(side(name))
                size = math.prod(layer.shape) if owner is None else self.groups[owner].size
                found.append(Held(f"memory_{layer.index}_{name}", "memory", name, owner, k, size))
        return found

    def _seen(self, g: int) -> np.ndarray:
        return self._buffer(f"seen_{g}" if self._has(f"seen_{g}") else f"activations_{g}")

    def _has(self, name: str) -> bool:
        return getattr(self.network, name, None) is not None

    def _buffer(self, name: str) -> np.ndarray:
        return np.array(self.network.get_buffer(name).detach().cpu().numpy(), dtype=np.float32).reshape(-1)
