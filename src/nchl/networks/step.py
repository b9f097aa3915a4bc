"""The population step, fused: one pass over the weights does the last step's update and this step's forward.

    W(t) = normalise(W(t-1) + dW(t-1)),    a(t) = tanh(W(t) a_pre(t)),    layer by layer

`FusedStep` is what a network sees of it. For any rule, torch compiles a function that calls the very rule function that the
module calls; the built-in NcHL has a hand-written kernel on the CPU (`step_kernel`). Memory is what a step costs, so the update
of a step waits until the next one reads the weights anyway (the gate is 0 where no update waits); the network makes up for
it before anybody looks at the weights. From outside it is `forward`, then `update`.

Promise: an individual's numbers do not depend on threads, on the population or on its place in it. Rows are summed by the
same loop whatever the population, which is the one axis that is left open when the function is compiled.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import logging
import os
import shutil
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from nchl.quiet import quiet_warnings
from nchl.rules import Rule
from nchl.rules.kernels import cache

BLOCK = 64
"""Individuals that are stepped or left out together; a rollout's population is padded to a multiple of it."""

COMPILE_FROM = 2**17
"""Weights in the whole population from which compiling pays: below, a life of eager steps costs less than the compiler."""

BACKENDS = ("auto", "eager", "compiled")

Kernel = Callable[..., Tensor]
_log = logging.getLogger("nchl")
_told: set[str] = set()
_making = threading.RLock()


def choose_backend(population: int | None, weights_per_individual: int) -> str:
    """`"compiled"` or `"eager"`, from the configuration alone: never from a timing, a cache or the machine.

    Args:
        population: individuals in the whole run, not in a worker's slice of it.
        weights_per_individual: weights that move.
    """
    return "compiled" if population is not None and population * weights_per_individual >= COMPILE_FROM and population >= 16 else "eager"


def missing_compiler(device: torch.device) -> str | None:
    """Why torch can compile nothing for this device, as a line for the user; None where it can."""
    if device.type != "cpu":
        return None
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler}): the population step runs unfused, about 30 times slower; install g++ or set CXX"
    return None


def tell_once(line: str) -> str:
    """Log a note, the first time that it comes up in this process; returns it."""
    if line not in _told:
        _told.add(line)
        _log.info(line)
    return line


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """One thread compiles, and a second one that needs the same finds it done. What torch says of its own code is silenced."""
    with _making, quiet_warnings():
        yield


def layer_parameters(names: tuple[str, ...], block: Tensor | None) -> dict[str, Tensor]:
    """Split a packed `(population, k, ...)` tensor into its k parameters by name."""
    return {} if block is None else dict(zip(names, block.unbind(1), strict=True))


def population_kernel(rule: Rule, nodes: tuple[int, ...], normalise: bool) -> Kernel:
    """The compiled step of all networks with this rule and these sizes.

    The kernel takes `(x, gate, *tensors)`; `tensors` are those of `PlasticMLP`, in this order: weights `(P, out, in)` per layer,
    neuron parameters `(P, k, n)` per group that has any, synapse parameters `(P, k, out, in)` per layer if the rule has any, and the
    activations of the last step `(P, n)` per group. It moves weights and activations in place and returns a new `(P, n_out)`.
    """
    with _making:  # the cache does not wait for a call that is under way
        return _population_kernel(rule, nodes, normalise)


@functools.lru_cache(maxsize=64)
def _population_kernel(rule: Rule, nodes: tuple[int, ...], normalise: bool) -> Kernel:
    layers = len(nodes) - 1
    names = [rule.neuron_parameters(presynaptic=k < layers, postsynaptic=k > 0) for k in range(layers + 1)]

    def step(x: Tensor, gate: Tensor, *tensors: Tensor) -> Tensor:
        given = iter(tensors)
        weights = [next(given) for _ in range(layers)]
        neurons = [layer_parameters(group, next(given)) if group else {} for group in names]
        synapses = [layer_parameters(rule.synapse, next(given)) if rule.synapse else {} for _ in range(layers)]
        last = [next(given) for _ in range(layers + 1)]
        now = [x]
        for k, weight in enumerate(weights):
            moved = weight + rule.delta(last[k], last[k + 1], weight, neurons[k], neurons[k + 1], synapses[k])
            # Chosen, not multiplied by the gate: activations of the last life, or none, may make infinities and NaN of a rule.
            moved = torch.where(gate > 0, moved, weight)
            if normalise:
                largest = moved.abs().amax(dim=(-2, -1), keepdim=True)
                moved = moved / torch.where((largest > 0) & (gate > 0), largest, 1)
            weight.copy_(moved)
            now.append(torch.tanh((moved * now[-1].unsqueeze(-2)).sum(-1)))
        for old, new in zip(last, now, strict=True):
            old.copy_(new)
        return now[-1]

    # torch counts recompilations per code object, so each kernel gets one of its own.
    own = types.FunctionType(step.__code__.replace(), step.__globals__, step.__name__, step.__defaults__, step.__closure__)
    # torch's own default is a folder in /tmp of a name that anybody can guess and make first.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.folder() / "torch"))
    # dynamic=False: no axis but the one that is marked is left open, whatever other networks were compiled before.
    # The options: one code for any number of threads, split along the population alone.
    compiled: Kernel = torch.compile(own, fullgraph=True, dynamic=False, options={"cpp.dynamic_threads": True, "cpp.threads": 8})
    return compiled


