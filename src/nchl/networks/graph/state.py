"""The tensors of a graph: weights, activations, averages, traces and states of rules, as buffers of a torch module.

The module owns them and the pure functions of `graph.step` move them. This file is their interface to torch and users (weights,
constants, state_dict, copies, devices).
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from nchl.errors import InvalidArgument, ShapeError
from nchl.networks import initial
from nchl.networks.back_ends.choose import BackEnd
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import Numbers, check_weights, explained_reset, gives_weights
from nchl.networks.graph.lifetime import Lifetime
from nchl.networks.graph.step import Parameters, initial_state
from nchl.networks.graph.structure import Graph, GraphEdge
from nchl.networks.graph.updates import EdgeUpdates
from nchl.networks.plasticity import Plasticity


class GraphState(PlasticNetwork):
    """Owns the tensors of a graph, with a leading population axis; `PlasticGraph` adds the steps.

    Args:
        graph: groups and edges.
        plasticity: averages, trace, modulation, interval and normalisation.
        initial_weights: a name of `nchl.networks.initial`.
        evolve_biases: whether the genome contains the biases.
        **common: population, dtype, device and generator of `PlasticNetwork`.
    """

    _back_end: BackEnd
    _updates: EdgeUpdates

    def __init__(
        self,
        graph: Graph,
        plasticity: Plasticity,
        *,
        initial_weights: str,
        evolve_biases: bool,
        **common: Any,
    ) -> None:
        self.graph, self.plasticity = graph, plasticity
        self.initial_weights, self.evolve_biases = initial_weights, evolve_biases
        super().__init__(
            graph.layout(coevolved=initial_weights == initial.COEVOLVED, evolve_biases=evolve_biases),
            input_shape=graph.groups[0].shape,
            output_size=graph.groups[-1].size,
            output_bounded=graph.output_bounded,
            weights_per_individual=sum(math.prod(edge.shape) for edge in graph.plastic),
            **common,
        )
        self.plastic = bool(graph.plastic)
        self.between = nn.ModuleList([nn.ModuleList([copy.deepcopy(m) for m in group.modules]) for group in graph.groups])
        self.between.to(device=self.device, dtype=self.dtype)
        for edge in graph.weighted:
            self.register_buffer(f"weights_{edge.index}", self.genome.new_zeros(*self.lead, *edge.shape))
            if edge.bias is not None:
                kept = edge.bias.detach().clone().to(self.dtype).to(self.device)
                self.register_buffer(f"bias_{edge.index}", kept.expand(self._people, -1).clone() if self.evolve_biases else kept)
        self._keys = list(initial_state(graph, self.plasticity, 1, 1, self.genome))
        # Whether the next step needs more of this one than the weights: activations of a delay, averages, traces, states.
        self._remembers = graph.recurrent or any(not key.startswith("activations_") for key in self._keys)
        for key in self._keys:
            self.register_buffer(key, self.genome.new_empty(0))
        if self.plasticity.modulate == "advantage":
            self.register_buffer("baseline", self.genome.new_zeros(self._people))
        self._lifetime = Lifetime()
        self._rule_numbers = Parameters.of(graph, self.layout, self.genome.reshape(self._people, self.nparams))

    @abc.abstractmethod
    def _catch_up(self) -> None:
        """Do the update that the last compiled step has deferred; one that needs a reward goes on waiting."""

    @property
    def elementwise(self) -> list[list[nn.Module]]:
        """The modules of each group's activation, on the network's device."""
        return [list(group.children()) for group in self.between]

    @property
    def biases(self) -> dict[int, Tensor]:
        """Biases by the index of their edge: `(out,)`, or `(individuals, out)` if they are evolved."""
        return {edge.index: self.get_buffer(f"bias_{edge.index}") for edge in self.graph.weighted if edge.bias is not None}

    @property
    def _people(self) -> int:
        return self.population or 1

    def constants(self) -> dict[str, Tensor]:
        """See `PlasticNetwork.constants`: `NAME.bias` by the edge's name, `NAME.running_mean`, ... by the module's."""
        found: dict[str, Tensor] = {}
        for group, modules in zip(self.graph.groups, self.elementwise, strict=True):
            for name, module in zip(group.module_names, modules, strict=True):
                held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
                found |= {f"{name}.{part}": tensor for part, tensor in held.items() if tensor.is_floating_point()}
        biases = {} if self.evolve_biases else self.biases
        return found | {f"{edge.name}.bias": biases[edge.index] for edge in self.graph.weighted if edge.index in biases}

    @property
    def weights(self) -> list[Tensor]:
        """The present weights, `(*lead, *shape)` per edge, static edges included. No copies, see `PlasticNetwork.weights`.

        Whether a step replaces these tensors or writes into them depends on the back end. A history holds `weight.clone()`.
        A last step that still waits for its reward has not moved them yet.
        """
        self._catch_up()
        return self._stored_weights

    @property
    def _stored_weights(self) -> list[Tensor]:
        return [self.get_buffer(f"weights_{edge.index}") for edge in self.graph.weighted]

    @property
    def activations(self) -> list[Tensor]:
        """The groups' activations of the last step, inputs first, `(*lead, *shape)`, with a batch before the shape if there was one.

        Empty before the first step of a lifetime.
        """
        found = [self.get_buffer(f"activations_{g}") for g in range(len(self.graph.groups))]
        if not self._lifetime.steps:
            return [tensor.new_empty(0) for tensor in found]
        return [
            tensor.reshape(*self.lead, *((tensor.shape[1],) if self._lifetime.batched else ()), *group.shape)
            for tensor, group in zip(found, self.graph.groups, strict=True)
        ]

    @property
    def state(self) -> dict[str, Tensor]:
        """The collection of `graph.step`: weights, activations, averages, traces and states of rules, with a leading population axis."""
        weights = {f"weights_{e.index}": self.get_buffer(f"weights_{e.index}").view(self._people, *e.shape) for e in self.graph.weighted}
        return weights | {key: self.get_buffer(key) for key in self._keys}

    @property
    def drawn_edges(self) -> list[GraphEdge]:
        """The edges with weights that the genome does not contain."""
        coevolved = self.initial_weights == initial.COEVOLVED
        return [edge for edge in self.graph.weighted if not edge.in_genome(coevolved)]

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """Initial weights of one individual's edges, as `reset` takes them, without those that the genome contains."""
        return [initial.draw(self.initial_weights, edge.shape, generator, self.dtype) for edge in self.drawn_edges]

    def _keep(self, made: Mapping[str, Tensor]) -> None:
        for key, value in made.items():
            buffer = self.get_buffer(key)
            if self._back_end.holds and buffer.numel() == value.numel():
                buffer.copy_(value.reshape(buffer.shape))  # the back end holds this address
            else:
                self._buffers[key] = value.reshape(buffer.shape) if key.startswith("weights_") else value

    def _refuse_other_batch(self, batch: int) -> None:
        held = self.get_buffer("activations_0")
        if self._lifetime.steps and held.numel() and held.shape[1] != batch and self._remembers:
            raise ShapeError(
                f"this lifetime has averages, traces or delays of a batch of {held.shape[1]}, got one of {batch}: "
                "keep to one size, or reset() first"
            )

    def _make_room(self, batch: int) -> None:
        """Allocate the collection for a batch: zeros at the start of a lifetime."""
        held = self.get_buffer("activations_0")
        if held.numel() and held.shape[1] == batch:
            return
        self._refuse_other_batch(batch)
        kept = {key: self.get_buffer(key) for key in self._keys if not key.startswith("activations_")} if self._lifetime.steps else {}
        with torch.inference_mode(False):  # later steps write to it, inside and outside of an inference mode
            self._buffers.update(initial_state(self.graph, self.plasticity, self._people, batch, self.genome.detach()) | kept)
        self._tensors_replaced()

    @explained_reset
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """Begin a new lifetime: initial weights; no activations, averages, traces or states.

        Args:
            weights: one tensor per edge with weights, in their order, or only those of the edges that the genome does not contain; each
                `shape` or `(population, *shape)`. They are copied. None: draw them; weights of the genome are read from it.
            generator: source of the initial weights; None: the generator given to the constructor.

        Raises:
            ShapeError: a tensor too many or too few, or of another shape.
        """
        edges, free = self.graph.weighted, self.drawn_edges
        if weights is None and free:
            weights = self.draw_weights(self._generator if generator is None else generator)
        given: dict[int, Tensor] = {}
        # The empty list of `draw_weights` counts as None.
        if weights is not None and (free or gives_weights(weights)):
            weights = list(weights)
            if not self.graph.plastic and not free:
                raise InvalidArgument("a static network's weights are its genome; set them by set_hrules, not by reset")
            chosen = edges if len(weights) == len(edges) else free
            if len(weights) != len(chosen):
                also = f", or {len(free)}, one per edge whose weights the genome does not hold" if 0 < len(free) < len(edges) else ""
                raise ShapeError(f"reset: expected {len(edges)} weight tensors, one per layer{also}; got {len(weights)}")
            named = [(edge.name, edge.shape) for edge in chosen]
            given = dict(zip((edge.index for edge in chosen), check_weights(weights, named, self.lead), strict=True))
        with torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled()):
            self._take_weights(edges, given)
        self._lifetime = Lifetime(batched=self._lifetime.batched)
        self._back_end.begin()
        with torch.inference_mode(False):  # later steps write to it
            if "baseline" in self._buffers:
                self._buffers["baseline"] = self.genome.new_zeros(self._people)
            for key in self._keys:
                buffer = self.get_buffer(key)
                self._buffers[key] = buffer.zero_() if self._back_end.holds else buffer.new_empty(0)

    def set_hrules(self, vector: Shaped[Tensor, "*lead nparams"] | Numbers) -> None:
        """See `PlasticNetwork.set_hrules`; weights of static edges that the genome contains change at once."""
        super().set_hrules(vector)
        with torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled()):
            self._take_weights(edge for edge in self.graph.weighted if not edge.plastic and edge.evolved)

    def _take_weights(self, edges: Iterable[GraphEdge], given: Mapping[int, Tensor] | None = None) -> None:
        """Copy weights to edges: those of `given`, else those of the genome."""
        held = self.layout.unpack(self.genome)
        for edge in edges:
            name = f"weights_{edge.index}"
            new = given[edge.index] if given and edge.index in given else held[f"weights{edge.index}"]
            if self.differentiable:
                self._buffers[name] = new.to(dtype=self.dtype, device=self.device).expand(*self.lead, *edge.shape).clone()
            else:
                self.get_buffer(name).copy_(new)

    def _tensors_replaced(self) -> None:
        self._back_end.forget()
        self._updates.forget()

    def _genome_changed(self) -> None:
        self._tensors_replaced()
        self._lifetime.waiting = self._lifetime.waiting and self.needs_reward
        self._rule_numbers = Parameters.of(self.graph, self.layout, self.genome.reshape(self._people, self.nparams))
        if self.evolve_biases:
            for k in self.biases:
                self._buffers[f"bias_{k}"] = self.layout.unpack(self.genome)[f"biases{k}"].reshape(self._people, -1).contiguous()

    def _before_genome_changes(self) -> None:
        self._catch_up()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # `to`, `double`, `cuda`: tensors derived from the genome follow it.
        self._catch_up()
        super()._apply(fn, recurse)
        self._genome_changed()
        return self

    def state_dict(self, *args: Any, **keywords: Any) -> Any:
        """As for any module: genome, weights, constants, and the collection of this lifetime."""
        self._catch_up()
        return super().state_dict(*args, **keywords)

    # The step count is a Python number while the network runs (a tensor would be read back at each step), a tensor in a state_dict.
    def get_extra_state(self) -> Tensor:
        """Steps made in this lifetime; of the last one: whether it waits for its reward, saw a batch, was frozen; for `state_dict`."""
        lifetime = self._lifetime
        return torch.tensor([lifetime.steps, lifetime.waiting, lifetime.batched, lifetime.frozen], dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self._lifetime = Lifetime(int(state[0]), *map(bool, state[1:]))  # earlier versions wrote three numbers

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        held = state_dict.get(f"{prefix}activations_0")
        self._lifetime.steps = 0 if held is None or not held.numel() else 1  # for a state without a step count
        if self.differentiable:  # autograd's graphs of the lifetime so far need their tensors unchanged
            self._buffers.update({name: None if t is None else t.detach().clone() for name, t in self._buffers.items()})
        with torch.inference_mode(False):  # later steps write to these tensors
            super()._load_from_state_dict(state_dict, prefix, *args)

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        axes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for key, tensor in initial_state(self.graph, self.plasticity, self._people, 1, self.genome.detach().to("meta")).items():
            shape = tuple(tensor.shape)
            if key.startswith(("trace_", "memory_")):
                axes[key] = shape, ()
            else:
                at = 2 if key.startswith("history_") else 1
                axes[key] = shape[:at], shape[at + 1 :]
        return axes

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: a waiting update is done first, because the back end is pickled without its compiled step."""
        self._catch_up()
        return super().__getstate__()  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """With all tensors, so that a waiting update goes on waiting; autograd's graph stays with the original."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        numbers = self._rule_numbers
        for tensor in (*self._buffers.values(), *numbers.neurons.values(), *numbers.synapses.values()):
            if tensor is not None and not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
        made.__setstate__({name: copy.deepcopy(value, memo) for name, value in super().__getstate__().items()})
        return made

    def train(self, mode: bool = True) -> Any:
        """As for any module, but BatchNorm stays in evaluation mode, with the statistics of the user's module."""
        super().train(mode)
        self.between.eval()
        return self
