"""The fused step of a population: one pass over the weights does the last step's update and this step's forward.

    W(t) = normalise(W(t-1) + m E),    a(t) = tanh(sum over edges of W(t) a_pre),    group by group

For any rule, torch compiles the functions of `graph.step` (`CompiledStep`); the built-in NcHL has a C++ kernel on the CPU (`kernel`).
Memory traffic dominates the cost of a step, so an update waits until the next step reads the weights; the network does it earlier if
the weights are read. From outside it is `forward`, then `update`.

An individual's results depend neither on threads, nor on the population, nor on its place in it. Rows are summed by the same loop for
all populations: the population is the only axis that is dynamic when the function is compiled.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import threading
import types
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from nchl.networks.graph.lifetime import Waiting
from nchl.networks.graph.operations import product
from nchl.networks.graph.step import Parameters, dense_change, forward, update
from nchl.networks.graph.structure import Graph
from nchl.networks.plasticity import Plasticity
from nchl.quiet import quiet_warnings
from nchl.rules.kernels import cache
from nchl.rules.kernels.build import compiler_path

BLOCK = 64
"""Individuals that are stepped or skipped together; a rollout's population is padded to a multiple of it."""

COMPILE_FROM = 2**17
"""Weights in the whole population from which compiling pays: below, a lifetime of eager steps costs less than the compiler."""

Function = Callable[..., Tensor]
_log = logging.getLogger("nchl")
_told: set[str] = set()
_making = threading.RLock()
_functions: dict[tuple[Hashable, ...], Function] = {}
_MOST_FUNCTIONS = 64


def choose_backend(population: int | None, weights_per_individual: int) -> str:
    """`"compiled"` or `"eager"`, by the configuration alone: never by a timing, a cache or the machine.

    Args:
        population: individuals in the whole run, not in a worker's slice of it.
        weights_per_individual: number of plastic weights.
    """
    return "compiled" if population is not None and population * weights_per_individual >= COMPILE_FROM and population >= 16 else "eager"


def missing_compiler(device: torch.device) -> str | None:
    """The reason why no population step can be compiled for this device; None if one can."""
    if device.type != "cpu" or compiler_path() is not None:
        return None
    return "there is no C++ compiler (install g++ or clang++, or name one in CXX)"


def tell_once(line: str) -> str:
    """Log a note the first time in this process; returns it."""
    if line not in _told:
        _told.add(line)
        _log.info(line)
    return line


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Let one thread compile at a time, so that a second one finds the function compiled; silence torch's warnings about its own code."""
    with _making, quiet_warnings():
        yield


def population_function(graph: Graph, plasticity: Plasticity, keys: tuple[str, ...]) -> Function:
    """The compiled step of all networks with this graph and these settings.

    The function takes `(x, applies, keeps, gain, reward, count, *tensors)`. `tensors` are the collection of `graph.step` in the order
    of `keys`, then the rules' parameters `(P, k, n)` of each group that has any, then those `(P, k, out, in)` of each edge. `applies`
    is 1 if the waiting update changes weights, `keeps` if it changes traces and states of rules. The function changes the collection
    in place and returns a new `(P, 1, n_out)`.
    """
    key = (*_signature(graph), plasticity, keys)
    with _making:
        if key not in _functions:
            if len(_functions) >= _MOST_FUNCTIONS:
                _functions.pop(next(iter(_functions)))
            _functions[key] = _compiled(graph, plasticity, keys)
        return _functions[key]


def _signature(graph: Graph) -> tuple[Hashable, ...]:
    """A key that is equal for two graphs of dense edges if their step is the same function."""
    groups = tuple((g.shape, g.parameters, tuple(f"{m}" for m in g.modules)) for g in graph.groups)
    return groups, tuple((e.pre, e.post, e.delay, e.rule, e.shape, e.bias is None) for e in graph.edges)


