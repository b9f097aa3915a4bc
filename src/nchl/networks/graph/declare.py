"""Declarations of graphs by users: `Group`, `Edge`, and `graph`, which checks them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.networks.activations import Activation, modules_of
from nchl.networks.graph.structure import Graph, GraphEdge, GraphGroup
from nchl.rules import get
from nchl.rules.convolution.geometry import ConvGeometry

Shape = int | Sequence[int]
WEIGHTED = (nn.Conv2d, nn.Linear)
POOLING = (nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Group:
    """The declaration of a group of neurons.

    Attributes:
        size: number of neurons, or (channels, height, width).
        activation: a name, an elementwise torch module, a sequence of them, or None for the identity; `"default"`: tanh, and the
            identity for the first group, whose activation is the observation.
    """

    size: Shape
    activation: Activation = "default"


@dataclass(frozen=True)
class Edge:
    """The declaration of weights from one group to another.

    Attributes:
        pre: name of the group it reads.
        post: name of the group it leads to.
        delay: 0, or 1 to read the activation of the step before.
        rule: None for the network's rule, `"static"` for fixed weights, or another rule.
        module: None connects every neuron to every neuron. `nn.Linear` or `nn.Conv2d` gives the sizes and a constant bias. `nn.MaxPool2d`
            or `nn.AvgPool2d` has no weights.
        evolved: for a static edge: True if its weights stand at the end of the genome; False if they are drawn at each reset.
    """

    pre: str
    post: str
    delay: int = 0
    rule: object = None
    module: nn.Module | None = None
    evolved: bool = True


def graph(groups: Mapping[str, Shape | Group], edges: Iterable[Edge | Sequence[object]], rule: object) -> Graph:
    """The checked graph of a user's declarations.

    Args:
        groups: name -> size or `Group`, in order.
        edges: `Edge`s, or tuples (pre, post) or (pre, post, delay).
        rule: of the edges without one; `"static"` for fixed weights.

    Raises:
        InvalidArgument: names, sizes, delays or modules that do not fit each other.
    """
    if not isinstance(groups, Mapping) or len(groups) < 2:
        raise InvalidArgument(f"groups: expected at least two by name, for example {{'input': 4, 'output': 2}}, got {groups!r}")
    placed = [_group(name, given, first=k == 0) for k, (name, given) in enumerate(groups.items())]
    names = [group.name for group in placed]
    made: list[GraphEdge] = []
    for given in edges:
        edge = _edge(_declared(given), names, placed, rule, sum(edge.weighted for edge in made))
        same = sum((each.pre, each.post) == (edge.pre, edge.post) for each in made)
        made.append(replace(edge, name=f"{edge.name} ({same + 1})") if same else edge)  # constants are named by their edge
    return Graph(tuple(placed), tuple(made))


def _group(name: str, given: Shape | Group, *, first: bool) -> GraphGroup:
    if not isinstance(name, str) or not name or "." in name:
        raise InvalidArgument(f"groups: expected names without a dot, got {name!r}")
    declared = given if isinstance(given, Group) else Group(given)
    try:
        shape = tuple(int(n) for n in (declared.size if isinstance(declared.size, Iterable) else (declared.size,)))
        whole = shape == (tuple(declared.size) if isinstance(declared.size, Iterable) else (declared.size,))
    except (TypeError, ValueError):
        shape, whole = (), False
    if not whole or len(shape) not in (1, 3) or min(shape) < 1:
        raise InvalidArgument(f"group {name!r}: expected a number of neurons, or (channels, height, width), got {declared.size!r}")
    activation = declared.activation
    if isinstance(activation, str) and activation == "default":
        activation = None if first else "tanh"
    modules = modules_of(activation, f"group {name!r}")
    for module in modules:
        channels = getattr(module, "num_features", shape[0])
        if channels != shape[0] or (isinstance(module, nn.BatchNorm2d) != (len(shape) == 3) and hasattr(module, "num_features")):
            raise InvalidArgument(f"group {name!r}: {module} does not fit neurons of shape {shape}")
    return GraphGroup(name, shape, modules, tuple(f"{name}.{k}" for k in range(len(modules))))


def _declared(given: Edge | Sequence[object]) -> Edge:
    if isinstance(given, Edge):
        return given
    if isinstance(given, (tuple, list)) and len(given) in (2, 3):
        return Edge(*given)
    raise InvalidArgument(f"edges: expected nchl.Edge, (pre, post) or (pre, post, delay), got {given!r}")


def _edge(declared: Edge, names: list[str], groups: list[GraphGroup], default: object, index: int) -> GraphEdge:
    for end in (declared.pre, declared.post):
        if end not in names:
            raise UnknownName("group", str(end), names)
    pre, post = names.index(declared.pre), names.index(declared.post)
    called = f"edge {declared.pre!r} -> {declared.post!r}"
    if isinstance(declared.delay, bool) or declared.delay not in (0, 1):
        raise InvalidArgument(f"{called}: delay must be 0 or 1, got {declared.delay!r}")
    if not declared.delay and pre >= post:
        raise InvalidArgument(f"{called}: an edge without delay leads to a later group; write delay=1 for recurrence or feedback")
    module, sizes = declared.module, (groups[pre].shape, groups[post].shape)
    name = f"{declared.pre} -> {declared.post}"
    if isinstance(module, POOLING):
        if declared.rule not in (None, "static"):
            raise InvalidArgument(f"{called}: a pooling has no weights and takes no rule, got {declared.rule!r}")
        made = pooled(module, called, groups[pre].shape)
        if made != groups[post].shape:
            raise InvalidArgument(f"{called}: {module} makes {made} neurons, the group has {groups[post].shape}")
        return GraphEdge(name, -1, pre, post, declared.delay, None, (), module=module)
    shape, geometry = _weights(called, module, *sizes)
    chosen = default if declared.rule is None else declared.rule
    rule = None if isinstance(chosen, str) and chosen == "static" else get(chosen)  # type: ignore[arg-type]
    return GraphEdge(name, index, pre, post, declared.delay, rule, shape, geometry, module, declared.evolved)


def _weights(
    called: str, module: nn.Module | None, pre: tuple[int, ...], post: tuple[int, ...]
) -> tuple[tuple[int, ...], ConvGeometry | None]:
    """Shape of an edge's weights, and its geometry."""
    if module is None:
        return (math.prod(post), math.prod(pre)), None
    if isinstance(module, nn.Linear):
        if (module.in_features, module.out_features) != (math.prod(pre), math.prod(post)):
            raise InvalidArgument(f"{called}: {module} does not fit {math.prod(pre)} and {math.prod(post)} neurons")
        return (module.out_features, module.in_features), None
    if isinstance(module, nn.Conv2d):
        if len(pre) != 3 or pre[0] != module.in_channels:
            raise InvalidArgument(f"{called}: expected neurons of shape ({module.in_channels}, height, width), got {pre}")
        geometry = ConvGeometry.of(module, (pre[1], pre[2]))
        if geometry.output_shape != post:
            raise InvalidArgument(f"{called}: {module} makes {geometry.output_shape} neurons, the group has {post}")
        return geometry.kernel_shape, geometry
    raise InvalidArgument(f"{called}: expected nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d or None as module, got {module!r}")


def pooled(module: nn.Module, called: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape of a pooling for an input shape.

    Raises:
        InvalidArgument: the pooling returns indices.
        ShapeError: the shape does not fit.
    """
    if getattr(module, "return_indices", False):
        raise InvalidArgument(f"{called}: return_indices=True is not supported; give it False")
    if len(shape) != 3:
        raise ShapeError(f"{called}: expected (channels, height, width), got {shape}")
    try:
        return tuple(module(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError:
        size = getattr(module, "kernel_size", None)
        raise ShapeError(f"{called}: an input of {shape} is too small for a window of {size}; use a larger input or fewer layers") from None
