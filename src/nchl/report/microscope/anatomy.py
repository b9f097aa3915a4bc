"""What can be looked at in a network while it lives: its groups of neurons, its layers of weights, what it keeps beside them
(averages, traces, states of rules), and where their rules stand in the genome.

Promise: it is read off the network's graph and its settings, so that the microscope need not know its class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.graph import Graph
from nchl.networks.plasticity import Plasticity
from nchl.report.microscope.rule_shares import Shares
from nchl.rules import ABCD, NCHL, Rule
from nchl.rules.declaration import side


@dataclass(frozen=True)
class Group:
    """Neurons that share a place.

    Attributes:
        name: as its block in the genome is called.
        shape: (n,), or (channels, height, width).
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """Weights between two groups.

    Attributes:
        name: for people, of the graph's edge.
        label: its two groups, and the delay; no two layers of a network have the same.
        index: of the edge among those with weights.
        pre: index of the group that it reads.
        post: index of the group that it makes.
        delay: 0, or 1: it reads the activation of the step before.
        shape: (out, in), or (out, in / groups, height, width) for kernels.
        rule: that moves it, or None.
        synapses: name of the genome's block with one set of numbers per weight, or None.
    """

    name: str
    label: str
    index: int
    pre: int
    post: int
    delay: int
    shape: tuple[int, ...]
    rule: Rule | None
    synapses: str | None

    @property
    def plastic(self) -> bool:
        """Whether a rule moves it."""
        return self.rule is not None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Held:
    """What a network keeps beside weights and activations.

    Attributes:
        key: name of the network's buffer; `earlier_G`: the microscope remembers it.
        kind: "seen" (what the rule sees of a group), "before" (of the step before), "earlier" (activations of the step before),
            "trace" or "memory" (a state of a rule).
        name: for people.
        group: index of its group, or None.
        layer: index of its layer, or None.
        size: how many numbers.
    """

    key: str
    kind: str
    name: str
    group: int | None
    layer: int | None
    size: int


