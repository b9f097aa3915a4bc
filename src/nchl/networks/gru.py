"""A gated recurrent unit with its weights as genome: a baseline with memory but without plasticity.

    r(t) = sigmoid(W_ir x(t) + b_ir + W_hr h(t-1) + b_hr)
    z(t) = sigmoid(W_iz x(t) + b_iz + W_hz h(t-1) + b_hz)
    n(t) = tanh(W_in x(t) + b_in + r(t) (W_hn h(t-1) + b_hn))
    h(t) = (1 - z(t)) n(t) + z(t) h(t-1),   h(-1) = 0
    y(t) = tanh(W_o h(t) + b_o)

Rows and biases are in the order of `torch.nn.GRUCell`: reset, update, new. Source: Cho et al., EMNLP 2014, arXiv 1406.1078, in
torch's form, which applies the reset gate after the product with h.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.genome import Layout
from nchl.networks.activations import sigmoid
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import RULE_SETTINGS, SETTINGS, Numbers, check_nodes, explained, explained_reset, gives_weights, refuse_settings
from nchl.networks.graph.operations import multiply
from nchl.networks.user.copies import with_genome_of


class StaticGRU(PlasticNetwork):
    """One GRU layer and a tanh output layer, both with biases; the genome contains all weights and biases.

    Args:
        nodes: inputs, hidden neurons, outputs.
        differentiable: outputs have gradients with respect to the genome.
        **keywords: population, dtype, device and generator as `PlasticGraph`; settings of rules are refused.

    Raises:
        InvalidArgument: other than three sizes, or a setting without meaning.
    """

    @explained(*SETTINGS, *RULE_SETTINGS, "recurrent")
    def __init__(self, nodes: Sequence[int], *, differentiable: bool = False, **keywords: Any) -> None:
        self.nodes = check_nodes(nodes)
        if len(self.nodes) != 3:
            raise InvalidArgument(f"a GRU has three sizes (inputs, hidden neurons, outputs), got {list(self.nodes)}")
        inputs, hidden, outputs = self.nodes
        super().__init__(
            Layout(
                [
                    ("weights_input", (3 * hidden, inputs), ()),
                    ("weights_hidden", (3 * hidden, hidden), ()),
                    ("biases_input", (3 * hidden,), ()),
                    ("biases_hidden", (3 * hidden,), ()),
                    ("weights_output", (outputs, hidden), ()),
                    ("biases_output", (outputs,), ()),
                ]
            ),
            input_shape=(inputs,),
            output_size=outputs,
            output_bounded=True,
            weights_per_individual=0,
            **refuse_settings("a network whose weights are its genome", keywords, (*RULE_SETTINGS, "recurrent")),
        )
        self.differentiable, self.plastic = differentiable, False
        self.register_buffer("hidden", self.genome.new_empty(0))
        self._genome_changed()

    @explained_reset
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """Begin a new episode: h(-1) = 0.

        Raises:
            InvalidArgument: weights are given.
        """
        if gives_weights(weights):
            raise InvalidArgument("a static network's weights are its genome; set them by set_hrules, not by reset")
        self._buffers["hidden"] = self.genome.new_empty(0)
        self._genome_changed()  # what a lesion has changed in the last episode

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """An empty list."""
        return []

    @property
    def weights(self) -> list[Tensor]:
        """Weights of the gates from inputs and hidden layer, and of the output: parts of the genome, without biases."""
        return [
            tensor.reshape(*self.lead, *tensor.shape[1:]) for name, tensor in self._numbers.items() if self.layout.block(name).shape[1:]
        ]

    def hidden_groups(self) -> list[tuple[int, list[int], list[int]]]:
        """The hidden neurons: how many, and which of `weights` lead to them and from them (as columns). Their gates count as one neuron."""
        return [(self.nodes[1], [], [1, 2])]

    def forward(self, x: Shaped[Tensor, "*observations"]) -> Shaped[Tensor, "*outputs"]:
        """Outputs in [-1, 1] for `x` of shape `(inputs,)`, `(population, inputs)`, or with a batch axis before the inputs.

        Raises:
            ShapeError: another shape, or another batch than that of the steps before in this episode.
        """
        with torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled()):
            observed, batched = self._observe(x)
            seen = observed.reshape(self.population or 1, -1, *self.input_shape)
            new = self._gated(seen, self._before(seen.shape[1]))
            self._buffers["hidden"] = new
            y = torch.tanh(multiply(new, self._numbers["weights_output"]) + self._bias("biases_output"))
            return y.reshape(*self.lead, *(seen.shape[1:2] if batched else ()), self.output_size)

    def update(self, reward: Any = None) -> None:
        """No weight changes.

        Raises:
            OrderError: there was no `forward` in this episode.
        """
        if not self.get_buffer("hidden").numel():
            raise self._order_error()

    def populate(self, population: int | None, **keywords: Any) -> StaticGRU:
        """See `PlasticNetwork.populate`."""
        own = {"dtype": self.dtype, "device": self.device, "differentiable": self.differentiable}
        keywords = {name: value for name, value in keywords.items() if name != "backend"}
        return with_genome_of(self, StaticGRU(self.nodes, **{**own, "population": population, **keywords}))

    def describe(self) -> str:
        """The three sizes, as a line."""
        inputs, hidden, outputs = self.nodes
        sizes = f"{inputs} inputs, {hidden} hidden neurons with three gates each, {outputs} outputs"
        return f"gated recurrent unit: {sizes}; weights and biases evolve"

    def extra_repr(self) -> str:
        """The text of `print(network)`."""
        return f"nodes={list(self.nodes)}, population={self.population}, nparams={self.nparams}"

    def _gated(self, x: Tensor, before: Tensor) -> Tensor:
        """h(t), `(individuals, batch, hidden)`."""
        from_input = multiply(x, self._numbers["weights_input"]) + self._bias("biases_input")
        from_hidden = multiply(before, self._numbers["weights_hidden"]) + self._bias("biases_hidden")
        reset_i, update_i, new_i = from_input.chunk(3, dim=-1)
        reset_h, update_h, new_h = from_hidden.chunk(3, dim=-1)
        new = torch.tanh(new_i + sigmoid(reset_i + reset_h) * new_h)
        kept = sigmoid(update_i + update_h)
        return (1 - kept) * new + kept * before

    def _before(self, batch: int) -> Tensor:
        """h(t-1)."""
        held = self.get_buffer("hidden")
        if not held.numel():
            return self.genome.new_zeros(self.population or 1, batch, self.nodes[1])
        if held.shape[1] != batch:
            raise ShapeError(f"this episode has a batch of {held.shape[1]}, got one of {batch}: keep to one size, or reset() first")
        return held

    def _bias(self, name: str) -> Tensor:
        return self._numbers[name].unsqueeze(1)

    def _genome_changed(self) -> None:
        named = self.layout.unpack(self.genome.reshape(self.population or 1, self.nparams))
        # Memory of its own: a lesion changes it for the rest of an episode, and never the genome.
        self._numbers = {name: tensor.contiguous().clone() for name, tensor in named.items()}

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        return {"hidden": ((self.population or 1,), (self.nodes[1],))}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """With all tensors; autograd's graph stays with the original."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for tensor in (*self.buffers(), *self._numbers.values()):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
        made.__setstate__({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return made

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._genome_changed()
        return self
