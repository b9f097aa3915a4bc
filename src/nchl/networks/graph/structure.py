"""`Graph`, the structure of a network: groups of neurons, and edges of weights between them.

    s_g(t) = sum over edges e into g of W_e(t) x_pre(t - delay),    x_g(t) = f_g(s_g(t)),    x_input(t) = the observation

An edge without delay leads from an earlier group to a later one; an edge with delay 1 may lead anywhere (recurrence, feedback).
MLPs, convolutional, static and recurrent networks are graphs. `declare` makes graphs of users' declarations. A `Graph` has no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from nchl.errors import InvalidArgument
from nchl.genome import Layout, table
from nchl.networks.activations import is_bounded
from nchl.rules import Rule
from nchl.rules.convolution.geometry import ConvGeometry


@dataclass
class GraphGroup:
    """A group of a checked graph.

    Attributes:
        name: name of its block in the genome.
        shape: (n,) or (channels, height, width).
        modules: its activation as a sequence of elementwise modules; () for the identity.
        module_names: prefixes of the names of these modules' constants.
        presynaptic: whether a plastic edge begins here.
        postsynaptic: whether a plastic edge ends here.
        parameters: the rules' parameters of each neuron, in the genome's order.
        delayed: whether an edge reads its activation of the step before.
    """

    name: str
    shape: tuple[int, ...]
    modules: tuple[nn.Module, ...] = ()
    module_names: tuple[str, ...] = ()
    presynaptic: bool = False
    postsynaptic: bool = False
    parameters: tuple[str, ...] = ()
    delayed: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GraphEdge:
    """An edge of a checked graph.

    Attributes:
        name: for messages, for example the module's name in a sequential.
        index: index among the edges with weights: `weights{index}` and `layer{index}` are its blocks; -1 for a pooling.
        pre: index of the group it reads.
        post: index of the group it leads to.
        delay: 0 or 1.
        rule: the rule that moves it; None for a static edge or a pooling.
        shape: shape of the weights: (out, in) or (out, in / groups, height, width); () for a pooling.
        geometry: of a convolution, else None.
        module: the user's, or None; never changed.
        evolved: whether the genome contains the weights of a static edge.
    """

    name: str
    index: int
    pre: int
    post: int
    delay: int
    rule: Rule | None
    shape: tuple[int, ...]
    geometry: ConvGeometry | None = None
    module: nn.Module | None = None
    evolved: bool = True

    @property
    def plastic(self) -> bool:
        """Whether a rule moves it."""
        return self.rule is not None

    @property
    def weighted(self) -> bool:
        """Whether it has weights."""
        return self.index >= 0

    def in_genome(self, coevolved: bool) -> bool:
        """Whether the genome contains its weights; `coevolved`: whether it contains the initial weights of plastic edges."""
        return self.weighted and (coevolved if self.plastic else self.evolved)

    @property
    def connections(self) -> int:
        """Number of connections, unrolled."""
        return math.prod(self.shape) if self.geometry is None else self.geometry.connections

    @property
    def bias(self) -> torch.Tensor | None:
        """The module's bias, or None."""
        return getattr(self.module, "bias", None) if self.weighted else None


