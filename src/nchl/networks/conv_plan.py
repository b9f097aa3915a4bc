"""Which neurons a feed-forward `nn.Sequential` has, and which of them a plastic layer connects.

Groups of neurons, in the order in which the data meets them: the input, the output of each weight layer, the output of each
pooling. A group's activation is the value after all elementwise modules that follow, up to the next pooling or weight layer.
Neurons between two weight layers are the same neurons on both sides; behind a pooling they are new ones.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.genome import Layout, table
from nchl.rules import Rule
from nchl.rules.geometry import ConvGeometry

_ELEMENTWISE = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Identity, nn.BatchNorm2d, nn.Dropout)
_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
_KNOWN = (*_ELEMENTWISE, *_POOLING, nn.Conv2d, nn.Linear, nn.Flatten)
_SUPPORTED = "Conv2d, Linear, MaxPool2d, AvgPool2d, Flatten, Tanh, ReLU, Sigmoid, Identity, BatchNorm2d, Dropout"


@dataclass
class Group:
    """Neurons that share a place in the network.

    Attributes:
        name: of its block in the genome: `input`, `conv0`, `pool0`, `linear0`, ...
        shape: (channels, height, width) or (n,).
        presynaptic: whether a plastic layer begins here.
        postsynaptic: whether a plastic layer ends here.
    """

    name: str
    shape: tuple[int, ...]
    presynaptic: bool = False
    postsynaptic: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class WeightLayer:
    """A Conv2d or Linear.

    Attributes:
        name: the module's name in the sequential.
        module: the module itself.
        pre: index of the group that it reads.
        post: index of the group that it makes.
        geometry: of a convolution; None for a linear layer.
        plastic: whether the rule moves its weights; otherwise they stand in the genome.
    """

    name: str
    module: nn.Conv2d | nn.Linear
    pre: int
    post: int
    geometry: ConvGeometry | None
    plastic: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weights: (out, in) or (out, in / groups, height, width)."""
        return tuple(self.module.weight.shape)

    @property
    def connections(self) -> int:
        """Number of connections, unrolled."""
        return math.prod(self.shape) if self.geometry is None else self.geometry.connections


@dataclass(frozen=True)
class Stage:
    """One step of the forward pass: a weight layer, or a module that is none.

    Attributes:
        group: index of the group whose activation this step makes or changes.
        layer: index of the weight layer, or None.
        module: what to apply where there is no weight layer; None for a mere flattening.
        name: the module's name in the sequential.
    """

    group: int
    layer: int | None = None
    module: nn.Module | None = None
    name: str = ""


@dataclass
class Plan:
    """A sequential taken apart: its groups, weight layers, and the order of computation."""

    groups: list[Group]
    layers: list[WeightLayer] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    output_shape: tuple[int, ...] = ()
    output_bounded: bool = False

    @property
    def plastic(self) -> list[int]:
        """Indices of the plastic layers."""
        return [k for k, layer in enumerate(self.layers) if layer.plastic]

    def layout(self, rule: Rule, *, coevolved: bool, evolve_biases: bool = False) -> Layout:
        """The genome: neurons group by group, synapses layer by layer, then the weights and the biases that evolution holds."""
        blocks: list[tuple[str, tuple[int, ...], tuple[str, ...]]] = []
        for group in self.groups:
            names = rule.neuron_parameters(presynaptic=group.presynaptic, postsynaptic=group.postsynaptic)
            if names:
                blocks.append((group.name, (group.size, len(names)), names))
        if rule.synapse:
            blocks += [(f"layer{k}", (*self.layers[k].shape, len(rule.synapse)), rule.synapse) for k in self.plastic]
        blocks += [(f"weights{k}", layer.shape, ()) for k, layer in enumerate(self.layers) if coevolved or not layer.plastic]
        if evolve_biases:
            blocks += [(f"biases{k}", tuple(b.shape), ()) for k, layer in enumerate(self.layers) if (b := layer.module.bias) is not None]
        return Layout(blocks)

    def describe(self, *, evolve_biases: bool = False) -> str:
        """A table for people: what each layer connects, how often, and by how many free weights."""
        rows: list[tuple[str, ...]] = [("layer", "from", "to", "neurons in", "neurons out", "connections", "weights", "biases", "")]
        for layer in self.layers:
            pre, post = self.groups[layer.pre], self.groups[layer.post]
            biases = 0 if layer.module.bias is None else layer.module.bias.numel()
            counts = (pre.size, post.size, layer.connections, math.prod(layer.shape), biases)
            kind = "plastic" if layer.plastic else "static, evolved"
            rows.append((f"{layer.name} {type(layer.module).__name__}", pre.name, post.name, *(f"{n:,}" for n in counts), kind))
        total = sum(layer.connections for layer in self.layers)
        biases = sum(0 if layer.module.bias is None else layer.module.bias.numel() for layer in self.layers)
        tail = f"{total:,} connections share {sum(math.prod(layer.shape) for layer in self.layers):,} weights"
        if biases:
            kept = "evolved, at the genome's end" if evolve_biases else "stay as the module has them (not plastic, not evolved)"
            tail += f"; {biases:,} biases {'are ' if evolve_biases else ''}{kept}"
        return f"{table(rows, right=range(3, 8))}\n{tail}"


