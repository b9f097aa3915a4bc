"""Plastic multilayer perceptrons: tanh(W x) in every layer, no biases, and a local rule that moves W after each step.

`NcHL` (5N - n_in - n_out numbers) and `HL` (5 numbers per weight) are the two published rules; `PlasticMLP` takes any.
Promise: `step` equals `forward` then `update`, and an individual's numbers do not depend on who shares the population.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks import initial, step, step_kernel
from nchl.networks.base import PlasticNetwork
from nchl.networks.layers import (
    Numbers,
    by_name,
    check_nodes,
    check_normalise,
    check_weights,
    group_names,
    mlp_layout,
    normalise_by_max,
    product,
    real_numbers,
)
from nchl.networks.step import FusedStep
from nchl.rules import ABCD, NCHL, Rule, get
from nchl.rules.kernels.build import compiler_path


class PlasticMLP(PlasticNetwork):
    """A multilayer perceptron that any local rule rewires.

    Args:
        nodes: layer sizes, inputs first.
        rule: a `Rule`, a function whose signature declares one, a name, or `"FILE.py:NAME"`.
        population: number of individuals, or None for one.
        initial_weights: a name of `nchl.networks.initial`; `"coevolved"` puts them at the genome's end.
        normalise: None, or `"max"`: after each update, an individual's layer is divided by its largest absolute weight.
        dtype: torch.float32 or torch.float64; None: torch's default.
        device: where everything lives.
        generator: CPU generator that `reset` draws from.
        backend: `"auto"`, `"eager"` or `"compiled"`.

    Raises:
        InvalidArgument: a value out of its range, naming it.
    """

    _fused: FusedStep | None  # made at the first fused step, thrown away when its tensors are replaced
    _waiting: bool  # the fused step has put off an update
    _neurons: list[Tensor | None]
    _synapses: list[Tensor | None]
    _arguments: dict[int, dict[str, Tensor]]  # of the rule, layer by layer, made when a step first needs them

    def __init__(
        self,
        nodes: Sequence[int],
        rule: str | Rule | Callable[..., Tensor],
        *,
        population: int | None = None,
        initial_weights: str = initial.DEFAULT,
        normalise: str | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        backend: str = "auto",
    ) -> None:
        self.nodes = check_nodes(nodes)
        self.rule = get(rule)
        self.initial_weights = initial.check(initial_weights)
        self.normalise = check_normalise(normalise)
        layers = list(itertools.pairwise(self.nodes))
        super().__init__(
            mlp_layout(self.nodes, self.rule, coevolved=initial_weights == initial.COEVOLVED),
            input_shape=self.nodes[:1],
            output_size=self.nodes[-1],
            output_bounded=True,
            weights_per_individual=sum(n_in * n_out for n_in, n_out in layers),
            population=population,
            dtype=dtype,
            device=device,
            generator=generator,
        )
        for k, (n_in, n_out) in enumerate(layers):
            self.register_buffer(f"weights_{k}", torch.zeros(*self.lead, n_out, n_in, dtype=self.dtype, device=device))
        for k in range(len(self.nodes)):
            self.register_buffer(f"activations_{k}", torch.empty(0, dtype=self.dtype, device=device))
        self._choose_backend(backend)
        self._genome_changed()
        self.reset()

    @property
    def weights(self) -> list[Tensor]:
        """The weights as they are now, `(*lead, out, in)` per layer: the network's own memory, not a copy. Ask again after a step."""
        self._catch_up()
        return self._stored_weights

    @property
    def _stored_weights(self) -> list[Tensor]:
        return [self.get_buffer(f"weights_{k}") for k in range(len(self.nodes) - 1)]

    @property
    def activations(self) -> list[Tensor]:
        """The groups' activations of the last step, inputs first, each `(*lead, n)` or `(*lead, batch, n)`; empty before any."""
        return [self.get_buffer(f"activations_{k}") for k in range(len(self.nodes))]

    @torch.no_grad()
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """See `PlasticNetwork.reset`; co-evolved weights are read from the genome unless others are given.

        Raises:
            ShapeError: a weight tensor too many or too few, or of another shape.
        """
        if weights is None or (not len(weights) and self.initial_weights == initial.COEVOLVED):
            if self.initial_weights == initial.COEVOLVED:
                named = self.layout.unpack(self.genome)
                weights = [named[f"weights{k}"] for k in range(len(self.nodes) - 1)]
            else:
                weights = self.draw_weights(self._generator if generator is None else generator)
        layers = [(str(k), (n_out, n_in)) for k, (n_in, n_out) in enumerate(itertools.pairwise(self.nodes))]
        tensors = check_weights(weights, layers, self.lead)
        self._waiting = False
        for mine, given in zip(self._stored_weights, tensors, strict=True):
            mine.copy_(given)
        for k in range(len(self.nodes)):
            self._buffers[f"activations_{k}"] = self.genome.new_empty(0)

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """See `PlasticNetwork.draw_weights`."""
        if self.initial_weights == initial.COEVOLVED:
            return []
        shapes = zip(self.nodes[1:], self.nodes[:-1], strict=True)
        return [initial.draw(self.initial_weights, shape, generator, self.dtype) for shape in shapes]

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "*lead inputs"]) -> Shaped[Tensor, "*_lead outputs"]:
        """Outputs in [-1, 1] for `x` of shape `(inputs,)`, `(population, inputs)`, or with a batch axis before the inputs."""
        a, batched = self._observe(x)
        self._buffers["activations_0"] = a
        for k, weight in enumerate(self.weights):
            a = torch.tanh(product(weight.unsqueeze(-3) if batched else weight, a))
            self._buffers[f"activations_{k + 1}"] = a
        return a.clone()

    @torch.no_grad()
    def update(self) -> None:
        """See `PlasticNetwork.update`; over a batch, each connection's update is averaged."""
        self._catch_up()
        self._move()

    def step(
        self, x: Shaped[Tensor, "*lead inputs"], active: Shaped[Tensor, " population"] | None = None
    ) -> Shaped[Tensor, "*_lead outputs"]:
        """See `PlasticNetwork.step`; for a population with `backend="compiled"`, in one pass over the weights."""
        if self.backend == "compiled":
            observation = x if isinstance(x, Tensor) else real_numbers(x, "an observation")
            if observation.ndim <= 2:
                return self._step_fused(observation, self._check_active(active))
        return super().step(x, active)

    def _step_fused(self, x: Tensor, active: Tensor | None) -> Tensor:
        first = self._fused is None
        if self._fused is None or not self._fused.reads(x):
            x, _ = self._observe(x)  # otherwise no copy: a fused step writes down what it has seen
        try:
            if self._fused is None:
                with torch.inference_mode(False):  # what is kept must outlive an inference mode
                    self._fused = self._fuse()
            y = self._fused(x, self._waiting, active)
        except Exception as error:
            if not first:
                raise
            # Compiling comes before running, so nothing has moved yet; if it is the rule that fails, it fails again below.
            reason = " ".join([type(error).__name__ + ":", *str(error).split("\n")[:2]])
            self.notes.append(step.tell_once(f"the population step could not be compiled and runs unfused ({reason})"))
            self.backend, self._fused = "eager", None
            return super().step(x, active)
        if self._buffers["activations_0"] is not self._fused.activations[0]:  # after a `reset`, or a step that was not fused
            for k, group in enumerate(self._fused.activations):
                self._buffers[f"activations_{k}"] = group
        self._waiting = self.plastic
        return y

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the fused step, which holds addresses or a compiled function; the next step makes it again."""
        self._catch_up()
        return super().__getstate__() | {"_fused": None, "_arguments": {}}  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> PlasticMLP:
        """With all that the network has, so that the update that waits need not be made up for."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__({name: copy.deepcopy(value, memo) for name, value in super().__getstate__().items()})
        return made

    def _fuse(self) -> FusedStep:
        blocks = [t for t in (*self._neurons, *self._synapses) if t is not None]
        if step_kernel.serves(self.rule, self.device):
            return step_kernel.KernelStep(self._stored_weights, blocks, self.nodes, self.normalise is not None)
        kernel = step.population_kernel(self.rule, self.nodes, self.normalise is not None)
        return step.CompiledStep(kernel, [*self._stored_weights, *blocks], self.nodes, int(self.population or 0))

    def _choose_backend(self, backend: str) -> None:
        if backend not in step.BACKENDS:
            raise UnknownName("backend", backend, step.BACKENDS)
        if backend == "compiled" and self.population is None:
            raise InvalidArgument(
                "backend 'compiled' is the step of a population, got population None; give population=1, or backend='eager'"
            )
        self.backend = step.choose_backend(self.population, self.weights_per_individual) if backend == "auto" else backend
        has_kernel = step_kernel.serves(self.rule, self.device) and compiler_path() is not None
        missing = step.missing_compiler(self.device) if self.backend == "compiled" and not has_kernel else None
        if missing:
            self.backend = "eager"
            self.notes.append(step.tell_once(missing))

    @torch.no_grad()
    def _catch_up(self) -> None:
        """Do the update that the fused step has put off."""
        if self._waiting:
            self._waiting = False
            if self._fused is None or not self._fused.update():
                self._move()

    def _move(self) -> None:
        activations = self.activations
        if not activations[0].numel():
            raise self._order_error()
        batched = activations[0].ndim > len(self.lead) + 1
        for k, weight in enumerate(self._stored_weights):
            delta = self._delta(k, activations[k], activations[k + 1], weight, batched)
            weight.add_(delta)
            if self.normalise:
                normalise_by_max(weight)

    def _delta(self, k: int, pre: Tensor, post: Tensor, weight: Tensor, batched: bool) -> Tensor:
        if not batched:
            if k not in self._arguments:
                self._arguments[k] = self._layer_arguments(k)
            return self.rule.change(pre, post, weight, self._arguments[k])
        return self.rule.change(pre, post, weight.unsqueeze(-3), self._layer_arguments(k, batched=True)).mean(-3)

    def _layer_arguments(self, k: int, batched: bool = False) -> dict[str, Tensor]:
        """The rule's parameters in one layer, with an axis for a batch if there is one."""
        axis = -2 if batched else None
        return self.rule.arguments(
            by_name(self.rule.neuron_parameters(presynaptic=True, postsynaptic=k > 0), self._neurons[k], axis),
            by_name(self.rule.neuron_parameters(presynaptic=k < len(self.nodes) - 2, postsynaptic=True), self._neurons[k + 1], axis),
            by_name(self.rule.synapse, self._synapses[k], -3 if batched else None, trailing=2),
        )

    def state_dict(self, *args: Any, **keywords: Any) -> Any:
        """As of any module: genome, weights, and the activations of the last step."""
        self._catch_up()
        return super().state_dict(*args, **keywords)

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        return {f"activations_{k}": (self.lead, (n,)) for k, n in enumerate(self.nodes)}

    def _before_genome_changes(self) -> None:
        self._catch_up()

    def _genome_changed(self) -> None:
        """Unpack the genome once, parameter by parameter: `(*lead, k, n)` per group, `(*lead, k, out, in)` per layer, contiguous."""
        self._fused = None
        self._waiting = False
        self._arguments = {}
        named = self.layout.unpack(self.genome)
        self._neurons = [named[name].mT.contiguous() if name in named else None for name in group_names(self.nodes)]
        self._synapses = [
            named[f"layer{k}"].movedim(-1, -3).contiguous() if self.rule.synapse else None for k in range(len(self.nodes) - 1)
        ]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # `to`, `double`, `cuda`: what is derived from the genome follows it.
        self._catch_up()
        super()._apply(fn, recurse)
        self._genome_changed()
        return self

    def extra_repr(self) -> str:
        """What `print(network)` says."""
        return (
            f"nodes={list(self.nodes)}, rule={self.rule.name}, population={self.population}, nparams={self.nparams}, backend={self.backend}"
        )


class NcHL(PlasticMLP):
    """Neuron-centric Hebbian learning: five numbers per neuron (four for inputs and outputs). Arguments as `PlasticMLP`."""

    def __init__(self, nodes: Sequence[int], **keywords: Any) -> None:
        super().__init__(nodes, NCHL, **keywords)


class HL(PlasticMLP):
    """Synapse-centric ABCD Hebbian learning: five numbers per weight. Arguments as `PlasticMLP`."""

    def __init__(self, nodes: Sequence[int], **keywords: Any) -> None:
        super().__init__(nodes, ABCD, **keywords)


NHCL = NcHL  # the paper's spelling
