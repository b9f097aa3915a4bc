"""The protocol on a device of its own: a batch in torch, played without the host reading anything but a look every 16 steps."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nchl.networks.mlp import NcHL, StaticMLP
from nchl.rollout import ObservationStatistics, Rollout, evaluate, rollout
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.flatten import packing
from nchl.tasks import EarlyStop, Task
from nchl.tasks.spaces import action_map, observation_map

LIMIT = 60


class PointMass(Simulator):
    """A point on a line is pushed; it ends beyond 2 or after `LIMIT` steps, and pays its distance from 1. All in torch.

    The rows that are not active move on with garbage, as those of a simulator that steps its whole batch do.
    """

    name = "pointmass"

    def __init__(self, look_every: int = 16, broken: int | None = None) -> None:
        self.observation_space, self.action_space = spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32)
        self.packing, self.step_limit, self.look_every = packing(self.observation_space, None, "PointMass"), LIMIT, look_every
        self.broken = broken  # a row that gives what is no number, from its fifth step on
        self.steps = 0

    def reset(self, seeds: Seeds) -> Tensor:
        rows = [torch.rand(2, generator=torch.Generator().manual_seed(seed)) - 0.5 for seed in seeds.each]
        self.state, self.clock = torch.stack(rows), torch.zeros(len(seeds))
        return self._observed()

    def step(self, actions: Tensor, active: Tensor) -> Step:
        self.steps += 1
        x, v = self.state.unbind(1)
        v = 0.9 * v + 0.1 * actions[:, 0] - 0.05 * actions[:, 1]
        garbage = torch.full_like(x, torch.nan)
        self.state = torch.where(active[:, None], torch.stack([x + v, v], 1), garbage[:, None])
        self.clock = self.clock + active
        rewards = torch.where(active, -(self.state[:, 0] - 1).abs(), 0)
        if self.broken is not None:
            wrong = torch.arange(len(x)) == self.broken
            rewards = torch.where(active & wrong & (self.clock >= 5), torch.nan, rewards)
        terminated = active & (self.state[:, 0].abs() > 2)
        return Step(self._observed(), rewards, terminated, active & (self.clock >= LIMIT))

    def _observed(self) -> Tensor:
        return torch.cat([self.state, self.clock[:, None] / LIMIT], 1)

    def close(self) -> None:
        """Nothing to give back."""


def make(look_every: int = 16, **changes: Any) -> Task:
    simulator = PointMass(look_every, changes.pop("broken", None))
    observed = observation_map(simulator.packing, simulator.observation_space, None, "PointMass")
    task = Task("PointMass", simulator, observed, action_map(simulator.action_space, "PointMass"), step_limit=LIMIT)
    return dataclasses.replace(task, **changes)


def genomes(network: Any, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, network.nparams)).astype(np.float32)


NETWORKS: dict[str, Any] = {
    "eager": lambda: NcHL([3, 5, 2], population=12, backend="eager"),
    "compiled": lambda: NcHL([3, 5, 2], population=12, backend="compiled"),
    "reward": lambda: NcHL([3, 5, 2], population=12, backend="eager", modulate="advantage:0.1", trace=0.8),
    "static": lambda: StaticMLP([3, 5, 2], population=12),
}
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "early stop": {"early_stop": EarlyStop(in_a_row=7, after=3)},
    "repeat": {"action_repeat": 4, "step_limit": 37},
    "broken": {"broken": 4},
}


def equal(one: Rollout, other: Rollout) -> None:
    np.testing.assert_array_equal(one.returns, other.returns)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert one.non_finite == other.non_finite


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("change", CHANGES)
def test_seldom_looks_change_no_score(name: str, change: str) -> None:
    """Also where rows that have finished go on with what is no number, up to the next look."""
    network, scores = NETWORKS[name](), []
    for look_every in (1, 16):
        statistics = ObservationStatistics((3,))
        task = make(look_every, **CHANGES[change])
        parts = [rollout(network, task, genomes(network, 11), run_seed=3, generation=g, episodes=2, statistics=statistics) for g in (0, 1)]
        sums = parts[0].observation_sums
        assert sums is not None
        statistics.update(sums)
        parts.append(rollout(network, task, genomes(network, 11), run_seed=3, generation=2, statistics=statistics))
        parts.append(evaluate(network, task, genomes(network, 1)[0], run_seed=5, episodes=20, freeze_after=9))
        scores.append((parts, sums))
    for often, seldom in zip(scores[0][0], scores[1][0], strict=True):
        equal(often, seldom)
    for field in dataclasses.fields(scores[0][1]):
        np.testing.assert_array_equal(*(getattr(sums, field.name) for _, sums in scores))
    plain = scores[0][0][0]
    assert plain.non_finite == (change == "broken")
    assert len(np.unique(plain.lengths)) > 2 or change != "plain"


class Reads(TorchDispatchMode):
    """Counts what makes a host wait for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1] if each is not None
        )
        if masks or name in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "item", "unique"):
            self.seen[name] += 1
        if name in ("_to_copy", "to") and "device" in (kwargs or {}):
            source = args[0].device
            self.seen["copy"] += torch.device(kwargs["device"]) != source
        if name == "copy_" and args[0].device != args[1].device:
            self.seen["copy"] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["eager", "reward", "static"])
def test_the_host_reads_nothing_but_a_look_every_16_steps(name: str, change: str) -> None:
    network = NETWORKS[name]()
    found = {}
    for steps in (16, 48):
        changes = {**CHANGES[change], "step_limit": steps * CHANGES[change].get("action_repeat", 1)}
        task = make(16, **changes)
        reads, statistics = Reads(), ObservationStatistics((3,))
        statistics.count = 1
        statistics._prepare()
        with reads:
            rollout(network, task, genomes(network, 12) * 0.1, run_seed=3, statistics=statistics)
        found[steps] = reads.seen
    more = found[48] - found[16]
    # Two looks more, each of which reads the mask once and, where rows have finished, their indices and weights.
    assert more["copy"] == 0
    assert more["_local_scalar_dense"] <= 2
    assert more["nonzero"] <= 2
    assert sum(more.values()) <= 2 * 4, more


def test_a_host_that_reads_at_each_step_is_found_out() -> None:
    """The counter itself: a loop that looks at each step is told from one that does not."""
    network = NETWORKS["eager"]()
    counts = []
    for look_every in (1, 16):
        task = make(look_every)
        with Reads() as reads:
            rollout(network, task, genomes(network, 12), run_seed=3)
        counts.append(reads.seen["_local_scalar_dense"])
    assert counts[0] > 5 * counts[1] > 0


def test_steps_after_the_last_end_are_at_most_those_to_the_next_look() -> None:
    network = NETWORKS["static"]()
    for look_every in (1, 16):
        task = make(look_every, early_stop=EarlyStop(in_a_row=4))
        scores = rollout(network, task, genomes(network, 12) * 0, run_seed=3)
        assert scores.lengths.max() == 5
        assert task.simulator.steps == (5 if look_every == 1 else 16)  # type: ignore[attr-defined]
