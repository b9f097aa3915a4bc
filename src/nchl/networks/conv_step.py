"""The step of a plastic sequential by the kernels of `nchl.rules.kernels`: forward and update of an individual in one go.

Everything that one individual needs stays in his processor's cache from the convolution to its update. Torch does what has no
kernel (average pooling, BatchNorm, Sigmoid, unusual max pooling, rules of users), between two calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nchl.networks import conv_ops
from nchl.networks.conv_plan import Plan
from nchl.networks.conv_update import SharedRule
from nchl.rules.geometry import ConvGeometry, pair
from nchl.rules.kernels import Program


@dataclass
class State:
    """What a network's steps read and write: activations `(people, batch, ...)` per group, weights `(people, ...)` and biases, shared
    by all or `(people, out)`, per layer."""

    activations: list[Tensor]
    weights: list[Tensor]
    biases: list[Tensor | None]


@dataclass
class Between:
    """A module that torch applies, from one group's activations to another's or the same one's."""

    module: nn.Module
    source: int
    target: int


@dataclass
class Move:
    """A layer's update: by torch where there is no kernel; otherwise by it for those whose numbers `overflow` a kernel."""

    layer: int
    overflow: Bool[Tensor, " individuals"] | None = None


Part = Program | Between | Move


class CompiledStep:
    """Programs of one network, written when its tensors are first seen and again when they have moved.

    Args:
        plan: groups, layers and stages.
        between: the modules of the stages.
        rule: moves the weights.
    """

    def __init__(self, plan: Plan, between: nn.ModuleList, rule: SharedRule) -> None:
        self._plan, self._between, self._rule = plan, between, rule
        self._written: dict[tuple[bool, bool], tuple[list[int], list[Part]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the programs: they hold addresses of this process, and are written again at the next step."""
        return vars(self) | {"_written": {}}

    def run(
        self,
        state: State,
        x: Float[Tensor, "individuals batch *observation"] | None,
        *,
        update: bool,
        active: Bool[Tensor, " individuals"] | None = None,
    ) -> None:
        """One step, or half of one.

        Args:
            state: the network's tensors.
            x: contiguous observations for the forward pass; None: no forward pass.
            update: whether the weights move afterwards.
            active: who takes part; None: everyone.
        """
        parts = self._parts(state, x, update)
        if x is not None:
            cast("Program", parts[0]).redirect(x)
        for part in parts:
            if isinstance(part, Program):
                part.run(active)
            elif isinstance(part, Between):
                a = state.activations[part.source]
                state.activations[part.target].copy_(conv_ops.apply(part.module, a.flatten(0, 1)).unflatten(0, a.shape[:2]))
            elif part.overflow is None or bool(part.overflow.any()):
                layer = self._plan.layers[part.layer]
                pre, post = (state.activations[g] for g in (layer.pre, layer.post))
                self._rule.move(part.layer, pre, post, state.weights[part.layer], part.overflow)
                if part.overflow is not None:
                    part.overflow.zero_()

    def _parts(self, state: State, x: Tensor | None, update: bool) -> list[Part]:
        used = (*state.activations, *state.weights)
        addresses = [self._rule.genomes, *state.activations[0].shape[:2], *(tensor.data_ptr() for tensor in used)]
        kind = x is not None, update
        if kind not in self._written or self._written[kind][0] != addresses:
            with torch.inference_mode(False):  # what is kept must outlive an inference mode
                self._written[kind] = addresses, list(self._write(state, x, update))
        return self._written[kind][1]

    def _write(self, state: State, x: Tensor | None, update: bool) -> Iterator[Part]:
        """The parts in order; neighbouring instructions belong to one program."""
        people, batch = state.activations[0].shape[:2]
        program = Program(people, batch)
        moves: list[Move] = []
        if x is not None:
            program.copy(x, state.activations[0])
            for stage, module in zip(self._plan.stages, self._between, strict=True):
                target = state.activations[stage.group]
                if stage.layer is not None:
                    layer = self._plan.layers[stage.layer]
                    given = (state.activations[layer.pre], state.weights[stage.layer], state.biases[stage.layer], target)
                    if layer.geometry is None:
                        program.multiply(*given)
                    else:
                        program.convolve(layer.geometry, *given)
                elif stage.module is None or isinstance(module, nn.Identity):
                    continue
                elif isinstance(module, nn.Tanh):
                    program.tanh(target)
                elif isinstance(module, nn.ReLU):
                    program.relu(target)
                elif (window := _window(module, self._plan.groups[stage.group - 1].shape)) is not None:
                    program.pool(window, state.activations[stage.group - 1], target)
                else:
                    pools = isinstance(module, (nn.MaxPool2d, nn.AvgPool2d))
                    yield program
                    yield Between(module, stage.group - pools, stage.group)
                    program = Program(people, batch)
        if update:
            for k in self._plan.plastic:
                layer = self._plan.layers[k]
                overflow = None
                if batch == 1 and self._rule.has_kernel(k):
                    pre, post = (state.activations[g] for g in (layer.pre, layer.post))
                    overflow = self._rule.write(program, k, pre, post, state.weights[k])
                    if overflow is None:
                        continue
                moves.append(Move(k, overflow))
        yield program
        yield from moves


def _window(module: nn.Module, shape: tuple[int, ...]) -> ConvGeometry | None:
    """The geometry of a max pooling that the kernels know; None for another module."""
    if not isinstance(module, nn.MaxPool2d) or module.ceil_mode:
        return None
    if pair(module.padding, "padding") != (0, 0) or pair(module.dilation, "dilation") != (1, 1):
        return None
    channels, height, width = shape
    return ConvGeometry.make(channels, channels, module.kernel_size, (height, width), stride=module.stride, groups=channels)