def _compiled(graph: Graph, plasticity: Plasticity, keys: tuple[str, ...]) -> Function:
    groups = [g for g, group in enumerate(graph.groups) if group.parameters]
    edges = [edge.index for edge in graph.plastic if edge.rule is not None and edge.rule.synapse]
    modules = [group.modules for group in graph.groups]
    output = f"activations_{len(graph.groups) - 1}"

    def step(
        x: Tensor, applies: Tensor, keeps: Tensor, gain: Tensor | None, reward: Tensor | None, count: Tensor, *tensors: Tensor
    ) -> Tensor:
        given = iter(tensors)
        state = {key: next(given) for key in keys}
        parameters = Parameters({g: next(given) for g in groups}, {k: next(given) for k in edges})
        moved = update(graph, plasticity, state, dense_change(graph, parameters, reward), gain)
        new = dict(state)
        for key, value in moved.items():
            # Selected, not multiplied by the gate: activations of the last episode, or none, may give infinities and NaN.
            new[key] = torch.where((applies if key.startswith("weights_") else keeps) > 0, value, state[key])
        new |= forward(graph, modules, {}, plasticity, new, x, count, multiply)
        # `before_G` is here the same tensor as `seen_G`, which is written to below. A selection with a constant outcome makes it another
        # tensor; torch's compiler (2.13) removes a clone and would keep the overwritten values.
        new |= {key: torch.where(keeps >= 0, new[key], state[key]) for key in keys if key.startswith("before_")}
        for key in keys:
            if new[key] is not state[key]:
                state[key].copy_(new[key])
        return new[output]

    # torch counts recompilations per code object, so each function gets its own.
    own = types.FunctionType(step.__code__.replace(), step.__globals__, step.__name__, step.__defaults__, step.__closure__)
    # torch's default is a folder in /tmp with a predictable name, which another user could create first.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.folder() / "torch"))
    # dynamic=False: only the marked axis is dynamic, whichever networks were compiled before.
    # The options: the same code for any number of threads, split along the population alone; and the compiler, as torch by itself looks
    # for CXX or g++ only.
    options: dict[str, Any] = {"cpp.dynamic_threads": True, "cpp.threads": 8, "cpp.cxx": (None, compiler_path() or "g++")}
    compiled: Function = torch.compile(own, fullgraph=True, dynamic=False, options=options)
    return compiled


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """W x as a multiplication and a sum, which the compiler fuses with the pass over the weights."""
    return product(weight[:, None], x)


class FusedStep(abc.ABC):
    """The step of one network on its tensors, in one pass over the weights: `CompiledStep` here, `KernelStep` in `kernel`.

    Attributes:
        observed: the tensor `(population, 1, *observation)` to which a step writes its observation.
    """

    observed: Tensor

    def reads(self, x: Tensor) -> bool:
        """Whether a step takes `x` without conversion: shape, type and device of the inputs, and no gradient."""
        own = self.observed
        return x.shape == (len(own), *own.shape[2:]) and x.dtype == own.dtype and x.device == own.device and not x.requires_grad

    @abc.abstractmethod
    def __call__(self, x: Tensor, waiting: Waiting, count: int, active: Tensor | None) -> Tensor:
        """One step.

        Args:
            x: `(population, *observation)`.
            waiting: the update of the last step.
            count: number of activations in a mean, see `step.forward`.
            active: individuals whose output is needed, or None for all.

        Returns:
            `(population, n_out)`, new.
        """

    @abc.abstractmethod
    def update(self, waiting: Waiting, rows: Tensor | None = None) -> bool:
        """Do the waiting update alone, of some individuals or all; False, without an update, if the network's own update serves."""

    def settle(self) -> None:  # noqa: B027  nothing is deferred by default
        """Bring traces up to date, if their changes are deferred."""

    def begin(self) -> None:  # noqa: B027
        """Drop deferred changes at the begin of a new lifetime."""


