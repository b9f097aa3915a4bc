"""Networks as plain JSON: the record of a network object in a run folder, from which the network is made again.

Graphs of built-in rules (and so every preset), the weightless network and the GRU can be written; a user's rule or class cannot.
Constants (biases, BatchNorm statistics) are not included: a run saves them with the genome.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nchl.errors import InvalidArgument, NchlError
from nchl.genome import Layout
from nchl.networks.activations import ELEMENTWISE
from nchl.networks.base import PlasticNetwork
from nchl.networks.graph.declare import POOLING, WEIGHTED
from nchl.networks.graph.structure import Graph, GraphEdge, GraphGroup
from nchl.networks.gru import StaticGRU
from nchl.networks.plastic_graph import PlasticGraph
from nchl.networks.user.copies import has_own_code
from nchl.networks.weightless import WNcHL
from nchl.rules import BUILT_IN
from nchl.rules.convolution.geometry import ConvGeometry

_MODULES: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in (*ELEMENTWISE, *WEIGHTED, *POOLING)}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_SETTINGS = ("initial_weights", "sharing", "termwise", "biases", "average", "every", "trace", "modulate", "normalise")
_MOST = 1 << 28  # largest tensor of a record, which may have been altered


def written(net: PlasticNetwork) -> dict[str, Any] | None:
    """The record of a network; None if it contains a user's code."""
    if type(net) is WNcHL:
        return {"kind": "wnchl", "nodes": list(net.nodes), "window": net.window, "dtype": _dtype(net)}
    if type(net) is StaticGRU and not net.differentiable:
        return {"kind": "gru", "nodes": list(net.nodes), "dtype": _dtype(net)}
    if not isinstance(net, PlasticGraph) or has_own_code(net) or net.differentiable:
        return None
    rules = [next((name for name, rule in BUILT_IN.items() if rule == edge.rule), None) for edge in net.graph.edges]
    if any(name is None for name, edge in zip(rules, net.graph.edges, strict=True) if edge.plastic):
        return None
    groups = [
        {"name": g.name, "shape": list(g.shape), "modules": [_module(m) for m in g.modules], "module_names": list(g.module_names)}
        for g in net.graph.groups
    ]
    edges = [
        {name: getattr(edge, name) for name in ("name", "pre", "post", "delay", "evolved")}
        | {"rule": rule, "module": None if edge.module is None else _module(edge.module)}
        for edge, rule in zip(net.graph.edges, rules, strict=True)
    ]
    about = {"groups": groups, "edges": edges, "output_shape": list(net.graph.output_shape)}
    return {"kind": "graph", **about, "settings": settings_of(net), "dtype": _dtype(net)}


def settings_of(net: PlasticNetwork) -> dict[str, Any]:
    """The settings by which a graph acts, as its constructor takes them; empty for any other network."""
    return {name: value for name, value in net.settings().items() if name in _SETTINGS} if isinstance(net, PlasticGraph) else {}


def read(about: Mapping[str, Any], population: int | None = None, **keywords: Any) -> PlasticNetwork:
    """The network of a record.

    Args:
        about: the result of `written`, also after a round trip through JSON.
        population: number of individuals, or None.
        **keywords: device, generator and backend.

    Raises:
        InvalidArgument: the record was altered.
    """
    try:
        dtype = _DTYPES[about["dtype"]]
        if about["kind"] == "wnchl":
            keywords.pop("backend", None)
            return WNcHL(about["nodes"], window=about["window"], population=population, dtype=dtype, **keywords)
        if about["kind"] == "gru":
            keywords.pop("backend", None)
            return StaticGRU(about["nodes"], population=population, dtype=dtype, **keywords)
        if about["kind"] != "graph" or not set(about["settings"]) <= set(_SETTINGS):
            raise ValueError("it is of an unknown kind")
        groups = tuple(
            GraphGroup(str(g["name"]), _shape(g["shape"]), tuple(_made(m) for m in g["modules"]), tuple(map(str, g["module_names"])))
            for g in about["groups"]
        )
        edges: list[GraphEdge] = []
        for each in about["edges"]:
            edges.append(_edge(each, groups, sum(edge.weighted for edge in edges)))
        graph = Graph(groups, tuple(edges), _shape(about["output_shape"]))
        return PlasticGraph(graph, population=population, dtype=dtype, **about["settings"], **keywords)
    except NchlError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise InvalidArgument(f"the description of the network was altered ({type(error).__name__}: {str(error)[:200]})") from error