def plan(sequential: nn.Sequential, input_shape: Sequence[int], static: Sequence[int | str | nn.Module] = ()) -> Plan:
    """Take a sequential apart.

    Args:
        sequential: it may hold other sequentials. It is not changed.
        input_shape: (channels, height, width) of one observation, or (n,).
        static: weight layers that are not plastic: positions in the sequential (negative from its end), names, or the modules themselves.

    Raises:
        InvalidArgument: a module that is not supported, by name; or a `static` entry that is no weight layer.
        ShapeError: a module that does not fit the values that reach it; both shapes are named.
    """
    if not isinstance(sequential, nn.Sequential):
        raise InvalidArgument(
            f"expected a torch.nn.Sequential of {_SUPPORTED}, got {type(sequential).__name__}: "
            "residual and branching networks are not supported"
        )
    _refuse_own_forward(sequential, f"the sequential ({type(sequential).__name__})")
    try:
        shape = tuple(operator.index(n) for n in input_shape)
    except TypeError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ShapeError(f"input_shape: expected (channels, height, width) or (n,), got {input_shape!r}")
    named = _flat(sequential, "")
    _refuse_twins(named)
    still = _static(sequential, named, static)
    result = Plan([Group("input", shape)])
    for name, module in named:
        shape = _add(result, name, module, shape, plastic=name not in still)
    if not result.layers:
        raise InvalidArgument("the sequential has no Conv2d and no Linear: there is nothing to learn")
    result.output_shape = shape
    return result


def _add(result: Plan, name: str, module: nn.Module, shape: tuple[int, ...], *, plastic: bool) -> tuple[int, ...]:
    """Append one module that meets values of `shape`; gives the shape that it makes."""
    what, here = f"module {name} ({type(module).__name__})", len(result.groups) - 1
    if not isinstance(module, _KNOWN):
        raise InvalidArgument(f"{what} is not supported: use a plain sequence of {_SUPPORTED}")
    _refuse_own_forward(module, what)
    if isinstance(module, nn.Flatten):
        if (module.start_dim, module.end_dim) not in ((1, -1), (1, len(shape)), (-3, -1)):
            raise InvalidArgument(
                f"{what}: expected Flatten() over all axes of an observation, got start_dim={module.start_dim}, end_dim={module.end_dim}"
            )
        result.stages.append(Stage(here))
        return (math.prod(shape),)
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return _add_weights(result, name, what, module, shape, plastic)
    module = _prepared(module, what)
    if isinstance(module, (nn.BatchNorm2d, *_POOLING)):
        if len(shape) != 3:
            raise ShapeError(f"{what}: expected (channels, height, width), got {shape}")
        if isinstance(module, nn.BatchNorm2d) and module.num_features != shape[0]:
            raise ShapeError(f"{what}: expected {module.num_features} channels, got {shape}")
    if isinstance(module, _POOLING):
        result.output_bounded = False
        shape = _pooled(module, what, shape)
        result.groups.append(Group(_name(result, "pool"), shape))
        here += 1
    elif not isinstance(module, (nn.Identity, nn.Dropout)):
        result.output_bounded = isinstance(module, nn.Tanh)
    result.stages.append(Stage(here, module=module, name=name))
    return shape


