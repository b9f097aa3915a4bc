"""`NetworkSpec`, the description of a network that the command line, run folders and workers share, and `build`.

An explicitly given option without meaning for the chosen network is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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

# The options of each network.
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
    """The description of a network; None means that an option was not given.

    Attributes:
        network: `"nchl"`, `"hl"`, `"wnchl"`, `"static"`, `"gru"`, `"conv-thesis"`, `"conv-hml"`, or `"FILE.py:NAME"`, a function of
            (input_shape, output_size) that returns a network, or `"object:CLASS"` and `"module:CLASS"`; see `networks.user.own`.
        rule: `"nchl"`, `"hl"` or `"FILE.py:NAME"`, in place of the neuron-centric rule.
        hidden: sizes of the hidden layers; () for none; None: the default 128, 64 (16 for a GRU).
        window: steps in the window of the weightless network; None: its default.
        initial_weights: a name of `nchl.networks.initial`.
        recurrent: each hidden layer also gets its own activations of the step before.
        average: `"none"`, `"mean:M"` or `"ema:ALPHA"`, see `networks.plasticity`.
        every: steps from one change of the weights to the next.
        trace: decay of an eligibility trace.
        modulate: `"none"`, `"reward"` or `"advantage:BETA"`.
        normalise: `"none"`, `"max"`, `"row"`, `"zscore"` or `"clip:C"`.
        sharing: aggregate over the connections of a kernel element: max, min, median or mean.
        termwise: whether each term of the rule is aggregated separately.
        evolve_biases: whether the genome contains the biases of a user's network.
        written: JSON of `networks.user.written`, for a network that was given as an object.
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
        """The network's name, or `"file"` or `"object"` for a user's network.

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
                others = sorted("FILE.py:NAME" if n == "file" else n for n, has in _MEANING.items() if name in has and n != "object")
                raise InvalidArgument(
                    f"{name} does not apply to the network {self.network!r} (it applies to: {', '.join(others)}); leave it out"
                )
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
        spec: the description.
        input_shape: one observation: `(n,)` for an MLP, `(channels, height, width)` for a convolutional network.
        output_size: number of outputs that the task needs.
        population: number of individuals, or None.
        dtype: torch.float32 or torch.float64; None: torch's default.
        device: of all tensors.
        generator: CPU generator of the initial weights.
        backend: `"auto"`, `"eager"` or `"compiled"`; WNcHL, StaticMLP and StaticGRU have no compiled step.
        seed: the run's seed, from which the constants of a user's network (see `PlasticNetwork.constants`) are drawn.
        constants: saved constants in place of the drawn ones, or None.
        template: the network object, if `spec.network` stands for one; see `networks.user.own`.

    Raises:
        InvalidArgument: an option without meaning, or a shape that the network does not take.
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
    names = ("rule", "sharing", "termwise", "initial_weights", *sorted(_TIME))
    options: dict[str, Any] = {name: spec.given[name] for name in names if name in spec.given}
    if spec.kind == "file":
        options["biases"] = "evolve" if spec.evolve_biases else "constant"
        made = own.made(spec.network, input_shape, output_size, seed) if template is None else template
        return own.network(made, spec.network, input_shape, output_size, options, {**common, "backend": backend})
    from nchl.networks.conv.presets import PRESETS

    return PRESETS[spec.kind](input_shape, output_size, **options, **common, backend=backend)


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
