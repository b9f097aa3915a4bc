"""Convolution, unrolled: every connection has its own change, every kernel element moves by one value for all of its connections.

    dK[k] = aggregate over the connections (p -> q) that carry k of dW(p, q)          per connection
    dK[k] = (agg(A_p a_p) + agg(B_q a_q) + agg(C_p C_q a_p a_q) + agg(D_p D_q)) * agg((eta_p + eta_q) / 2)    termwise

The aggregate is one of max, min, median (the lower one, as `torch.median`) and mean. Over a batch each connection's change is
averaged first, then shared. Padding makes no connection; an element without any connection does not move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules.declaration import Rule
from nchl.rules.geometry import ConvGeometry, Pair, taps
from nchl.rules.neuronal import NCHL
from nchl.rules.synaptic import ABCD

SHARINGS = ("max", "min", "median", "mean")

# Connections that are formed at a time, over all individuals: bounds the memory of the torch function.
_AT_ONCE = 2**21
# Connections of one output channel from which on individuals are computed one by one.
_ALONE = 2**14

Arguments = dict[str, Tensor]
Parameters = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]

# The termwise form takes a rule apart: its terms that move with the activations, the constant one, and the rate.
_MOVING: dict[Rule, Callable[[Arguments], tuple[Tensor, ...]]] = {
    NCHL: lambda a: (a["A_pre"] * a["pre"], a["B_post"] * a["post"], (a["C_pre"] * a["pre"]) * (a["C_post"] * a["post"])),
    ABCD: lambda a: (a["A_synapse"] * a["pre"], a["B_synapse"] * a["post"], a["C_synapse"] * a["pre"] * a["post"]),
}
_CONSTANT: dict[Rule, Callable[[Arguments], tuple[Tensor, Tensor]]] = {
    NCHL: lambda a: (a["D_pre"] * a["D_post"], (a["eta_pre"] + a["eta_post"]) / 2),
    ABCD: lambda a: (a["D_synapse"], a["eta_synapse"]),
}


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

    Leading axes of `pre` and `post` beyond those of the rules are batch axes: averaged per connection, before sharing.

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
    named = []
    for rules, shape in ((rules_in, geometry.input_shape), (rules_out, geometry.output_shape)):
        named.append(dict(zip(NCHL.names, rules.unflatten(-2, shape).unbind(-1), strict=True)))
    layer = SharedLayer(NCHL, geometry, sharing, lead=rules_in.ndim - 2)
    parameters: Parameters = (named[0], named[1], {})
    return layer.update_termwise(pre, post, parameters) if termwise else layer.update(pre, post, None, parameters)


@dataclass(frozen=True)
class SharedLayer:
    """The updates of one convolution's kernel by a rule. Parameters are those of input neurons, output neurons and synapses.

    Attributes:
        rule: its function sees tensors in which every element is one connection.
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
    ) -> Float[Tensor, "*lead out_channels group_channels kernel_height kernel_width"]:
        """The change of the kernel by any rule, per connection.

        Args:
            pre: activations of the input neurons.
            post: activations of the output neurons.
            kernel: the weights; only for rules that use them.
            parameters: by name; those of input neurons `(*lead, channels, height, width)`, those of output neurons
                `(*lead, out_channels, out_height, out_width)`, and those of synapses as the kernel: a synapse is a kernel element.
        """
        rule, named = self.rule, _by_argument(self.rule, *parameters)
        if rule.uses_weight:
            if kernel is None:
                raise InvalidArgument(f"rule {rule.name!r} uses the weight: give the kernel")
            named["weight"] = kernel
        connections = _Connections(self.geometry, pre, post, self.lead, self.sharing)
        return connections.share(
            named, lambda arguments: (rule.function(**{k: v for k, v in arguments.items() if k in named or k in rule.state}),)
        )[0]

    def update_termwise(
        self,
        pre: Float[Tensor, "*lead_pre channels height width"],
        post: Float[Tensor, "*lead_post out_channels out_height out_width"],
        parameters: Parameters,
        constant: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "*lead out_channels group_channels kernel_height kernel_width"]:
        """The change of the kernel, termwise; arguments as `update`.

        Args:
            constant: what `constant_terms` gave for these parameters; None to compute it here.

        Raises:
            InvalidArgument: a rule that cannot be taken apart into terms.
        """
        moving = _terms_of(self.rule, _MOVING)
        if constant is None:
            constant = self.constant_terms(parameters)
        connections = _Connections(self.geometry, pre, post, self.lead, self.sharing)
        first, second, third = connections.share(_by_argument(self.rule, *parameters), moving)
        return (first + second + third + constant[0]) * constant[1]

    def constant_terms(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """What does not change within a life: the aggregates of the constant term (D) and of the rate (eta), each as the kernel."""
        terms = _terms_of(self.rule, _CONSTANT)
        named = _by_argument(self.rule, *parameters)
        example = next(iter(named.values()))
        shapes = [(1,) * self.lead + shape for shape in (self.geometry.input_shape, self.geometry.output_shape)]
        connections = _Connections(self.geometry, example.new_zeros(shapes[0]), example.new_zeros(shapes[1]), self.lead, self.sharing)
        constant, rate = connections.share(named, terms)
        return constant, rate


def check_sharing(sharing: str) -> str:
    """The name itself.

    Raises:
        UnknownName: it is none of `SHARINGS`.
    """
    if sharing not in SHARINGS:
        raise UnknownName("sharing", sharing, SHARINGS)
    return sharing


def check_termwise(rule: Rule) -> None:
    """Refuse a rule that has no termwise form.

    Raises:
        InvalidArgument: neither NcHL nor HL.
    """
    if rule not in _MOVING:
        known = " and ".join(repr(r.name) for r in _MOVING)
        raise InvalidArgument(f"termwise is a form of the rules {known}, got rule {rule.name!r}: leave termwise off")


class _Connections:
    """The connections of one layer, as tensors (*lead, batch, groups, out in group, in in group, tap, position)."""

    def __init__(self, geometry: ConvGeometry, pre: Tensor, post: Tensor, lead: int, sharing: str) -> None:
        for name, tensor, shape in (("pre", pre, geometry.input_shape), ("post", post, geometry.output_shape)):
            if tuple(tensor.shape[-3:]) != shape:
                raise ShapeError(f"{name}: expected (..., {', '.join(map(str, shape))}) for this convolution, got {tuple(tensor.shape)}")
        self.geometry, self.lead, self.sharing = geometry, lead, check_sharing(sharing)
        index, valid = taps(geometry)
        self.index = index.to(pre.device)
        self.valid = None if bool(valid.all()) else valid.to(pre.device)
        self.activations = {"pre": self._with_batch(pre), "post": self._with_batch(post)}

    def share(self, named: Arguments, terms: Callable[[Arguments], tuple[Tensor, ...]]) -> list[Tensor]:
        """Aggregate each term, a function of the connections' arguments, into a tensor (*lead, *kernel_shape)."""
        tensors = self.activations | {name: tensor.unsqueeze(self.lead) for name, tensor in named.items()}
        batch = max(t.shape[self.lead] for t in tensors.values())
        people = max(t.shape[0] for t in tensors.values()) if self.lead else 1
        # A slice is one output channel of each group. Large ones are faster one individual at a time; the choice does not look
        # at the population, so that nobody's numbers depend on it.
        slice_size = batch * self.geometry.in_channels * self.index.numel()
        if people == 1 or slice_size < _ALONE:
            return self._share(tensors, terms, max(1, _AT_ONCE // (people * slice_size)))
        each = [{name: t[p : p + 1] if t.shape[0] > 1 else t for name, t in tensors.items()} for p in range(people)]
        parts = [self._share(one, terms, max(1, _ALONE // slice_size)) for one in each]
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def _share(self, tensors: Arguments, terms: Callable[[Arguments], tuple[Tensor, ...]], step: int) -> list[Tensor]:
        """`step` output channels of each group at a time."""
        geometry, count = self.geometry, self.geometry.out_channels // self.geometry.groups
        arguments = {name: self._place(name, tensor) for name, tensor in tensors.items()}
        pieces: list[list[Tensor]] = []
        for start in range(0, count, step):
            outputs = {name: self._outputs(t, start, min(step, count - start)) for name, t in arguments.items()}
            shape = (geometry.groups, min(step, count - start), geometry.in_channels // geometry.groups, self.index.shape[0])
            pieces.append([self._aggregate(term.mean(self.lead), shape) for term in terms(outputs)])
        joined = [torch.cat(parts, dim=-3) for parts in zip(*pieces, strict=True)]
        return [_unflatten(part.flatten(-4, -3), -1, geometry.kernel_size) for part in joined]

    def _with_batch(self, tensor: Tensor) -> Tensor:
        missing = self.lead - (tensor.ndim - 3)
        tensor = tensor[(None,) * missing] if missing > 0 else tensor
        return tensor.reshape(*tensor.shape[: self.lead], -1, *tensor.shape[-3:])

    def _place(self, name: str, tensor: Tensor) -> Tensor:
        groups = self.geometry.groups
        if name == "pre" or name.endswith("_pre"):
            patches: Tensor = tensor.flatten(-2)[..., self.index]
            return _unflatten(patches, -3, (groups, -1)).unsqueeze(-4)
        if name == "post" or name.endswith("_post"):
            return _unflatten(tensor.flatten(-2), -2, (groups, -1))[..., None, None, :]
        return _unflatten(tensor.flatten(-2), -3, (groups, -1)).unsqueeze(-1)

    @staticmethod
    def _outputs(tensor: Tensor, start: int, length: int) -> Tensor:
        return tensor if tensor.shape[-4] == 1 else tensor.narrow(-4, start, length)

    def _aggregate(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        valid, sharing = self.valid, self.sharing
        if valid is None:
            plain = {
                "max": lambda v: v.amax(-1),
                "min": lambda v: v.amin(-1),
                "mean": lambda v: v.mean(-1),
                "median": lambda v: v.median(-1).values,
            }
            result = plain[sharing](values)
        else:
            counts = valid.sum(-1)
            if sharing == "mean":
                result = values.where(valid, 0).sum(-1) / counts.clamp(min=1)
            elif sharing == "median":
                result = self._median(values.expand(*values.shape[:-2], *valid.shape), valid)
            else:
                result = values.where(valid, -torch.inf).amax(-1) if sharing == "max" else values.where(valid, torch.inf).amin(-1)
            result = result.where(counts > 0, 0)
        shared: Tensor = result.expand(*result.shape[: self.lead], *shape)
        return shared

    @staticmethod
    def _median(values: Tensor, valid: Tensor) -> Tensor:
        """Each tap has connections of its own number, so each is selected by itself."""
        columns = [values[..., tap, here if bool(here.any()) else slice(1)] for tap, here in enumerate(valid)]
        return torch.stack([column.median(-1).values for column in columns], dim=-1)


def _unflatten(tensor: Tensor, axis: int, sizes: tuple[int, ...]) -> Tensor:
    split: Tensor = tensor.unflatten(axis, sizes)
    return split


def _by_argument(rule: Rule, pre: Mapping[str, Tensor], post: Mapping[str, Tensor], synapse: Mapping[str, Tensor]) -> Arguments:
    named = {f"{name}_pre": pre[name] for name in rule.pre} | {f"{name}_post": post[name] for name in rule.post}
    return named | {f"{name}_synapse": synapse[name] for name in rule.synapse}


def _terms_of(rule: Rule, table: Mapping[Rule, Callable[[Arguments], tuple[Tensor, ...]]]) -> Callable[[Arguments], tuple[Tensor, ...]]:
    check_termwise(rule)
    return table[rule]