@dataclass(frozen=True)
class Graph:
    """Groups and edges that fit each other; made by `declare.graph` or `sequential.graph_of`.

    Attributes:
        groups: the first is the observation, the last the output.
        edges: in the order of the weights.
        output_shape: of one individual's output; (): that of the last group.
        uses_reward: whether a rule uses the reward.
        has_memory: whether a rule keeps states.
    """

    groups: tuple[GraphGroup, ...]
    edges: tuple[GraphEdge, ...]
    output_shape: tuple[int, ...] = ()
    incoming: tuple[tuple[GraphEdge, ...], ...] = field(init=False, repr=False)
    weighted: tuple[GraphEdge, ...] = field(init=False, repr=False)
    plastic: tuple[GraphEdge, ...] = field(init=False, repr=False)
    uses_reward: bool = field(init=False, repr=False)
    has_memory: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        plastic = [(edge, edge.rule) for edge in self.edges if edge.rule is not None]
        for name, value in {
            "incoming": tuple(tuple(edge for edge in self.edges if edge.post == g) for g in range(len(self.groups))),
            "weighted": tuple(edge for edge in self.edges if edge.weighted),
            "plastic": tuple(edge for edge, _ in plastic),
            "uses_reward": any(rule.uses_reward for _, rule in plastic),
            "has_memory": any(rule.memory for _, rule in plastic),
            "output_shape": self.output_shape or self.groups[-1].shape,
        }.items():
            object.__setattr__(self, name, value)
        self._check_reach()
        ordered = dict.fromkeys(name for _, rule in plastic for name in rule.names)
        for g, group in enumerate(self.groups):
            before = [rule for edge, rule in plastic if edge.pre == g]
            after = [rule for edge, rule in plastic if edge.post == g]
            group.presynaptic, group.postsynaptic = bool(before), bool(after)
            group.delayed = any(edge.delay and edge.pre == g for edge in self.edges)
            used = {name for rule in before for name in rule.pre} | {name for rule in after for name in rule.post}
            group.parameters = tuple(name for name in ordered if name in used)

    @property
    def output_bounded(self) -> bool:
        """Whether the last operation of the output group is tanh."""
        return is_bounded(self.groups[-1].modules)

    @property
    def recurrent(self) -> bool:
        """Whether an edge has a delay."""
        return any(edge.delay for edge in self.edges)

    def layout(self, *, coevolved: bool, evolve_biases: bool = False) -> Layout:
        """The layout of the genome: neurons by group, synapses by edge, then the evolved weights and biases."""
        blocks: list[tuple[str, tuple[int, ...], tuple[str, ...]]] = [
            (group.name, (group.size, len(group.parameters)), group.parameters) for group in self.groups if group.parameters
        ]
        for edge in self.plastic:
            if edge.rule is not None and edge.rule.synapse:
                blocks.append((f"layer{edge.index}", (*edge.shape, len(edge.rule.synapse)), edge.rule.synapse))
        blocks += [(f"weights{edge.index}", edge.shape, ()) for edge in self.edges if edge.in_genome(coevolved)]
        if evolve_biases:
            blocks += [(f"biases{edge.index}", tuple(edge.bias.shape), ()) for edge in self.weighted if edge.bias is not None]
        return Layout(blocks)

    def describe(self, *, evolve_biases: bool = False) -> str:
        """A table of the edges: groups, neurons, connections, free weights and biases."""
        rows: list[tuple[str, ...]] = [("edge", "from", "to", "neurons in", "neurons out", "connections", "weights", "biases", "")]
        biases = 0
        for edge in self.weighted:
            pre, post = self.groups[edge.pre], self.groups[edge.post]
            own = 0 if edge.bias is None else edge.bias.numel()
            biases += own
            counts = (pre.size, post.size, edge.connections, math.prod(edge.shape), own)
            kind = "plastic" if edge.plastic else "static, evolved" if edge.evolved else "static, drawn"
            kind += ", delay 1" if edge.delay else ""
            name = edge.name if edge.module is None else f"{edge.name} {type(edge.module).__name__}"
            rows.append((name, pre.name, post.name, *(f"{n:,}" for n in counts), kind))
        total = sum(edge.connections for edge in self.weighted)
        weights = sum(math.prod(edge.shape) for edge in self.weighted)
        tail = f"{total:,} connections" + ("" if total == weights else f" share {weights:,} weights")
        if biases:
            kept = "are evolved, at the genome's end" if evolve_biases else "stay as the module has them (not plastic, not evolved)"
            tail += f"; {biases:,} biases {kept}"
        return f"{table(rows, right=range(3, 8))}\n{tail}"

    def _check_reach(self) -> None:
        for g, group in enumerate(self.groups):
            into = self.incoming[g]
            if g == 0 and into:
                raise InvalidArgument(f"group {group.name!r} is the observation: no edge may lead to it; add a group of its own behind it")
            if g and not into:
                raise InvalidArgument(f"no edge leads to the group {group.name!r}: add one, or leave the group out")
        if not self.weighted:
            raise InvalidArgument("the network has no weights: there is nothing to learn or to evolve")
