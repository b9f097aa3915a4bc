"""Rules on an unrolled convolution: each connection has a change, each kernel element moves by one value for all its connections.

    dK[k] = aggregate over the connections (p -> q) that carry k of dW(p, q)          per connection
    dK[k] = (agg(A_p a_p) + agg(B_q a_q) + agg(C_p C_q a_p a_q) + agg(D_p D_q)) * agg((eta_p + eta_q) / 2)    termwise

The aggregate is one of max, min, median (the lower one, as `torch.median`) and mean. Over a batch each connection's change is
averaged first, then shared. Padding makes no connection; an element without any connection does not move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.rules.convolution.connections import Arguments, Connections
from nchl.rules.convolution.connections import check_sharing as check_sharing
from nchl.rules.convolution.geometry import ConvGeometry, Pair
from nchl.rules.declaration import Rule, check_lead, side
from nchl.rules.neuronal import NCHL

Parameters = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]


def neuron_centric_conv(
    pre: Float[Tensor, "*lead_pre channels height width"],
    post: Float[Tensor, "*lead_post out_channels out_height out_width"],
    rules_in: Float[Tensor, "*lead inputs 5"],
    rules_out: Float[Tensor, "*lead outputs 5"],
    *,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    sharing: str = "max",
    termwise: bool = False,
) -> Float[Tensor, "*lead out_channels group_channels kernel_height kernel_width"]:
    """The NcHL update of a convolution's kernel.

    Args:
        pre: activations of the input neurons.
        post: activations of the output neurons.
        rules_in: (A, B, C, D, eta) of each input neuron in C order; its B is not used. Its leading axes are those of the population.
        rules_out: (A, B, C, D, eta) of each output neuron in C order; its A is not used.
        kernel_size: (height, width) of the kernel, or one number for both; likewise `stride`, `padding` and `dilation`.
        stride: steps between output positions.
        padding: zeros around the input.
        dilation: steps between the taps of the kernel.
        groups: blocks of channels that do not see each other.
        sharing: one of `"max"`, `"min"`, `"median"`, `"mean"`.
        termwise: aggregate each term of the rule by itself (the thesis's form).

    Leading axes of `pre` and `post` beyond those of the rules are batch axes: averaged per connection, before sharing. Leading axes
    broadcast, those of the population and those of the batch.

    Returns:
        The change of the kernel.

    Raises:
        ShapeError: the tensors do not fit each other.
        UnknownName: an unknown sharing.
    """
    geometry = ConvGeometry.make(
        pre.shape[-3],
        post.shape[-3],
        kernel_size,
        (pre.shape[-2], pre.shape[-1]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    for name, rules, shape in (("rules_in", rules_in, geometry.input_shape), ("rules_out", rules_out, geometry.output_shape)):
        count = shape[0] * shape[1] * shape[2]
        if tuple(rules.shape[-2:]) != (count, 5):
            raise ShapeError(f"{name}: expected (..., {count}, 5), five numbers for each neuron of {shape}, got {tuple(rules.shape)}")
    if rules_in.ndim != rules_out.ndim:
        raise ShapeError(
            f"rules_in and rules_out must have the same leading axes, got {tuple(rules_in.shape)} and {tuple(rules_out.shape)}"
        )
    lead = rules_in.ndim - 2
    check_lead(pre=pre.shape[:-3][:lead], post=post.shape[:-3][:lead], rules_in=rules_in.shape[:-2], rules_out=rules_out.shape[:-2])
    named = []
    for rules, shape in ((rules_in, geometry.input_shape), (rules_out, geometry.output_shape)):
        named.append(dict(zip(NCHL.names, rules.unflatten(-2, shape).unbind(-1), strict=True)))
    layer = SharedLayer(NCHL, geometry, sharing, lead)
    parameters: Parameters = (named[0], named[1], {})
    return layer.update_termwise(pre, post, parameters) if termwise else layer.update(pre, post, None, parameters)[0]


@dataclass(frozen=True)
class SharedLayer:
    """The updates of one convolution's kernel by a rule. Parameters are those of input neurons, output neurons and synapses.

    Attributes:
        rule: its function gets tensors in which every element is one connection.
        geometry: the convolution.
        sharing: the aggregate.
        lead: number of leading axes of the parameters; further ones of the activations are batch axes.
    """

    rule: Rule
    geometry: ConvGeometry
    sharing: str
    lead: int

    def update(
        self,
        pre: Float[Tensor, "*lead_pre channels height width"],
        post: Float[Tensor, "*lead_post out_channels out_height out_width"],
        kernel: Float[Tensor, "*lead out_channels group_channels kernel_height kernel_width"] | None,
        parameters: Parameters,
        *,
        reward: Float[Tensor, "*lead"] | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The change of the kernel by any rule, per connection, and the new states of a rule with memory.

        Args:
            pre: activations of the input neurons.
            post: activations of the output neurons.
            kernel: the weights; only for rules that use them.
            parameters: by name; those of input neurons `(*lead, channels, height, width)`, those of output neurons
                `(*lead, out_channels, out_height, out_width)`, and those of synapses as the kernel: a synapse is a kernel element.
            reward: of each individual; only for rules that use it.
            memory: the rule's states by argument: those of connections as the kernel (they are shared like the change), those of
                neurons `(*lead, channels, height, width)`.
        """
        rule, named = self.rule, _by_argument(self.rule, *parameters)
        memory = {} if memory is None else memory
        if rule.uses_weight:
            if kernel is None:
                raise InvalidArgument(f"rule {rule.name!r} uses the weight: give the kernel")
            named["weight"] = kernel
        if rule.uses_reward:
            if reward is None:
                raise InvalidArgument(f"rule {rule.name!r} uses the reward: give it")
            named["reward"] = reward
        named |= memory
        kept = [name for name in rule.memory if side(name) == "connection"]

        def terms(arguments: Arguments) -> tuple[Tensor, ...]:
            change, states = rule.call({name: arguments[name] for name in arguments if name in named or name in rule.state})
            by_name = dict(zip(rule.memory, states, strict=True))
            return (change, *(by_name[name] for name in kept))

        connections = Connections(self.geometry, pre, post, self.lead, self.sharing)
        change, *shared = connections.share(named, terms)
        return change, dict(zip(kept, shared, strict=True)) | self._neuron_states(pre, post, named, memory)

    def _neuron_states(self, pre: Tensor, post: Tensor, named: Arguments, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """New states of neurons, by the rule on each neuron alone, since a neuron's state depends on nothing else."""
        rule, made = self.rule, dict[str, Tensor]()
        for own, activation in (("pre", pre), ("post", post)):
            if not any(side(name) == own for name in memory):
                continue
            batch = activation.reshape(*activation.shape[: self.lead], -1, *activation.shape[-3:]).flatten(-3)
            given = {name: torch.zeros(1, dtype=pre.dtype, device=pre.device) for name in rule.state} | {own: batch}
            for name, value in named.items():
                mine = side(name) == own
                given[name] = value.flatten(self.lead).unsqueeze(self.lead) if mine else value.new_zeros(1)
            if "reward" in named:
                given["reward"] = named["reward"].reshape(*named["reward"].shape, 1, 1)
            _, states = rule.call(given)
            for name, value in zip(rule.memory, states, strict=True):
                if side(name) == own:
                    whole = value.broadcast_to(batch.shape) if value.ndim < batch.ndim else value
                    made[name] = whole.mean(self.lead).reshape(memory[name].shape)
        return made

    def update_termwise(
        self,
        pre: Float[Tensor, "*lead_pre channels height width"],
        post: Float[Tensor, "*lead_post out_channels out_height out_width"],
        parameters: Parameters,
        constant: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "*lead out_channels group_channels kernel_height kernel_width"]:
        """The change of the kernel, termwise; arguments as `update`.

        Args:
            constant: the result of `constant_terms` for these parameters; None to compute it here.

        Raises:
            InvalidArgument: a rule without a termwise form.
        """
        check_termwise(self.rule)
        if constant is None:
            constant = self.constant_terms(parameters)
        connections = Connections(self.geometry, pre, post, self.lead, self.sharing)
        named = _by_argument(self.rule, *parameters)
        first, second, third = connections.share(named, lambda arguments: self.rule.taken_apart(arguments)[0][:3])
        return (first + second + third + constant[0]) * constant[1]

    def constant_terms(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The aggregates that stay constant within a lifetime: those of the term D and of the rate eta, each in the kernel's shape."""
        check_termwise(self.rule)
        named = _by_argument(self.rule, *parameters)
        example = next(iter(named.values()))
        shapes = [(1,) * self.lead + shape for shape in (self.geometry.input_shape, self.geometry.output_shape)]
        connections = Connections(self.geometry, example.new_zeros(shapes[0]), example.new_zeros(shapes[1]), self.lead, self.sharing)

        def still(arguments: Arguments) -> tuple[Tensor, ...]:
            terms, rate = self.rule.taken_apart(arguments)
            return terms[3], rate

        constant, rate = connections.share(named, still)
        return constant, rate


def check_termwise(rule: Rule | None) -> None:
    """Refuse a rule that has no termwise form.

    Raises:
        InvalidArgument: neither NcHL nor HL.
    """
    if rule is None or rule.terms is None:
        raise InvalidArgument(
            f"termwise is a form of the rules 'nchl' and 'hl', got rule {rule.name if rule else None!r}: leave termwise off"
        )


def _by_argument(rule: Rule, pre: Mapping[str, Tensor], post: Mapping[str, Tensor], synapse: Mapping[str, Tensor]) -> Arguments:
    named = {f"{name}_pre": pre[name] for name in rule.pre} | {f"{name}_post": post[name] for name in rule.post}
    return named | {f"{name}_synapse": synapse[name] for name in rule.synapse}
