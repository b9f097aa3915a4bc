"""One step of a graph, as pure functions over one named collection of tensors.

    forward:  x_g(t) = f_g(sum over edges of W_e(t) x_pre(t - delay)), and its average
    update:   W_e(t+1), traces and the states of rules, from the averages

Every tensor has a leading population axis (1 for a single network). The collection holds

    weights_K        (individuals, *shape)         of edge K
    activations_G    (individuals, batch, *shape)  x_G of the last step
    seen_G           likewise: a_G, the average that rules use, if activations are averaged
    before_G         likewise: a_G of the step before, if a plastic edge with delay 1 begins there
    history_G        (individuals, window, batch, *shape)  the activations in a mean, newest last
    trace_K          as weights_K: E of edge K
    memory_K_NAME    states of a rule, as weights_K or (individuals, *shape of the neurons)

No tensor is changed in place, and all is differentiable. `back_ends.fused` compiles these functions; tests compare
`back_ends.kernel` and `back_ends.program` with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nchl.genome import Layout
from nchl.networks.activations import apply
from nchl.networks.graph import operations
from nchl.networks.graph.structure import Graph, GraphEdge
from nchl.networks.plasticity import Plasticity
from nchl.rules import Rule
from nchl.rules.declaration import side

State = Mapping[str, Tensor]
Multiply = Callable[[Tensor, Tensor], Tensor]
Change = Callable[[GraphEdge, Tensor, Tensor, Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Parameters:
    """The rules' parameters from the genome: per group `(individuals, k, n)`, per edge `(individuals, k, *shape)`, contiguous."""

    neurons: Mapping[int, Float[Tensor, "individuals k n"]]
    synapses: Mapping[int, Float[Tensor, "individuals k *shape"]]

    @classmethod
    def of(cls, graph: Graph, layout: Layout, genome: Float[Tensor, "individuals nparams"]) -> Parameters:
        """Unpack the genome."""
        named = layout.unpack(genome)
        neurons = {g: named[group.name].mT.contiguous() for g, group in enumerate(graph.groups) if group.parameters}
        synapses = {
            edge.index: named[f"layer{edge.index}"].movedim(-1, 1).contiguous()
            for edge in graph.plastic
            if edge.rule is not None and edge.rule.synapse
        }
        return cls(neurons, synapses)

    def of_neurons(self, graph: Graph, g: int) -> dict[str, Float[Tensor, "individuals n"]]:
        """The parameters of a group's neurons by name."""
        return dict(zip(graph.groups[g].parameters, self.neurons[g].unbind(1), strict=True)) if g in self.neurons else {}

    def of_rows(self, rows: Tensor) -> Parameters:
        """The parameters of some individuals."""
        return Parameters({g: t[rows] for g, t in self.neurons.items()}, {k: t[rows] for k, t in self.synapses.items()})

    def of_synapses(self, edge: GraphEdge) -> dict[str, Tensor]:
        """The parameters of an edge's connections by name."""
        return dict(zip(_rule(edge).synapse, self.synapses[edge.index].unbind(1), strict=True)) if edge.index in self.synapses else {}


def memory_shape(graph: Graph, edge: GraphEdge, name: str) -> tuple[int, ...]:
    """Shape of one individual's state of an edge's rule: that of the weights, or of the neurons on its side."""
    places = {"pre": edge.pre, "post": edge.post}
    return graph.groups[places[side(name)]].shape if side(name) in places else edge.shape


def initial_state(graph: Graph, plasticity: Plasticity, individuals: int, batch: int, like: Tensor) -> dict[str, Tensor]:
    """The collection without the weights at the start of an episode: zeros."""
    state: dict[str, Tensor] = {}
    begins_late = {edge.pre for edge in graph.plastic if edge.delay}
    for g, group in enumerate(graph.groups):
        shape = (individuals, batch, *group.shape)
        state[f"activations_{g}"] = like.new_zeros(shape)
        if g in begins_late:
            state[f"before_{g}"] = like.new_zeros(shape)
        if plasticity.average and (group.presynaptic or group.postsynaptic):
            state[f"seen_{g}"] = like.new_zeros(shape)
            if plasticity.average == "mean":
                state[f"history_{g}"] = like.new_zeros(individuals, plasticity.window, batch, *group.shape)
    for edge in graph.plastic:
        if plasticity.trace is not None:
            state[f"trace_{edge.index}"] = like.new_zeros(individuals, *edge.shape)
        for name in _rule(edge).memory:
            state[f"memory_{edge.index}_{name}"] = like.new_zeros(individuals, *memory_shape(graph, edge, name))
    return state