class FusedStep(abc.ABC):
    """A network's tensors, laid out for one pass over its weights: `CompiledStep` here, `KernelStep` in `step_kernel`.

    Attributes:
        activations: those of the last step, `(population, n)` per group, inputs first; steps write them in place.
    """

    activations: list[Tensor]

    def reads(self, x: Tensor) -> bool:
        """Whether `x` can be given as it is: of the shape, type and device of the inputs, and without a gradient."""
        own = self.activations[0]
        return x.shape == own.shape and x.dtype == own.dtype and x.device == own.device and not x.requires_grad

    @abc.abstractmethod
    def __call__(self, x: Tensor, waiting: bool, active: Tensor | None) -> Tensor:
        """One step of `x (population, n_in)`; `waiting`: the update of the last step is still to be done."""

    @abc.abstractmethod
    def update(self) -> bool:
        """Do the waiting update alone; False, and nothing done, where the network's own update serves."""


class CompiledStep(FusedStep):
    """The step of any rule, by a function that torch compiles.

    Args:
        kernel: from `population_kernel`.
        tensors: all tensors of the kernel but the activations.
        nodes: layer sizes.
        population: individuals.
    """

    # What each kernel was compiled for: type, device, torch's threads, and whether for one individual, for whom torch compiles anew.
    _seen: ClassVar[weakref.WeakKeyDictionary[Kernel, set[tuple[torch.dtype, torch.device, int, bool]]]] = weakref.WeakKeyDictionary()

    def __init__(self, kernel: Kernel, tensors: list[Tensor], nodes: tuple[int, ...], population: int) -> None:
        like = tensors[0]
        self.kernel = kernel
        self.activations = [like.new_zeros(population, n) for n in nodes]
        self._tensors = (*tensors, *self.activations)
        self._gates = (like.new_zeros(()), like.new_ones(()))
        self._views: dict[tuple[int, int], tuple[Tensor, ...]] = {}
        self._population = population
        # The population is the axis that stays open; the marks are read when the kernel is compiled.
        for tensor in self._tensors:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)

    def _run(self, x: Tensor, gate: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        kind = (x.dtype, x.device, torch.get_num_threads(), len(x) == 1)
        if kind in self._seen.get(self.kernel, ()):
            return self.kernel(x, gate, *tensors)
        with compiling():
            seen = self._seen.setdefault(self.kernel, set())
            block = (*kind[:-1], False)
            if block not in seen:
                self._show_a_block()
                seen.add(block)
            y = self.kernel(x, gate, *tensors)
            seen.add(kind)
            return y

    def _show_a_block(self) -> None:
        """Let the compiler see `BLOCK` individuals first: the sizes that it sees decide its loops, and a worker's slice is its own."""
        x, *example = [t.new_zeros(BLOCK, *t.shape[1:]) for t in (self.activations[0], *self._tensors)]
        for tensor in (x, *example):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        self.kernel(x, self._gates[0], *example)

    @torch.no_grad()
    def __call__(self, x: Tensor, waiting: bool, active: Tensor | None) -> Tensor:
        """See `FusedStep`; blocks of individuals in which nobody is active are left out."""
        gate = self._gates[waiting]
        runs = self._runs(active)
        if runs == [(0, self._population)]:
            torch._dynamo.maybe_mark_dynamic(x, 0)
            return self._run(x, gate, self._tensors)
        y = x.new_zeros(self._population, self.activations[-1].shape[1])
        for start, stop in runs:
            y[start:stop] = self._run(x[start:stop], gate, self._slice(start, stop))
        return y

    def update(self) -> bool:
        """The network does it: see `FusedStep.update`."""
        return False

    def _runs(self, active: Tensor | None) -> list[tuple[int, int]]:
        """Stretches of neighbouring blocks in which somebody is active; what is left over belongs to the last block."""
        last = (self._population // BLOCK - 1) * BLOCK
        if active is None or last <= 0:
            return [(0, self._population)]
        runs: list[tuple[int, int]] = []
        needed = [*active[:last].reshape(-1, BLOCK).any(dim=1).tolist(), bool(active[last:].any())]
        for start in (BLOCK * block for block, somebody in enumerate(needed) if somebody):
            stop = self._population if start == last else start + BLOCK
            if runs and runs[-1][1] == start:
                runs[-1] = (runs[-1][0], stop)
            else:
                runs.append((start, stop))
        return runs

    def _slice(self, start: int, stop: int) -> tuple[Tensor, ...]:
        if (start, stop) not in self._views:
            self._views[start, stop] = tuple(tensor[start:stop] for tensor in self._tensors)
            for tensor in self._views[start, stop]:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return self._views[start, stop]