def _add_weights(
    result: Plan, name: str, what: str, module: nn.Conv2d | nn.Linear, shape: tuple[int, ...], plastic: bool
) -> tuple[int, ...]:
    geometry = None
    if isinstance(module, nn.Linear):
        if shape != (module.in_features,):
            hint = "; put a Flatten before it" if len(shape) == 3 else ""
            raise ShapeError(f"{what}: expected values of shape ({module.in_features},), got {shape}{hint}")
        made: tuple[int, ...] = (module.out_features,)
    else:
        if len(shape) != 3 or shape[0] != module.in_channels:
            raise ShapeError(f"{what}: expected values of shape ({module.in_channels}, height, width), got {shape}")
        try:
            geometry = ConvGeometry.of(module, (shape[1], shape[2]))
        except InvalidArgument as error:
            raise type(error)(f"{what}: {error}") from None
        made = geometry.output_shape
    pre = len(result.groups) - 1
    result.groups[pre].presynaptic |= plastic
    result.groups.append(Group(_name(result, "conv" if geometry else "linear"), made, postsynaptic=plastic))
    result.stages.append(Stage(pre + 1, layer=len(result.layers)))
    result.layers.append(WeightLayer(name, module, pre, pre + 1, geometry, plastic))
    result.output_bounded = False
    return made


def _prepared(module: nn.Module, what: str) -> nn.Module:
    """A copy of a module without weights, as it acts within a life: evaluation statistics, no dropout, nothing in place."""
    if isinstance(module, nn.BatchNorm2d) and module.running_mean is None:
        raise InvalidArgument(f"{what}: a life uses the evaluation statistics, and track_running_stats=False keeps none; give it True")
    if isinstance(module, nn.MaxPool2d) and module.return_indices:
        raise InvalidArgument(f"{what}: return_indices=True is not supported; give it False")
    if isinstance(module, nn.Dropout):
        return nn.Identity()
    module = copy.deepcopy(module).eval().requires_grad_(False)
    if isinstance(module, nn.ReLU):
        module.inplace = False
    return module


def _pooled(module: nn.Module, what: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(module(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError:
        size = module.kernel_size
        raise ShapeError(f"{what}: an input of {shape} is too small for a window of {size}; use a larger input or fewer layers") from None


def _name(result: Plan, kind: str) -> str:
    return f"{kind}{sum(group.name.rstrip('0123456789') == kind for group in result.groups)}"


def _flat(sequential: nn.Sequential, prefix: str) -> list[tuple[str, nn.Module]]:
    named: list[tuple[str, nn.Module]] = []
    for name, module in sequential._modules.items():  # named_children would skip a module that comes twice
        assert module is not None
        if isinstance(module, nn.Sequential):
            _refuse_own_forward(module, f"module {prefix}{name} ({type(module).__name__})")
            named += _flat(module, f"{prefix}{name}.")
        else:
            named.append((prefix + name, module))
    return named


def _refuse_own_forward(module: nn.Module, what: str) -> None:
    """A subclass that computes something else, for example a residual block, is none of the modules that are known here."""
    base = next(base for base in (nn.Sequential, *_KNOWN) if isinstance(module, base))
    if type(module).forward is not base.forward or "forward" in vars(module):
        raise InvalidArgument(
            f"{what} has a forward of its own, other than that of {base.__name__}: it is not supported; "
            f"use a plain sequence of {_SUPPORTED}"
        )


def _refuse_twins(named: list[tuple[str, nn.Module]]) -> None:
    """A layer that comes twice would have one weight and two rules; here each layer has weights of its own."""
    seen: dict[nn.Module, str] = {}
    for name, module in named:
        if isinstance(module, (nn.Conv2d, nn.Linear)) and seen.setdefault(module, name) != name:
            raise InvalidArgument(
                f"module {name} ({type(module).__name__}) is module {seen[module]} again: one layer at two places is not supported; "
                "give each place a layer of its own"
            )


def _static(sequential: nn.Sequential, named: list[tuple[str, nn.Module]], static: Sequence[int | str | nn.Module]) -> set[str]:
    weighted = {name: module for name, module in named if isinstance(module, (nn.Conv2d, nn.Linear))}
    places = list(sequential._modules)
    chosen = set()
    if isinstance(static, (str, nn.Module)) or not isinstance(static, Iterable):
        raise InvalidArgument(f"static: expected a sequence of places, names or modules, for example (0, -1), got {static!r}")
    for entry in static:
        if isinstance(entry, nn.Module):
            name = next((name for name, module in named if module is entry), repr(entry))
        elif isinstance(entry, int):
            name = places[entry] if -len(places) <= entry < len(places) else str(entry)
        else:
            name = entry
        if name not in weighted:
            raise UnknownName("static layer (a Conv2d or Linear, by its place or name in the sequential)", name, weighted)
        chosen.add(name)
    return chosen