def forward(
    graph: Graph,
    modules: Sequence[Sequence[nn.Module]],
    biases: Mapping[int, Tensor],
    plasticity: Plasticity,
    state: State,
    x: Float[Tensor, "individuals batch *observation"],
    count: Any,
    multiply: Multiply = operations.multiply,
) -> dict[str, Tensor]:
    """The activations of this step and their averages; the last group's activations are the output.

    Args:
        graph: groups and edges.
        modules: elementwise modules of each group.
        biases: by the index of their edge, `(out,)` or `(individuals, out)`.
        plasticity: how activations are averaged.
        state: the collection.
        x: the observation.
        count: number of activations in a mean, min(t + 1, window), as a number or a tensor of one.
        multiply: matrix product of a population.
    """
    now: list[Tensor] = []
    for g, group in enumerate(graph.groups):
        total = x if g == 0 else None
        for edge in graph.incoming[g]:
            source = state[f"activations_{edge.pre}"] if edge.delay else now[edge.pre]
            term = _carry(edge, source, state, biases, multiply)
            if term.shape[2:] != group.shape:
                term = term.reshape(*term.shape[:2], *group.shape)
            total = term if total is None else total + term
        assert total is not None
        for module in modules[g]:
            total = apply(module, total)
        now.append(total)
    made = {f"activations_{g}": activation for g, activation in enumerate(now)}
    return made | perceived(plasticity, state, now, count)


def perceived(plasticity: Plasticity, state: State, now: Sequence[Tensor], count: Any) -> dict[str, Tensor]:
    """The averages after a step, and those of the step before where a delayed edge needs them.

    Args:
        plasticity: how activations are averaged.
        state: the collection before the step.
        now: the new activations of each group.
        count: see `forward`.
    """
    made: dict[str, Tensor] = {}
    for g, activation in enumerate(now):
        if f"before_{g}" in state:
            made[f"before_{g}"] = seen(state, g)
        if f"seen_{g}" not in state:
            continue
        if plasticity.average == "ema":
            made[f"seen_{g}"] = plasticity.alpha * activation + (1 - plasticity.alpha) * state[f"seen_{g}"]
        else:
            history = torch.cat([state[f"history_{g}"][:, 1:], activation.unsqueeze(1)], dim=1)
            made[f"history_{g}"] = history
            made[f"seen_{g}"] = history.sum(1) / count
    return made


def update(
    graph: Graph,
    plasticity: Plasticity,
    state: State,
    change: Change,
    gain: Float[Tensor, " individuals"] | None,
    *,
    applies: bool = True,
) -> dict[str, Tensor]:
    """The weights, traces and states of rules after this step.

    Args:
        graph: groups and edges.
        plasticity: trace and normalisation.
        state: the collection, after `forward`.
        change: computes an edge's D and its rule's new states from pre, post, weight and states; see `dense_change`.
        gain: m(t) of each individual; None: 1.
        applies: whether this step changes the weights; otherwise only traces and states change.
    """
    made: dict[str, Tensor] = {}
    for edge in graph.plastic:
        k, rule = edge.index, _rule(edge)
        if not applies and plasticity.trace is None and not rule.memory:
            continue
        pre = state[f"before_{edge.pre}"] if edge.delay else seen(state, edge.pre)
        memory = {name: state[f"memory_{k}_{name}"] for name in rule.memory}
        moved, memory = change(edge, pre, seen(state, edge.post), state[f"weights_{k}"], memory)
        made |= {f"memory_{k}_{name}": value for name, value in memory.items()}
        if plasticity.trace is not None:
            moved = made[f"trace_{k}"] = plasticity.trace * state[f"trace_{k}"] + moved
        if applies:
            moved = moved if gain is None else gain.reshape(-1, *(1,) * len(edge.shape)) * moved
            made[f"weights_{k}"] = operations.normalised(state[f"weights_{k}"] + moved, plasticity)
    return made


