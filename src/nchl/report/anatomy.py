"""What can be looked at in a network while it lives: its groups of neurons, its layers of weights, and where their rules stand
in the genome.

Promise: every network that a run can hold is described by the same few words, so that the microscope need not know its class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.graph import Graph
from nchl.report.shares import Shares
from nchl.rules import ABCD, NCHL, Rule


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
        name: for people.
        pre: index of the group that it reads.
        post: index of the group that it makes.
        shape: (out, in), or (out, in / groups, height, width) for kernels.
        plastic: whether a rule moves it.
        synapses: name of the genome's block with one set of numbers per weight, or None.
    """

    name: str
    pre: int
    post: int
    shape: tuple[int, ...]
    plastic: bool
    synapses: str | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


class Anatomy:
    """A network of one individual, taken apart.

    Args:
        network: it must have no population axis, or one of one individual.

    Attributes:
        groups: of neurons, inputs first.
        layers: of weights, in the network's order.
        rule: the local rule, or None for a static network.
        window: steps that a weightless network looks back; 0 for others.
        shares: of the parameters of a user's rule; None for the rules of this package.
        normalised: whether each layer is divided by its largest weight after an update.
    """

    def __init__(self, network: PlasticNetwork) -> None:
        self.network: Any = network
        self.rule: Rule | None = None
        self.window = 0
        graph: Graph | None = getattr(network, "graph", None)
        if graph is None:
            raise InvalidArgument(
                f"the microscope reads a network's graph of groups and edges, and {type(network).__name__} has none; "
                "make the network of nchl.PlasticGraph"
            )
        self.rule = getattr(network, "rule", None)
        self.window = getattr(network, "window", 0)
        self.groups = [Group(group.name, group.shape) for group in graph.groups]
        self.layers = [
            Layer(
                f"{'kernels' if edge.geometry else 'weights'} {edge.name}",
                edge.pre,
                edge.post,
                edge.shape,
                edge.plastic,
                self._synapses(edge.index if edge.plastic else None),
            )
            for edge in graph.weighted
        ]
        self.normalised = getattr(network, "normalise", None) == "max"
        self.shares = None if self.rule in (None, NCHL, ABCD) else Shares(self.rule, self._genome_by_block(), network.layout)
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

    @property
    def term_names(self) -> tuple[str, ...]:
        """Of `terms`: A, B, C and D, or a user's parameters; empty where the rule does not fall into any."""
        return tuple("ABCD") if self.rule in (NCHL, ABCD) else () if self.shares is None else self.shares.names

    def has_terms(self) -> list[bool]:
        """Whether each layer falls into terms: kernels do not, whose elements are shared by many connections."""
        return [bool(self.term_names) and layer.plastic and len(layer.shape) == 2 for layer in self.layers]

    def terms(
        self, activations: list[Float[np.ndarray, " n"]], weights: list[Float[np.ndarray, " n"]]
    ) -> list[Float[np.ndarray, " terms"] | None]:
        """Sum over a layer's connections of |eta * term| for the terms A, B, C, D, or what `Shares` gives of a user's rule.

        Args:
            activations: of each group, in one step.
            weights: of each layer, before the update of that step.

        Returns:
            One array for each layer; None where the rule or the layer does not fall into terms.
        """
        if self.shares is not None:
            return [self._own(layer, activations, weight) if has else None for layer, weight, has in self._each(weights)]
        found: list[np.ndarray | None] = []
        for layer, sums in zip(self.layers, self._sums, strict=True):
            if sums is None:
                found.append(None)
                continue
            first, second, third, fourth = sums
            pre, post = np.abs(activations[layer.pre].astype(np.float64)), np.abs(activations[layer.post].astype(np.float64))
            found.append(np.array([first @ pre, second @ post, post @ third @ pre, fourth]))
        return found

    def _each(self, weights: list[np.ndarray]) -> Iterator[tuple[Layer, np.ndarray, bool]]:
        return zip(self.layers, weights, self.has_terms(), strict=True)

    def _own(self, layer: Layer, activations: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
        assert self.shares is not None
        groups = (self.groups[layer.pre].name, self.groups[layer.post].name)
        return self.shares.of(groups, layer.synapses, activations[layer.pre], activations[layer.post], weight.reshape(layer.shape))

    def _prepare_terms(self) -> list[tuple[Any, Any, Any, float] | None]:
        """What a life keeps constant of |eta * term|: summed where the activation does not depend on it."""
        if self.rule not in (NCHL, ABCD):
            return [None] * len(self.layers)
        named = self._genome_by_block()
        made: list[tuple[Any, Any, Any, float] | None] = []
        for layer in self.layers:
            if not layer.plastic or len(layer.shape) != 2:
                made.append(None)
            elif layer.synapses is not None:
                a, b, c, d, eta = np.moveaxis(np.abs(named[layer.synapses]), -1, 0)
                made.append(((eta * a).sum(0), (eta * b).sum(1), eta * c, float((eta * d).sum())))
            else:
                pre, post = (self._neurons(named, self.groups[g].name) for g in (layer.pre, layer.post))
                eta = np.abs(pre["eta"][None] + post["eta"][:, None]) / 2
                third = eta * np.abs(post["C"][:, None] * pre["C"][None])
                fourth = float((eta * np.abs(post["D"][:, None] * pre["D"][None])).sum())
                made.append((eta.sum(0) * np.abs(pre["A"]), eta.sum(1) * np.abs(post["B"]), third, fourth))
        return made

    def _neurons(self, named: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
        return dict(zip(self.network.layout.block(group).parameters, named[group].T, strict=True))

    def _genome_by_block(self) -> dict[str, np.ndarray]:
        flat = self.network.genome.detach().cpu().reshape(-1).to(torch.float64)
        layout = self.network.layout
        return {name: tensor.numpy().reshape(layout.block(name).shape) for name, tensor in layout.unpack(flat).items()}

    def _synapses(self, k: int | None) -> str | None:
        name = f"layer{k}"
        return name if k is not None and name in self.network.layout else None

    def _buffer(self, name: str) -> np.ndarray:
        return np.array(self.network.get_buffer(name).detach().cpu().numpy(), dtype=np.float32).reshape(-1)