class CompiledStep(FusedStep):
    """The step of any rule, by a function that torch compiles.

    Args:
        function: from `population_function`.
        state: the collection by name, in the order of the function's keys.
        parameters: the rules' parameters, in the function's order.
        output: shape of one individual's output.
        gained: whether updates have a gain.
        rewarded: whether a rule uses the reward.
    """

    # The cases for which each function was compiled: type, device, threads, and a population of one, for which torch compiles again.
    _seen: ClassVar[weakref.WeakKeyDictionary[Function, set[tuple[object, ...]]]] = weakref.WeakKeyDictionary()

    def __init__(
        self,
        function: Function,
        state: Mapping[str, Tensor],
        parameters: Sequence[Tensor],
        output: tuple[int, ...],
        *,
        gained: bool = False,
        rewarded: bool = False,
    ) -> None:
        self.function, self._output = function, output
        self.observed = state["activations_0"]
        self._tensors = (*state.values(), *parameters)
        like = self.observed
        self._gates = (like.new_zeros(()), like.new_ones(()))
        self._counts: dict[int, Tensor] = {}
        self._views: dict[tuple[int, int], tuple[Tensor, ...]] = {}
        self._population = len(like)
        nothing = like.new_zeros(len(like))
        # Without a waiting update there is no reward yet; zeros, so that the function is compiled once for that step and all others.
        self._idle = Waiting(gain=nothing if gained else None, reward=nothing if rewarded else None)
        # The population is the dynamic axis; the marks are read when the function is compiled.
        for tensor in self._tensors:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)

    def _run(self, x: Tensor, waiting: Waiting, count: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        gates = self._gates[waiting.applies], self._gates[waiting.keeps]
        kind = (x.dtype, x.device, torch.get_num_threads(), waiting.gain is None, waiting.reward is None, len(x) == 1)
        given = (x, *gates, waiting.gain, waiting.reward, count)
        if kind in self._seen.get(self.function, ()):
            return self.function(*given, *tensors)
        with compiling():
            seen = self._seen.setdefault(self.function, set())
            block = (*kind[:-1], False)
            if block not in seen:
                self._show_a_block(waiting, count)
                seen.add(block)
            y = self.function(*given, *tensors)
            seen.add(kind)
            return y

    def _show_a_block(self, waiting: Waiting, count: Tensor) -> None:
        """Compile for `BLOCK` individuals first: the sizes seen by the compiler decide its loops, and slices of workers differ."""
        shown = (self.observed, *self._tensors, waiting.gain, waiting.reward)
        x, *example, gain, reward = [None if t is None else t.new_zeros(BLOCK, *t.shape[1:]) for t in shown]
        for tensor in (x, *example, gain, reward):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        self.function(x, self._gates[0], self._gates[0], gain, reward, count, *example)

    @torch.no_grad()
    def __call__(self, x: Tensor, waiting: Waiting, count: int, active: Tensor | None) -> Tensor:
        """See `FusedStep`; blocks without an active individual are skipped."""
        if count not in self._counts:
            self._counts[count] = self.observed.new_tensor(float(max(count, 1)))
        counted = self._counts[count]
        waiting = waiting if waiting.any else self._idle
        x = x.unsqueeze(1)
        runs = self._runs(active)
        for tensor in (x, waiting.gain, waiting.reward):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        if runs == [(0, self._population)]:
            return self._run(x, waiting, counted, self._tensors).squeeze(1)
        y: Tensor | None = None
        for start, stop in runs:
            part = self._run(x[start:stop], self._part(waiting, start, stop), counted, self._slice(start, stop)).squeeze(1)
            y = x.new_zeros(self._population, *part.shape[1:]) if y is None else y
            y[start:stop] = part
        return x.new_zeros(self._population, *self._output) if y is None else y

    def update(self, waiting: Waiting, rows: Tensor | None = None) -> bool:
        """False: the network's own update serves, see `FusedStep.update`."""
        return False

    def _runs(self, active: Tensor | None) -> list[tuple[int, int]]:
        """Ranges of adjacent blocks with active individuals; the remainder of the population belongs to the last block."""
        last = (self._population // BLOCK - 1) * BLOCK
        if active is None or last <= 0:
            return [(0, self._population)]
        runs: list[tuple[int, int]] = []
        needed = [*active[:last].reshape(-1, BLOCK).any(dim=1).tolist(), bool(active[last:].any())]
        for start in (BLOCK * block for block, some in enumerate(needed) if some):
            stop = self._population if start == last else start + BLOCK
            if runs and runs[-1][1] == start:
                runs[-1] = (runs[-1][0], stop)
            else:
                runs.append((start, stop))
        return runs

    @staticmethod
    def _part(waiting: Waiting, start: int, stop: int) -> Waiting:
        gain, reward = (None if t is None else t[start:stop] for t in (waiting.gain, waiting.reward))
        return replace(waiting, gain=gain, reward=reward)

    def _slice(self, start: int, stop: int) -> tuple[Tensor, ...]:
        if (start, stop) not in self._views:
            self._views[start, stop] = tuple(tensor[start:stop] for tensor in self._tensors)
            for tensor in self._views[start, stop]:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return self._views[start, stop]
