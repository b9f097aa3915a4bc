"""A feed-forward `nn.Sequential` as a plastic network: seen unrolled, its every connection obeys the local rule, yet each kernel
stays one kernel, whose elements move by the aggregate over their connections.

Promise: one such network is a plastic network like the others, and never builds an unrolled matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from nchl.errors import ShapeError
from nchl.networks import conv_ops, initial
from nchl.networks.base import PlasticNetwork
from nchl.networks.constants import evolves_biases, named_constants
from nchl.networks.conv_plan import plan
from nchl.networks.conv_step import CompiledStep, State
from nchl.networks.conv_update import SharedRule, check_backend
from nchl.networks.layers import Numbers, check_normalise, check_weights
from nchl.rules import Rule, get
from nchl.rules.shared import check_sharing, check_termwise
from nchl.unroll import Unrolled, unroll


def from_module(
    sequential: nn.Sequential,
    input_shape: Sequence[int],
    sharing: str = "max",
    termwise: bool = False,
    normalise: str | None = "max",
    rule: str | Rule | Callable[..., Tensor] = "nchl",
    static: Sequence[int | str | nn.Module] = (),
    initial_weights: str = initial.DEFAULT,
    population: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
    biases: str = "constant",
) -> PlasticSequential:
    """A plastic network with the structure of a sequential.

    Args:
        sequential: Conv2d, Linear, MaxPool2d, AvgPool2d, Flatten, Tanh, ReLU, Sigmoid, Identity, BatchNorm2d (with its evaluation
            statistics) and Dropout (off). It is copied: its weights are not used, its statistics (and, unless evolved, its biases)
            stay constants, see `PlasticNetwork.constants`.
        input_shape: (channels, height, width) of one observation, or (n,).
        sharing: how the connections of a kernel element agree: `"max"`, `"min"`, `"median"` or `"mean"`.
        termwise: share each term of the rule by itself, which is cheaper (rules `"nchl"` and `"hl"` only).
        normalise: None, or `"max"`: after each update, an individual's layer is divided by its largest absolute weight.
        rule: `"nchl"`, `"hl"` (a synapse is then a kernel element, five numbers each), `"FILE.py:NAME"`, a `Rule` or a function.
        static: weight layers that do not move in a life, by place in the sequential, name, or module; their weights are evolved.
        initial_weights: a name of `nchl.networks.initial`; `"coevolved"` puts the weights at the genome's end.
        population: number of individuals, or None for one without the axis.
        dtype: torch.float32 or torch.float64; None: that of the module.
        device: where everything lives; None: where the module is.
        generator: CPU generator that `reset` draws from.
        backend: `"compiled"`: kernels for the CPU (forward; the rule `"nchl"`; `"hl"` of linear layers), `"eager"`: torch alone,
            `"auto"`: compiled where it can be.
        biases: `"constant"`: those of the module stay as they are; `"evolve"`: biases stand at the very end of the genome.

    Raises:
        InvalidArgument: a module that is not supported, or a value out of its range, by name.
        ShapeError: a module that does not fit the values that reach it.
    """
    return PlasticSequential(
        sequential,
        input_shape,
        sharing=sharing,
        termwise=termwise,
        normalise=normalise,
        rule=rule,
        static=static,
        initial_weights=initial_weights,
        biases=biases,
        population=population,
        dtype=dtype,
        device=device,
        generator=generator,
        backend=backend,
    )


class PlasticSequential(PlasticNetwork):
    """What `from_module` makes; see there for the arguments."""

    def __init__(
        self,
        sequential: nn.Sequential,
        input_shape: Sequence[int],
        *,
        sharing: str,
        termwise: bool,
        normalise: str | None,
        rule: str | Rule | Callable[..., Tensor],
        static: Sequence[int | str | nn.Module],
        initial_weights: str,
        biases: str,
        population: int | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        generator: torch.Generator | None,
        backend: str,
    ) -> None:
        taken = plan(sequential, input_shape, static)
        self.rule = get(rule)
        self.sharing, self.termwise, self.normalise = check_sharing(sharing), termwise, check_normalise(normalise)
        if termwise:
            check_termwise(self.rule)
        self.initial_weights = initial.check(initial_weights)
        self.evolve_biases = evolves_biases(biases, taken)
        example = taken.layers[0].module.weight
        super().__init__(
            taken.layout(self.rule, coevolved=initial_weights == initial.COEVOLVED, evolve_biases=self.evolve_biases),
            input_shape=taken.groups[0].shape,
            output_size=taken.groups[-1].size,
            output_bounded=taken.output_bounded,
            weights_per_individual=sum(taken.layers[k].module.weight.numel() for k in taken.plastic),
            population=population,
            dtype=example.dtype if dtype is None else dtype,
            device=example.device if device is None else device,
            generator=generator,
        )
        self.plan = taken
        for k, layer in enumerate(taken.layers):
            self.register_buffer(f"weights_{k}", torch.zeros(*self.lead, *layer.shape, dtype=self.dtype, device=self.device))
            bias = layer.module.bias
            kept = None if bias is None else bias.detach().clone().to(self.dtype).to(self.device)
            if kept is not None and self.evolve_biases:
                kept = torch.zeros(self._people, len(kept), dtype=self.dtype, device=self.device)
            self.register_buffer(f"bias_{k}", kept)
        self.between = nn.ModuleList([nn.Identity() if s.module is None else copy.deepcopy(s.module) for s in taken.stages])
        self.between.to(device=self.device, dtype=self.dtype)
        for g in range(len(taken.groups)):
            self.register_buffer(f"activations_{g}", torch.empty(0, dtype=self.dtype, device=self.device))
        self.backend, notes = check_backend(backend, self.device.type)
        self.notes.extend(notes)
        self._shared_rule = SharedRule(taken, self.rule, sharing=sharing, termwise=termwise, normalise=self.normalise is not None)
        self._compiled_step = CompiledStep(taken, self.between, self._shared_rule)
        self._genome_changed()
        self.reset()

    @property
    def weights(self) -> list[Tensor]:
        """The weights as they are now, one per Conv2d and Linear in the module's order, static ones included; not a copy."""
        return [self.get_buffer(f"weights_{k}") for k in range(len(self.plan.layers))]

    @torch.no_grad()
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """See `PlasticNetwork.reset`.

        Args:
            weights: one tensor per Conv2d and Linear in the module's order, or only those of the plastic layers (the others
                are then read from the genome), each as the module's or with the population in front. None: draw them.
            generator: what to draw from; None: the one given to the constructor.

        Raises:
            ShapeError: a tensor too many or too few, or of another shape.
        """
        coevolved = self.initial_weights == initial.COEVOLVED
        if weights is None and not coevolved:
            weights = self.draw_weights(self._generator if generator is None else generator)
        weights = [] if weights is None else weights
        given: dict[int, Tensor] = {}
        if len(weights) or not coevolved:
            every, plastic, count = list(range(len(self.plan.layers))), self.plan.plastic, len(weights)
            if count not in {len(every), len(plastic)}:
                raise ShapeError(
                    f"reset: expected {len(every)} weight tensors, one per layer, or {len(plastic)}, one per plastic layer; got {count}"
                )
            chosen = every if count == len(every) else plastic
            layers = [(self.plan.layers[k].name, self.plan.layers[k].shape) for k in chosen]
            given = dict(zip(chosen, check_weights(weights, layers, self.lead), strict=True))
        for k, mine in enumerate(self.weights):
            mine.copy_(given[k] if k in given else self.layout.unpack(self.genome)[f"weights{k}"])
        for g in range(len(self.plan.groups)):
            self._buffers[f"activations_{g}"] = self.genome.new_empty(0)

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """Initial weights of one individual's plastic layers; an empty list where evolution holds them."""
        if self.initial_weights == initial.COEVOLVED:
            return []
        return [initial.draw(self.initial_weights, self.plan.layers[k].shape, generator, self.dtype) for k in self.plan.plastic]

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "*observations"]) -> Shaped[Tensor, "*outputs"]:
        """Outputs for `x` of the input's shape, with the population in front and, after it, a batch if wanted."""
        return self._forward(x, update=False, active=None)

    @torch.no_grad()
    def update(self) -> None:
        """See `PlasticNetwork.update`; over a batch, each connection's update is averaged, then shared."""
        if not self.get_buffer("activations_0").numel():
            raise self._order_error()
        if self._compiled:
            self._compiled_step.run(self._state(), None, update=True)
        else:
            self._update_eagerly()

    @torch.no_grad()
    def step(self, x: Shaped[Tensor, "*observations"], active: Shaped[Tensor, " population"] | None = None) -> Shaped[Tensor, "*outputs"]:
        """See `PlasticNetwork.step`; the kernels leave out who is not active, and give him zeros."""
        return self._forward(x, update=self.plastic, active=self._check_active(active))

    def _forward(self, x: Tensor, *, update: bool, active: Tensor | None) -> Tensor:
        fits = isinstance(x, Tensor) and x.shape == (*self.lead, *self.input_shape) and (x.dtype, x.device) == (self.dtype, self.device)
        # Observations that are ready as they are need no copy of their own.
        observed = x.detach().contiguous() if fits and self._compiled else self._observe(x)[0]
        a = observed.reshape(self._people, -1, *self.input_shape)
        lead = observed.shape[: observed.ndim - len(self.input_shape)]
        if not self._compiled:
            y = self._forward_eagerly(a)
            if update:
                self._update_eagerly()
            return y.reshape(*lead, *self.plan.output_shape)
        for g, group in enumerate(self.plan.groups):
            if self.get_buffer(f"activations_{g}").shape[:2] != a.shape[:2]:
                with torch.inference_mode(False):  # later steps write to it, inside and outside of an inference mode
                    self._buffers[f"activations_{g}"] = self.genome.new_zeros(*a.shape[:2], *group.shape)
        self._compiled_step.run(self._state(), a, update=update, active=active)
        y = self.get_buffer(f"activations_{len(self.plan.groups) - 1}").reshape(*lead, *self.plan.output_shape).clone()
        if active is not None:
            y[~active] = 0
        return y

    def _forward_eagerly(self, a: Tensor) -> Tensor:
        self._buffers["activations_0"] = a
        for stage, module in zip(self.plan.stages, self.between, strict=True):
            if stage.layer is not None:
                layer = self.plan.layers[stage.layer]
                weight, bias = (
                    self.get_buffer(f"weights_{stage.layer}").view(self._people, *layer.shape),
                    self._buffers[f"bias_{stage.layer}"],
                )
                a = conv_ops.multiply(a, weight) if layer.geometry is None else conv_ops.convolve(a, weight, layer.geometry)
                a = a if bias is None else a + bias.view(-1 if self.evolve_biases else 1, 1, bias.shape[-1], *(1,) * (a.ndim - 3))
            elif stage.module is None:
                a = a.flatten(2)
                continue
            else:
                a = conv_ops.apply(module, a.flatten(0, 1)).unflatten(0, a.shape[:2])
            self._buffers[f"activations_{stage.group}"] = a
        return a.clone()

    def _update_eagerly(self) -> None:
        state = self._state()
        for k in self.plan.plastic:
            layer = self.plan.layers[k]
            self._shared_rule.move(k, state.activations[layer.pre], state.activations[layer.post], state.weights[k])

    def _state(self) -> State:
        layers = range(len(self.plan.layers))
        return State(
            [self.get_buffer(f"activations_{g}") for g in range(len(self.plan.groups))],
            [self.get_buffer(f"weights_{k}").view(self._people, *self.plan.layers[k].shape) for k in layers],
            [self._buffers[f"bias_{k}"] for k in layers],
        )

    def describe(self) -> str:
        """Neurons, connections, free weights and biases, layer by layer."""
        return self.plan.describe(evolve_biases=self.evolve_biases)

    def constants(self) -> dict[str, Tensor]:
        """See `PlasticNetwork.constants`: `NAME.bias`, `NAME.running_mean`, ... by the modules' names in the sequential."""
        return named_constants(self.plan, self.between, [] if self.evolve_biases else self._state().biases)

    def unrolled(self) -> list[Unrolled]:
        """The sparse graph of each convolution, with the module's weights."""
        return [
            unroll(layer.module, layer.geometry.input_size)
            for layer in self.plan.layers
            if isinstance(layer.module, nn.Conv2d) and layer.geometry
        ]

    @property
    def _people(self) -> int:
        return self.population or 1

    @property
    def _compiled(self) -> bool:
        return self.backend == "compiled" and self.device.type == "cpu"

    def _genome_changed(self) -> None:
        named = self.layout.unpack(self.genome.view(self._people, self.nparams))
        self._shared_rule.learn(named)
        for k in range(len(self.plan.layers)) if self.evolve_biases else ():
            if f"biases{k}" in named:
                self.get_buffer(f"bias_{k}").copy_(named[f"biases{k}"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # `to`, `double`, `cuda`: what is derived from the genome follows it.
        super()._apply(fn, recurse)
        self._genome_changed()
        return self

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        return {f"activations_{g}": ((self._people,), group.shape) for g, group in enumerate(self.plan.groups)}

    def train(self, mode: bool = True) -> PlasticSequential:
        """As of any module, but BatchNorm keeps to the statistics that it brought: a life is no training of its own."""
        super().train(mode)
        self.between.eval()
        return self

    def extra_repr(self) -> str:
        """What `print(network)` says."""
        form = ", termwise" if self.termwise else ""
        sizes = f"population={self.population}, nparams={self.nparams}, backend={self.backend}"
        return f"rule={self.rule.name}, sharing={self.sharing}{form}, {sizes}"
