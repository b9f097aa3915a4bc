"""Back ends of a graph's step: the functions of `graph.step`, or compiled code that tests compare with them.

BackEnd    eager: any graph on any device
Fused      a population of dense graphs: update and forward in one pass over the weights (`fused`, `kernel`)
Programs   convolutions on a CPU, by C++ kernels (`program`)
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.back_ends import fused
from nchl.networks.back_ends import kernel as fused_kernel
from nchl.networks.back_ends.program import ProgramStep
from nchl.networks.checks import real_numbers
from nchl.networks.graph.lifetime import Waiting
from nchl.networks.graph.step import perceived
from nchl.rules.kernels import program as kernels

if TYPE_CHECKING:
    from nchl.networks.plastic_graph import PlasticGraph

BACKENDS = ("auto", "eager", "compiled")


class BackEnd:
    """The functions of `graph.step`, and the base of the compiled back ends.

    Args:
        asked: `"auto"`, `"eager"` or `"compiled"`, as the user asked.

    Attributes:
        name: `"eager"` or `"compiled"`.
        notes: lines that the user should be told once.
    """

    name = "eager"

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.notes: list[str] = []
        self._step: Any = None  # compiled code that holds the addresses of the network's tensors

    @property
    def holds(self) -> bool:
        """Whether it holds addresses of the network's tensors, which must then be written in place."""
        return self._step is not None

    def forget(self) -> None:
        """Called when the network's tensors have been replaced."""
        self._step = None

    def begin(self) -> None:
        """Called when a new lifetime begins."""

    def settle(self) -> None:
        """Bring the network's tensors up to date before they are read."""

    def forward(self, net: PlasticGraph, x: Any) -> Tensor:
        """The forward pass alone."""
        observed, batched = net._observe(x)
        return net._outputs(net._act(observed.reshape(net._people, -1, *net.input_shape)), batched)

    def move(self, net: PlasticGraph, waiting: Waiting, rows: Tensor | None = None) -> None:
        """An update of all individuals, or of some by their indices."""
        net._move(waiting, rows)

    def step(self, net: PlasticGraph, x: Any, waiting: Waiting, active: Tensor | None) -> Tensor:
        """The waiting update of the last step, then this step's forward, and its update unless that needs a reward."""
        self.move(net, waiting)
        y = self.forward(net, x)
        net._lifetime.waiting, net._lifetime.frozen = net.plastic and net.needs_reward, not net.plastic
        if net.plastic and not net.needs_reward:
            self.move(net, net._due(None))
        return y

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copies: without compiled code, which the next step makes again."""
        return vars(self) | {"_step": None}


class Fused(BackEnd):
    """A population of dense graphs: the update of a step waits for the next step's pass over the weights."""

    name = "compiled"

    def begin(self) -> None:
        """See `BackEnd`."""
        if self._step is not None:
            self._step.begin()

    def settle(self) -> None:
        """See `BackEnd`."""
        if self._step is not None:
            self._step.settle()

    def move(self, net: PlasticGraph, waiting: Waiting, rows: Tensor | None = None) -> None:
        """See `BackEnd`."""
        mask = None
        if rows is not None:
            mask = torch.zeros(net._people, dtype=torch.bool)
            mask[rows.cpu()] = True
        one = net.get_buffer("activations_0").shape[1:2] == (1,)
        if not one or self._step is None or not self._step.update(waiting, mask):
            net._move(waiting, rows)

    def step(self, net: PlasticGraph, x: Any, waiting: Waiting, active: Tensor | None) -> Tensor:
        """See `BackEnd`; a batch is computed by the functions of `graph.step`."""
        observation = x if isinstance(x, Tensor) else real_numbers(x, "an observation")
        if observation.ndim > 1 + len(net.input_shape):
            return super().step(net, observation, waiting, active)
        first = self._step is None
        if first:
            if net.get_buffer("activations_0").shape[1:2] != (1,):
                self.move(net, waiting)  # the update of a batch, before its activations are replaced
                waiting = Waiting()
            net._make_room(1)
        if self._step is None or not self._step.reads(observation):
            observation, _ = net._observe(observation)  # otherwise no copy: a fused step stores its observation
        try:
            if self._step is None:
                with torch.inference_mode(False):  # the kept tensors outlive an inference mode
                    self._step = self._made(net)
            y: Tensor = self._step(observation, waiting, net._count(), active)
        except Exception as error:
            if not first:
                raise
            # Compilation comes before the run, so no tensor has changed; an error of the rule is raised again below.
            reason = " ".join([type(error).__name__ + ":", *str(error).split("\n")[:2]])
            eager = BackEnd(self.asked)
            eager.notes.append(fused.tell_once(f"the population step could not be compiled and runs unfused ({reason})"))
            net._take(eager)
            return eager.step(net, observation, waiting, active)
        lifetime = net._lifetime
        lifetime.steps += 1
        lifetime.waiting, lifetime.batched, lifetime.frozen = net.plastic, False, not net.plastic
        return y

    def __deepcopy__(self, memo: dict[int, Any]) -> Fused:
        """With the step: its tensors are copied together with the network's."""
        made = Fused(self.asked)
        made.notes, made._step = list(self.notes), copy.deepcopy(self._step, memo)
        return made

    @staticmethod
    def _made(net: PlasticGraph) -> fused.FusedStep:
        state, parameters = net.state, net._rule_numbers
        if fused_kernel.serves(net.graph, net.device):
            return fused_kernel.KernelStep(net.graph, net.plasticity, state, parameters)
        function = fused.population_function(net.graph, net.plasticity, tuple(state))
        numbers = [*parameters.neurons.values(), *parameters.synapses.values()]
        told = {"gained": net.plasticity.modulate is not None, "rewarded": net.graph.uses_reward}
        return fused.CompiledStep(function, state, numbers, net.graph.groups[-1].shape, **told)