def layout_digest(layout: Layout) -> str:
    """SHA-256 of a genome's named blocks; equal for networks with genomes of the same meaning."""
    return hashlib.sha256(repr([(b.name, b.shape, b.parameters) for b in layout.blocks]).encode()).hexdigest()


def _dtype(net: PlasticNetwork) -> str:
    return str(net.dtype).removeprefix("torch.")


def _arguments(kind: type[nn.Module]) -> list[str]:
    return [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "args", "kwargs", "device", "dtype")]


def _module(module: nn.Module) -> dict[str, Any]:
    """A module's class and the arguments that it keeps as attributes."""
    kind = next(base for base in type(module).__mro__ if _MODULES.get(base.__name__) is base)
    held = {name: getattr(module, name) for name in _arguments(kind) if hasattr(module, name)}
    if "bias" in held:
        held["bias"] = held["bias"] is not None
    return {"class": kind.__name__, **{name: list(value) if isinstance(value, tuple) else value for name, value in held.items()}}


def _made(about: Mapping[str, Any]) -> nn.Module:
    kind = _MODULES[about["class"]]
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items() if name != "class"}
    if unknown := set(given) - set(_arguments(kind)):
        raise ValueError(f"{about['class']} has no argument {sorted(unknown)}")
    numbers = [n for value in given.values() for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, (int, float))]
    if any(abs(n) > _MOST for n in numbers if math.isfinite(n)):
        raise ValueError(f"{about['class']} is too large")
    if kind not in WEIGHTED:
        return kind(**given).eval().requires_grad_(False)
    # Weights of the module are not used, and biases come from the run or the template, so none are drawn.
    layer: Any = kind
    module: nn.Module = layer(**given, device="meta")
    if sum(tensor.numel() for tensor in module.parameters()) > _MOST:
        raise ValueError(f"{about['class']} is too large")
    module = module.to_empty(device="cpu").requires_grad_(False)
    for tensor in module.parameters():
        tensor.zero_()
    return module.eval()


def _edge(about: Mapping[str, Any], groups: tuple[GraphGroup, ...], index: int) -> GraphEdge:
    module = None if about["module"] is None else _made(about["module"])
    rule = None if about["rule"] is None else BUILT_IN[about["rule"]]
    pre, post = int(about["pre"]), int(about["post"])
    if not (0 <= pre < len(groups) and 0 <= post < len(groups)) or about["delay"] not in (0, 1) or (not about["delay"] and pre >= post):
        raise ValueError(f"an edge leads from group {pre} to group {post}")
    name, sizes = str(about["name"]), (math.prod(groups[post].shape), math.prod(groups[pre].shape))
    if isinstance(module, POOLING):
        return GraphEdge(name, -1, pre, post, about["delay"], None, (), module=module)
    geometry: ConvGeometry | None = None
    shape: tuple[int, ...] = sizes
    if isinstance(module, nn.Conv2d):
        geometry = ConvGeometry.of(module, (groups[pre].shape[1], groups[pre].shape[2]))
        shape = geometry.kernel_shape
    elif isinstance(module, nn.Linear):
        shape = (module.out_features, module.in_features)
        if shape != sizes:
            raise ValueError(f"edge {name!r} of shape {shape} between groups of {sizes[1]} and {sizes[0]} neurons")
    if math.prod(shape) > _MOST:
        raise ValueError(f"edge {name!r} of shape {shape} is too large")
    return GraphEdge(name, index, pre, post, about["delay"], rule, shape, geometry, module, bool(about["evolved"]))


def _shape(given: Any) -> tuple[int, ...]:
    shape = tuple(given)
    if not shape or not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= _MOST for n in shape):
        raise ValueError(f"a shape of {given!r}")
    return shape