def dense_change(graph: Graph, parameters: Parameters, reward: Float[Tensor, " individuals"] | None) -> Change:
    """The change of a dense edge by its rule, per connection; over a batch, changes and states are averaged.

    Args:
        graph: groups and edges.
        parameters: the rules' parameters.
        reward: of each individual, or None if no rule uses it.

    Returns:
        A function of edge, pre `(individuals, batch, *pre)`, post `(individuals, batch, *post)`, weight `(individuals, out, in)` and the
        rule's states. It returns D, which broadcasts to the weight, and the new states.
    """

    def change(edge: GraphEdge, pre: Tensor, post: Tensor, weight: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        rule = _rule(edge)
        before, after = parameters.of_neurons(graph, edge.pre), parameters.of_neurons(graph, edge.post)
        synapses = parameters.of_synapses(edge)
        given: dict[str, Tensor] = {
            **{f"{name}_pre": before[name][:, None, None, :] for name in rule.pre},
            **{f"{name}_post": after[name][:, None, :, None] for name in rule.post},
            **{f"{name}_synapse": synapses[name][:, None] for name in rule.synapse},
            **{name: _placed(name, value) for name, value in memory.items()},
            "pre": pre.flatten(2)[:, :, None, :],
            "post": post.flatten(2)[:, :, :, None],
            "weight": weight[:, None],
        }
        if rule.uses_reward:
            assert reward is not None
            given["reward"] = reward[:, None, None, None]
        moved, states = rule.call(given)
        kept = {}
        for name, value in zip(rule.memory, states, strict=True):
            axis = {"pre": -2, "post": -1}.get(side(name))
            value = _over_batch(value)
            value = value if axis is None else value.squeeze(axis)
            kept[name] = value.expand(memory[name].flatten(1).shape if axis else memory[name].shape).reshape(memory[name].shape)
        return _over_batch(moved), kept

    return change


def _rule(edge: GraphEdge) -> Rule:
    assert edge.rule is not None
    return edge.rule


def _placed(name: str, value: Tensor) -> Tensor:
    """A state as a rule's argument, with an axis for the batch and one for the neurons of the other side."""
    if side(name) == "connection":
        return value[:, None]
    flat = value.flatten(1)
    return flat[:, None, None, :] if side(name) == "pre" else flat[:, None, :, None]


def _over_batch(value: Tensor) -> Tensor:
    """The mean over the batch axis; a constant returned by a rule may have none."""
    if value.ndim < 4:
        return value
    return value.squeeze(1) if value.shape[1] == 1 else value.mean(1)


def seen(state: State, g: int) -> Float[Tensor, "individuals batch *shape"]:
    """The activation of a group as rules use it: its average, if there is one."""
    return state[f"seen_{g}"] if f"seen_{g}" in state else state[f"activations_{g}"]


def _carry(edge: GraphEdge, source: Tensor, state: State, biases: Mapping[int, Tensor], multiply: Multiply) -> Tensor:
    if not edge.weighted:
        assert edge.module is not None
        pooled: Tensor = operations.pool(edge.module, source.flatten(0, 1)).unflatten(0, source.shape[:2])
        return pooled
    weight = state[f"weights_{edge.index}"]
    if edge.geometry is None:
        made = multiply(source if source.ndim == 3 else source.flatten(2), weight)
    else:
        made = operations.convolve(source, weight, edge.geometry)
    bias = biases.get(edge.index)
    # Biases have one row for all individuals, or one for each.
    return made if bias is None else made + bias.reshape(-1, 1, bias.shape[-1], *(1,) * (made.ndim - 3))
