"""A feed-forward `nn.Sequential` as a graph.

Groups of neurons, in the order of the data: the input, the output of each weight layer, the output of each pooling. A group's
activation is the value after all elementwise modules up to the next pooling or weight layer. Neurons between two weight layers are
the same on both sides; neurons after a pooling are new ones.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.networks.activations import ELEMENTWISE, prepared
from nchl.networks.graph.declare import POOLING, WEIGHTED, pooled
from nchl.networks.graph.structure import Graph, GraphEdge, GraphGroup
from nchl.rules import Rule
from nchl.rules.convolution.geometry import ConvGeometry

_KNOWN = (*ELEMENTWISE, *POOLING, *WEIGHTED, nn.Flatten)
_SUPPORTED = ", ".join(kind.__name__ for kind in (*WEIGHTED, *POOLING, nn.Flatten, *ELEMENTWISE))


@dataclass
class _Building:
    """A graph under construction, and the shape of its last values."""

    shape: tuple[int, ...]
    groups: list[GraphGroup] = field(default_factory=list)
    edges: list[GraphEdge] = field(default_factory=list)

    def add_group(self, kind: str, shape: tuple[int, ...]) -> int:
        """Append a group, named by its kind and number; returns the index of the group before it."""
        count = sum(group.name.rstrip("0123456789") == kind for group in self.groups)
        self.groups.append(GraphGroup(f"{kind}{count}", shape))
        self.shape = shape
        return len(self.groups) - 2


def graph_of(sequential: nn.Sequential, input_shape: Sequence[int], rule: Rule, static: Sequence[int | str | nn.Module] = ()) -> Graph:
    """The graph of a sequential.

    Args:
        sequential: may contain other sequentials; not changed.
        input_shape: (channels, height, width) of one observation, or (n,).
        rule: of the plastic edges.
        static: weight layers without a rule: positions in the sequential (negative from its end), names, or modules.

    Raises:
        InvalidArgument: a module that is not supported; the message names it.
        UnknownName: a `static` entry that is no weight layer.
        ShapeError: a module that does not fit its input; the message contains both shapes.
    """
    if not isinstance(sequential, nn.Sequential):
        raise InvalidArgument(
            f"expected a torch.nn.Sequential of {_SUPPORTED}, got {type(sequential).__name__}; "
            "write residual and branching networks as nchl.PlasticGraph, whose edges take Conv2d, Linear and poolings as modules"
        )
    _refuse_own_forward(sequential, f"the sequential ({type(sequential).__name__})")
    try:
        shape = tuple(operator.index(n) for n in input_shape)
    except TypeError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ShapeError(f"input_shape: expected (channels, height, width) or (n,), got {input_shape!r}")
    named = _flat(sequential, "")
    _refuse_repeated(named)
    frozen = _static(sequential, named, static)
    building = _Building(shape, [GraphGroup("input", shape)])
    for name, module in named:
        _add(building, name, module, None if name in frozen else rule)
    if not any(edge.weighted for edge in building.edges):
        raise InvalidArgument("the sequential has no Conv2d and no Linear: there is nothing to learn")
    return Graph(tuple(building.groups), tuple(building.edges), building.shape)


def _add(building: _Building, name: str, module: nn.Module, rule: Rule | None) -> None:
    """Append one module."""
    what, shape = f"module {name} ({type(module).__name__})", building.shape
    if not isinstance(module, _KNOWN):
        raise InvalidArgument(f"{what} is not supported: use a plain sequence of {_SUPPORTED}")
    _refuse_own_forward(module, what)
    if isinstance(module, nn.Flatten):
        if (module.start_dim, module.end_dim) not in ((1, -1), (1, len(shape)), (-3, -1)):
            raise InvalidArgument(
                f"{what}: expected Flatten() over all axes of an observation, got start_dim={module.start_dim}, end_dim={module.end_dim}"
            )
        building.shape = (math.prod(shape),)
    elif isinstance(module, WEIGHTED):
        _add_weights(building, name, what, module, rule)
    elif isinstance(module, POOLING):
        pre = building.add_group("pool", pooled(module, what, shape))
        building.edges.append(GraphEdge(name, -1, pre, pre + 1, 0, None, (), module=module))
    else:
        made = prepared(module, what)
        if isinstance(made, nn.BatchNorm2d) and len(shape) != 3:
            raise ShapeError(f"{what}: expected (channels, height, width), got {shape}")
        if isinstance(made, nn.BatchNorm1d) and len(shape) != 1:
            raise ShapeError(f"{what}: expected (n,), got {shape}; use BatchNorm2d, or put a Flatten before it")
        if isinstance(made, (nn.BatchNorm1d, nn.BatchNorm2d)) and made.num_features != shape[0]:
            raise ShapeError(f"{what}: expected {made.num_features} channels, got {shape}")
        if not isinstance(made, nn.Identity):
            group = building.groups[-1]
            group.modules = (*group.modules, made)
            group.module_names = (*group.module_names, name)


def _add_weights(building: _Building, name: str, what: str, module: nn.Conv2d | nn.Linear, rule: Rule | None) -> None:
    geometry, shape = None, building.shape
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
    index = sum(edge.weighted for edge in building.edges)
    pre = building.add_group("conv" if geometry else "linear", made)
    building.edges.append(GraphEdge(name, index, pre, pre + 1, 0, rule, tuple(module.weight.shape), geometry, module))


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
    """Refuse a subclass that overrides `forward`, for example a residual block, because its computation is unknown."""
    known = (nn.Sequential, *_KNOWN)
    base = next((kind for kind in type(module).__mro__ if kind in known), None)
    if base is None or type(module).forward is not base.forward or "forward" in vars(module):  # type: ignore[attr-defined]
        raise InvalidArgument(
            f"{what} has a forward of its own, other than that of {'a known module' if base is None else base.__name__}: it is not "
            f"supported; use a plain sequence of {_SUPPORTED}, or write the network as nchl.PlasticGraph"
        )


def _refuse_repeated(named: list[tuple[str, nn.Module]]) -> None:
    """Refuse a layer object at two positions, which would have one weight and two rules."""
    seen: dict[nn.Module, str] = {}
    for name, module in named:
        if isinstance(module, WEIGHTED) and seen.setdefault(module, name) != name:
            raise InvalidArgument(
                f"module {name} ({type(module).__name__}) is module {seen[module]} again: one layer at two places is not supported; "
                "give each place a layer of its own"
            )


def _static(sequential: nn.Sequential, named: list[tuple[str, nn.Module]], static: Sequence[int | str | nn.Module]) -> set[str]:
    weighted = {name: module for name, module in named if isinstance(module, WEIGHTED)}
    places = list(sequential._modules)
    chosen = set()
    if isinstance(static, (str, nn.Module)) or not isinstance(static, Iterable):
        raise InvalidArgument(f"static: expected a sequence of places, names or modules, for example (0, -1), got {static!r}")
    for entry in static:
        if isinstance(entry, nn.Module):
            name = next((name for name, module in named if module is entry), repr(entry))
        elif isinstance(entry, str):
            name = entry
        else:
            name = _place(entry, places)
        if name not in weighted:
            raise UnknownName("static layer (a Conv2d or Linear, by its place or name in the sequential)", name, weighted)
        chosen.add(name)
    return chosen


def _place(entry: Any, places: list[str]) -> str:
    """The name of a module by its place in the sequential, counted from its end if negative; its text if it is none."""
    try:
        place = operator.index(entry)
    except TypeError:
        return repr(entry)
    return places[place] if -len(places) <= place < len(places) else str(place)