class Programs(BackEnd):
    """Convolutions by kernels on a CPU; on another device, to which a network may have been moved, the functions of `graph.step`."""

    name = "compiled"

    def forward(self, net: PlasticGraph, x: Any) -> Tensor:
        """See `BackEnd`."""
        return self._run(net, x) if net.device.type == "cpu" else super().forward(net, x)

    def move(self, net: PlasticGraph, waiting: Waiting, rows: Tensor | None = None) -> None:
        """See `BackEnd`; the kernels serve updates without trace, modulation and memory."""
        if net.device.type != "cpu" or rows is not None or waiting.keeps or waiting.gain is not None or waiting.reward is not None:
            net._move(waiting, rows)
        elif waiting.applies:
            self._programs(net).run(net.state, net.biases, net._rule_numbers, None, update=True)

    def step(self, net: PlasticGraph, x: Any, waiting: Waiting, active: Tensor | None) -> Tensor:
        """See `BackEnd`; inactive individuals are skipped, their outputs are zeros."""
        together = net.plastic and net.plasticity.plain and net.plasticity.average is None and not net.needs_reward and not net.keeps
        if net.device.type != "cpu" or not together:
            return super().step(net, x, waiting, active)
        return self._run(net, x, update=net.plasticity.applies(net._lifetime.steps), active=active)

    def _run(self, net: PlasticGraph, x: Any, *, update: bool = False, active: Tensor | None = None) -> Tensor:
        """A forward pass, with a plain update if asked."""
        fits = isinstance(x, Tensor) and x.shape == (*net.lead, *net.input_shape) and (x.dtype, x.device) == (net.dtype, net.device)
        # Observations of the right shape, type and device need no copy.
        observed, batched = (x.detach().contiguous(), False) if fits else net._observe(x)
        a = observed.reshape(net._people, -1, *net.input_shape)
        net._make_room(a.shape[1])
        state = net.state
        self._programs(net).run(state, net.biases, net._rule_numbers, a, update=update, active=active)
        now = [state[f"activations_{g}"] for g in range(len(net.graph.groups))]
        net._keep(perceived(net.plasticity, state, now, net._count()))
        net._lifetime.steps += 1
        y = net._outputs(now[-1], batched)
        if active is not None:
            y[~active] = 0
        return y

    def _programs(self, net: PlasticGraph) -> ProgramStep:
        if self._step is None:
            self._step = ProgramStep(net.graph, net.elementwise, net.plasticity, net._updates)
        step: ProgramStep = self._step
        return step


def choose(net: PlasticGraph, asked: str, population: int | None) -> BackEnd:
    """The back end of a network, chosen by its settings, its device and whether there is a compiler: never by a timing or a cache.

    Args:
        net: the network.
        asked: one of `BACKENDS`.
        population: number of individuals to choose for.

    Raises:
        UnknownName: `asked` is none of `BACKENDS`.
        InvalidArgument: `"compiled"` for a network without a compiled step, or without a compiler.
    """
    if asked not in BACKENDS:
        raise UnknownName("backend", asked, BACKENDS)
    graph, eager = net.graph, BackEnd(asked)
    if asked == "eager":
        return eager
    reason = _objection(net, population)
    if reason:
        if asked == "compiled":
            raise InvalidArgument(f"backend 'compiled': {reason}; use 'auto' or 'eager'")
        return eager
    if any(edge.module is not None for edge in graph.edges):
        missing = f"the device is {net.device.type!r}, not a CPU" if net.device.type != "cpu" else kernels.unavailable()
        if not missing:
            return Programs(asked)
        if asked == "compiled":
            raise InvalidArgument(f"backend='compiled': there are no kernels ({missing}); use 'auto'")
        if net.device.type == "cpu":
            eager.notes.append(f"the convolution kernels cannot be built ({missing}): the slower torch functions are used")
        return eager
    if asked == "auto" and fused.choose_backend(population, net.weights_per_individual) == "eager":
        return eager
    no_compiler = fused.missing_compiler(net.device)
    if no_compiler is None:
        return Fused(asked)
    if asked == "compiled":
        raise InvalidArgument(f"backend='compiled': {no_compiler}; use 'auto' or 'eager'")
    eager.notes.append(fused.tell_once(f"{no_compiler}: the population step runs unfused, about 30 times slower"))
    return eager


def _objection(net: PlasticGraph, population: int | None) -> str:
    """The reason why a network has no compiled step; empty if it may have one."""
    graph = net.graph
    if net.differentiable:
        return "a differentiable network computes by the functions of torch"
    if not graph.plastic:
        return "a static network has no compiled step"
    if any(edge.module is not None for edge in graph.edges):
        return "a graph with convolutions or modules and with delays has no compiled step" if graph.recurrent else ""
    if population is None:
        return "it is the step of a population, got population None; give population=1"
    if any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for group in graph.groups for m in group.modules):
        return "a dense graph with batch normalisation has no compiled step"
    return ""