class Anatomy:
    """A network of one individual, taken apart.

    Args:
        network: it must have no population axis, or one of one individual.

    Attributes:
        groups: of neurons, inputs first.
        layers: of weights, in the network's order.
        plasticity: averages, trace, modulation, interval and normalisation.
        held: what it keeps beside weights and activations.
        window: steps that a weightless network looks back; 0 for others.
        normalised: whether each layer is divided by its largest weight after an update.

    Raises:
        InvalidArgument: the network has no graph.
    """

    def __init__(self, network: PlasticNetwork) -> None:
        self.network: Any = network
        graph: Graph | None = getattr(network, "graph", None)
        if graph is None:
            raise InvalidArgument(
                f"the microscope reads a network's graph of groups and edges, and {type(network).__name__} has none; "
                "make the network of nchl.PlasticGraph"
            )
        self.plasticity: Plasticity = getattr(network, "plasticity", Plasticity())
        self.window: int = getattr(network, "window", 0)
        self.groups = [Group(group.name, group.shape) for group in graph.groups]
        labels = _labels(graph)
        self.layers = [
            Layer(
                f"{'kernels' if edge.geometry else 'weights'} {edge.name}",
                label,
                edge.index,
                edge.pre,
                edge.post,
                edge.delay,
                edge.shape,
                edge.rule,
                self._synapses(edge.index if edge.plastic else None),
            )
            for edge, label in zip(graph.weighted, labels, strict=True)
        ]
        self.normalised = self.plasticity.normalise == "max"
        own = dict.fromkeys(layer.rule for layer in self.layers if layer.rule not in (None, NCHL, ABCD))
        self._shares = {rule: Shares(rule, self._genome_by_block(), network.layout) for rule in own if rule is not None}
        self.held = self._find_held(graph)
        self._sums = self._prepare_terms()

    @property
    def plastic(self) -> bool:
        """Whether anything moves."""
        return any(layer.plastic for layer in self.layers)

    def weights(self) -> list[Float[np.ndarray, " n"]]:
        """A copy of each layer's weights as they are now, row-major; a weightless network's are computed here."""
        return [np.array(weight.detach().cpu().numpy(), dtype=np.float32).reshape(-1) for weight in self.network.weights]

    def activations(self, observation: np.ndarray) -> list[Float[np.ndarray, " n"]]:
        """Each group's activations of the last step, given what the network saw in it."""
        return [self._buffer(f"activations_{g}") for g in range(len(self.groups))]

    def past(self) -> list[Float[np.ndarray, "window n"]]:
        """The activations in a weightless network's window, oldest first, zeros where there was no step yet; one array per group."""
        steps = int(self.network.get_extra_state())
        order = (np.arange(self.window) + steps) % self.window
        seen = []
        for g, group in enumerate(self.groups):
            history = self._buffer(f"activations_history_{g}").reshape(self.window, group.size)
            # Until the window is full, the oldest steps are those that never were: they stand first.
            seen.append(history[order] if steps >= self.window else np.roll(history, self.window - steps, axis=0))
        return seen

    def keeps(self, earlier: list[Float[np.ndarray, " n"]]) -> list[Float[np.ndarray, " n"]]:
        """The numbers of each of `held` as they are now.

        Args:
            earlier: activations of each group in the step before.
        """
        return [earlier[held.group] if held.kind == "earlier" and held.group is not None else self._buffer(held.key) for held in self.held]

    def ends(self) -> list[tuple[Float[np.ndarray, " n_in"], Float[np.ndarray, " n_out"]]]:
        """What each layer's rule saw of its two groups in the last step: averages where there are any, of the step before with a delay."""
        found = []
        for layer in self.layers:
            before = f"before_{layer.pre}"
            pre = self._buffer(before) if layer.delay and self._has(before) else self._seen(layer.pre)
            found.append((pre, self._seen(layer.post)))
        return found

    def term_names(self, layer: Layer) -> tuple[str, ...]:
        """Of `terms`: A, B, C and D, or a user's parameters; empty where the layer's changes do not fall into any.

        Those of kernels do not: their elements are shared by many connections.
        """
        if layer.rule is None or len(layer.shape) != 2:
            return ()
        return tuple("ABCD") if layer.rule in (NCHL, ABCD) else self._shares[layer.rule].names

    def why_no_terms(self, layer: Layer) -> str:
        """Why a plastic layer's changes do not fall into terms, as a sentence; empty where they do."""
        if layer.rule is None or self.term_names(layer):
            return ""
        if len(layer.shape) != 2:
            what = "terms" if layer.rule in (NCHL, ABCD) else "parameters"
            return (
                f"Of kernels the {what} cannot be told apart, because many connections share an element: there is only the total "
                "change, normalisation included."
            )
        return self._shares[layer.rule].why

    def terms(
        self, ends: list[tuple[Float[np.ndarray, " n_in"], Float[np.ndarray, " n_out"]]], weights: list[Float[np.ndarray, " n"]]
    ) -> list[Float[np.ndarray, " terms"] | None]:
        """Sum over a layer's connections of |eta * term| for the terms A, B, C, D, or what `Shares` gives of a user's rule.

        Args:
            ends: what the rule of each layer saw in one step.
            weights: of each layer, before the update of that step.

        Returns:
            One array for each layer; None where the rule or the layer does not fall into terms.
        """
        found: list[np.ndarray | None] = []
        for layer, sums, (pre, post), weight in zip(self.layers, self._sums, ends, weights, strict=True):
            if not self.term_names(layer):
                found.append(None)
            elif sums is None:
                found.append(self._own(layer, pre, post, weight))
            else:
                assert layer.rule is not None
                seen = {"pre": torch.from_numpy(pre).double()[None, :], "post": torch.from_numpy(post).double()[:, None]}
                terms, rate = layer.rule.taken_apart({**sums, **seen})
                found.append(np.array([float((rate * term).abs().sum()) for term in terms]))
        return found

    def _own(self, layer: Layer, pre: np.ndarray, post: np.ndarray, weight: np.ndarray) -> np.ndarray:
        assert layer.rule is not None
        groups = (self.groups[layer.pre].name, self.groups[layer.post].name)
        return self._shares[layer.rule].of(groups, layer.synapses, pre, post, weight.reshape(layer.shape))

    def _find_held(self, graph: Graph) -> list[Held]:
        found = []
        for g, group in enumerate(graph.groups):
            if self._has(f"seen_{g}"):
                found.append(Held(f"seen_{g}", "seen", "what the rule sees", g, None, group.size))
                if self._has(f"before_{g}"):
                    found.append(Held(f"before_{g}", "before", "what the rule saw in the step before", g, None, group.size))
            if group.delayed:
                found.append(Held(f"earlier_{g}", "earlier", "activations of the step before", g, None, group.size))
        for k, layer in enumerate(self.layers):
            if self._has(f"trace_{layer.index}"):
                found.append(Held(f"trace_{layer.index}", "trace", "eligibility trace E", None, k, layer.size))
            for name in () if layer.rule is None else layer.rule.memory:
                owner = {"pre": layer.pre, "post": layer.post}.get(side(name))
                size = layer.size if owner is None else self.groups[owner].size
                found.append(Held(f"memory_{layer.index}_{name}", "memory", name, owner, k, size))
        return found

    def _prepare_terms(self) -> list[dict[str, torch.Tensor] | None]:
        """The rule's numbers of each layer whose rule falls into terms, by argument and shaped to broadcast to the weights."""
        named = self._genome_by_block()
        made: list[dict[str, torch.Tensor] | None] = []
        for layer in self.layers:
            if layer.rule is None or layer.rule.terms is None or len(layer.shape) != 2:
                made.append(None)
                continue
            pre, post = (self._neurons(named, self.groups[g].name) for g in (layer.pre, layer.post))
            synapses = np.moveaxis(named[layer.synapses], -1, 0) if layer.synapses else ()
            numbers = {f"{n}_pre": pre[n][None, :] for n in layer.rule.pre} | {f"{n}_post": post[n][:, None] for n in layer.rule.post}
            numbers |= {f"{n}_synapse": values for n, values in zip(layer.rule.synapse, synapses, strict=True)}
            made.append({name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in numbers.items()})
        return made

    def _neurons(self, named: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
        return dict(zip(self.network.layout.block(group).parameters, named[group].T, strict=True)) if group in named else {}

    def _genome_by_block(self) -> dict[str, np.ndarray]:
        flat = self.network.genome.detach().cpu().reshape(-1).to(torch.float64)
        layout = self.network.layout
        return {name: tensor.numpy().reshape(layout.block(name).shape) for name, tensor in layout.unpack(flat).items()}

    def _synapses(self, k: int | None) -> str | None:
        name = f"layer{k}"
        return name if k is not None and name in self.network.layout else None

    def _seen(self, g: int) -> np.ndarray:
        return self._buffer(f"seen_{g}" if self._has(f"seen_{g}") else f"activations_{g}")

    def _has(self, name: str) -> bool:
        return getattr(self.network, name, None) is not None

    def _buffer(self, name: str) -> np.ndarray:
        return np.array(self.network.get_buffer(name).detach().cpu().numpy(), dtype=np.float32).reshape(-1)


def _labels(graph: Graph) -> list[str]:
    """Of each edge with weights: its groups, its delay and, where another edge has the same, its number."""
    plain = [
        f"{graph.groups[edge.pre].name} \N{RIGHTWARDS ARROW} {graph.groups[edge.post].name}{' (delay 1)' if edge.delay else ''}"
        for edge in graph.weighted
    ]
    return [label if plain.count(label) == 1 else f"{label} ({k})" for k, label in enumerate(plain)]
