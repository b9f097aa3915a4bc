"""A network from a description that can be written down: what the command line, run folders and workers share.

Promise: an option that has no meaning for the chosen network, given explicitly, is an error and never ignored.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import Numbers
from nchl.networks.user import own
from nchl.seeds import Purpose, weights_seed

MLPS = ("nchl", "hl", "wnchl", "static", "gru")
CONVOLUTIONAL = ("conv-thesis", "conv-hml")

_TIME = frozenset({"average", "every", "trace", "modulate", "normalise"})  # see `networks.plasticity`

# Which options mean something to which network.
_MEANING: dict[str, frozenset[str]] = {
    "nchl": _TIME | {"rule", "hidden", "initial_weights", "recurrent"},
    "hl": _TIME | {"hidden", "initial_weights", "recurrent"},
    "wnchl": frozenset({"hidden", "window"}),
    "static": frozenset({"hidden", "recurrent"}),
    "gru": frozenset({"hidden"}),
    "conv-thesis": _TIME | {"rule", "initial_weights", "sharing", "termwise"},
    "conv-hml": _TIME | {"rule", "initial_weights"},  # its convolutions are static: nothing is shared
    "object": frozenset({"written"}),
    "file": _TIME | {"rule", "initial_weights", "sharing", "termwise", "evolve_biases"},
}


@dataclass(frozen=True)
class NetworkSpec:
    """What network to build; None means that the option was not given.

    Attributes:
        network: `"nchl"`, `"hl"`, `"wnchl"`, `"static"`, `"gru"`, `"conv-thesis"`, `"conv-hml"`, or `"FILE.py:NAME"`, a function of
            (input_shape, output_size) that returns a network, see `networks.user.own`, where `"object:"` and `"module:"` are explained too.
        rule: `"nchl"`, `"hl"` or `"FILE.py:NAME"`, in place of the neuron-centric rule.
        hidden: sizes of the hidden layers; () for none; None: the default 128, 64 (16 for a GRU).
        window: steps that the weightless network looks back; None: its default.
        initial_weights: a name of `nchl.networks.initial`.
        recurrent: each hidden layer also sees its own activations of the step before.
        average: `"none"`, `"mean:M"` or `"ema:ALPHA"`, see `networks.plasticity`.
        every: steps from one change of the weights to the next.
        trace: decay of an eligibility trace.
        modulate: `"none"`, `"reward"` or `"advantage:BETA"`.
        normalise: `"none"`, `"max"`, `"row"`, `"zscore"` or `"clip:C"`.
        sharing: how the connections of a kernel element agree: max, min, median or mean.
        termwise: the cheaper sharing, term by term.
        evolve_biases: whether the biases of a user's own network stand in the genome.
        written: JSON of `networks.user.written`, of a network that was given as an object.
    """

    network: str = "nchl"
    rule: str | None = None
    hidden: tuple[int, ...] | None = None
    window: int | None = None
    recurrent: bool | None = None
    initial_weights: str | None = None
    average: str | None = None
    every: int | None = None
    trace: float | None = None
    modulate: str | None = None
    normalise: str | None = None
    sharing: str | None = None
    termwise: bool | None = None
    evolve_biases: bool | None = None
    written: str | None = None

    @property
    def kind(self) -> str:
        """The network's name, or `"file"` for a user's own.

        Raises:
            UnknownName: neither a known name nor FILE.py:NAME.
        """
        if self.network in _MEANING and self.network not in ("file", "object"):
            return self.network
        if ":" in self.network:
            return "object" if self.network.startswith(own.OBJECT) else "file"
        raise UnknownName("network", self.network, [*MLPS, *CONVOLUTIONAL, "FILE.py:NAME"])

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, without `network`."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "network"}
        return {name: value for name, value in options.items() if value is not None}

    def check(self) -> None:
        """Raise an InvalidArgument for an option without meaning for this network, or with a value out of range."""
        allowed = _MEANING[self.kind]
        for name in self.given:
            if name not in allowed:
                has = ", ".join(
                    sorted(
                        "FILE.py:NAME" if other == "file" else other
                        for other, names in _MEANING.items()
                        if name in names and other != "object"
                    )
                )
                raise InvalidArgument(f"{name} has no meaning for the network {self.network!r} (it has for: {has}); leave it out")
        for size in self.hidden or ():
            if size < 1:
                raise InvalidArgument(f"hidden: expected sizes of at least 1, got {' '.join(map(str, self.hidden or ()))}")


def build(
    spec: NetworkSpec,
    input_shape: tuple[int, ...],
    output_size: int,
    population: int | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    seed: int = 0,
    constants: Mapping[str, Numbers] | None = None,
    template: Any = None,
) -> PlasticNetwork:
    """Make the network that `spec` describes, for observations and actions of these sizes.

    Args:
        spec: what to build.
        input_shape: one observation: `(n,)` for an MLP, `(channels, height, width)` for a convolutional network.
        output_size: how many numbers the task wants.
        population: number of individuals, or None.
        dtype: torch.float32 or torch.float64; None: torch's default.
        device: where everything lives.
        generator: CPU generator of the initial weights.
        backend: `"auto"`, `"eager"` or `"compiled"`; WNcHL, StaticMLP and StaticGRU have no compiled step.
        seed: of a run: the constants of a user's own network (see `PlasticNetwork.constants`) are drawn under it.
        constants: those that were saved, in place of what is drawn; None: as drawn.
        template: the object, where `spec.network` says that there is one, see `networks.user.own`.

    Raises:
        InvalidArgument: an option without meaning, or a shape that the network cannot take.
    """
    spec.check()
    common: dict[str, Any] = {"population": population, "dtype": dtype, "device": device, "generator": generator}
    network = _build(spec, input_shape, output_size, common, backend, weights_seed(seed, Purpose.CONSTANTS, 0, 0), template)
    if constants is not None:
        network.load_constants(constants)
    return network


def _build(
    spec: NetworkSpec, input_shape: tuple[int, ...], output_size: int, common: dict[str, Any], backend: str, seed: int, template: Any
) -> PlasticNetwork:
    if spec.kind == "object":
        return own.of_object(template, spec, input_shape, output_size, {**common, "backend": backend})
    if spec.kind in MLPS:
        return _build_mlp(spec, input_shape, output_size, common, backend)
    given = {name: spec.given[name] for name in ("rule", "sharing", "termwise", "initial_weights", *sorted(_TIME)) if name in spec.given}
    options: dict[str, Any] = given
    if spec.kind == "file":
        options["biases"] = "evolve" if spec.evolve_biases else "constant"
        made = own.made(spec.network, input_shape, output_size, seed) if template is None else template
        return own.network(made, spec.network, input_shape, output_size, options, {**common, "backend": backend})
    presets = importlib.import_module("nchl.networks.conv.presets")
    make: Callable[..., PlasticNetwork] = presets.PRESETS[spec.kind]
    return make(input_shape, output_size, **options, **common, backend=backend)


def _build_mlp(spec: NetworkSpec, input_shape: tuple[int, ...], output_size: int, common: dict[str, Any], backend: str) -> PlasticNetwork:
    if len(input_shape) != 1:
        raise InvalidArgument(
            f"the network {spec.network!r} takes flat observations (n,), got {input_shape}; choose a convolutional network"
        )
    usual = (16,) if spec.kind == "gru" else (128, 64)
    nodes = [input_shape[0], *(usual if spec.hidden is None else spec.hidden), output_size]
    if spec.kind == "wnchl":
        from nchl.networks.weightless import WNcHL

        return WNcHL(nodes, **{**common, **({} if spec.window is None else {"window": spec.window})})
    if spec.kind == "gru":
        from nchl.networks.gru import StaticGRU

        return StaticGRU(nodes, **common)
    if spec.kind == "static":
        from nchl.networks.mlp import StaticMLP

        return StaticMLP(nodes, recurrent=bool(spec.recurrent), **common)
    from nchl.networks.mlp import PlasticMLP

    options = {name: spec.given[name] for name in ("initial_weights", "recurrent", *sorted(_TIME)) if name in spec.given}
    rule = spec.kind if spec.rule is None else spec.rule
    return PlasticMLP(nodes, rule, backend=backend, **options, **common)
