"""One episode for each row of a network: observe, act and rewire, collect the reward, until all are finished.

One loop for every device, on tensors of fixed shape with a mask of the rows that are active. The host looks at the mask every
`simulator.look_every` steps, and reads nothing else in between. An episode whose observation, action, reward or weight is not finite
ends there, and changes no other.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nchl.perturbations.surgery import Surgery
from nchl.rollout.statistics import Accumulator, ObservationStatistics
from nchl.simulators.base import Step
from nchl.tasks import Task


class Interrupted(Exception):
    """Episodes were ended from another thread: `stop` was set."""


@dataclass
class Recorder:
    """Keeps the actions of each step, so that the bare simulator can replay them."""

    steps: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def keep(self, actions: Shaped[Tensor, "n ..."], active: Bool[Tensor, " n"]) -> None:
        """One step: the actions, and which of them were taken."""
        self.steps.append((actions, active))


@dataclass
class Played:
    """Results of n episodes; lengths are steps of the simulator."""

    returns: Float[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    non_finite: Bool[np.ndarray, " n"]


def play(
    network: Any,
    task: Task,
    first: Shaped[Tensor, "n ..."],
    playing: Bool[np.ndarray, " n"],
    *,
    statistics: ObservationStatistics | None = None,
    sums: Accumulator | None = None,
    recorder: Recorder | None = None,
    freeze_after: int | None = None,
    surgery: Surgery | None = None,
    rewards_of: list[Tensor] | None = None,
    stop: threading.Event | None = None,
) -> Played:
    """Play one episode for each of the first n rows of a network that was reset already.

    Args:
        network: a population of at least n individuals, with its rules set and its weights drawn.
        task: a batch of n episodes of it was just begun with `task.reset`.
        first: its first observations.
        playing: which rows take part; the others get no step.
        statistics: normalisation of the observations, fixed during the episodes.
        sums: where to add what was observed (before normalisation), row by row.
        recorder: keeps the actions.
        freeze_after: number of the network's steps after which the weights stay as they are; None: they never do.
        surgery: lesions and freezing of single rows, between two steps.
        rewards_of: gets the rewards of each step, (n,); 0 of rows that have finished.
        stop: looked at before each step.

    Raises:
        Interrupted: `stop` was set.
    """
    n, look_every = len(first), task.simulator.look_every
    dtype, device = kind(network)
    looks = look_every == 1 and first.device.type == "cpu"
    batch = (_HostBatch if looks else _Batch)(network, playing, first.device)
    inputs = torch.zeros((network.population, *task.observation_shape), dtype=dtype, device=device)
    seen = inputs[:n]
    everywhere = network.population == n and device == first.device
    # Reward of each individual's last action, for networks that learn from it.
    earned = torch.zeros(network.population, dtype=dtype, device=device) if network.needs_reward else None
    negative = torch.zeros(n, dtype=torch.int64, device=first.device)
    raw, was_plastic = first, network.plastic
    try:
        for number in range(1, task.decisions + 1):
            if (number - 1) % look_every == 0 and not batch.look():
                break
            if stop is not None and stop.is_set():
                raise Interrupted
            observations = task.map_observations(raw, batch.active)
            if sums is not None:
                sums.add(observations, batch.active, fresh=number == 1)
            if raw.is_floating_point():
                batch.observe(observations)
            if statistics is not None:
                observations = statistics.normalise(observations)
            batch.show(observations, seen)
            reward = earned if number > 1 else None
            if surgery is not None:
                reward = surgery.before((number - 1) * task.action_repeat, reward)
            # Behind the surgery: an update that waited for its reward comes before the lesion, and only then are the weights frozen.
            if freeze_after is not None and number > freeze_after:
                network.plastic = False
            outputs = network.step(inputs, active=batch.mask, reward=reward)
            if outputs.requires_grad or not everywhere:
                outputs = outputs.detach()[:n].to(first.device)
            actions = task.map_actions(batch.finite(outputs), network.output_bounded)
            if recorder is not None:
                recorder.keep(actions, batch.active)
            step = task.step(actions, batch.active)
            raw = step.observations
            if earned is not None:
                earned[:n] = step.rewards
            if rewards_of is not None:
                rewards_of.append(step.rewards.clone())
            batch.take(step)
            if task.early_stop is not None:
                negative = task.early_stop.count(negative, step.rewards)
                batch.end(task.early_stop.stops(negative, number))
    finally:
        network.plastic = was_plastic
    return batch.played()


class _Batch:
    """Which rows are active, and what they have gained, by masked arithmetic: nothing but `look` and `played` waits for a device.

    Attributes:
        active: (n,) on the simulator's device.
        mask: (population,) on the network's device: the individuals whose output is needed. None, which is all of them, where leaving
            some out would make the host wait.
    """

    mask: Tensor | None = None

    def __init__(self, network: Any, playing: Bool[np.ndarray, " n"], device: torch.device) -> None:
        self._network, self._playing = network, playing
        self.active = torch.from_numpy(playing.copy()).to(device)
        self._held = self.active  # as the host saw it last
        self._going = int(playing.sum())
        self._returns = torch.zeros(len(playing), dtype=torch.float64, device=device)
        self._lengths = torch.zeros(len(playing), dtype=torch.int64, device=device)
        self._non_finite = torch.zeros(len(playing), dtype=torch.bool, device=device)

    def look(self) -> bool:
        """Let the host see which rows have finished since it looked last; whether any is still active."""
        if self.active is not self._held:
            self._going = int(self.active.count_nonzero())
            self._retire(self._held & ~self.active)
            self._held = self.active
        return self._going > 0

    def observe(self, observations: Float[Tensor, "n ..."]) -> None:
        """End the active rows with an observation that is not finite; a bounded activation or a clip would make a finite number of it."""
        self.end((observations * 0).flatten(1).sum(1) != 0, failed=True)

    def show(self, observations: Shaped[Tensor, "n ..."], inputs: Float[Tensor, "n ..."]) -> None:
        """Give observations to the network; a row that has finished keeps its last one, because its weights are yet to be looked at."""
        active = self.active.reshape(-1, *[1] * (inputs.ndim - 1)).to(inputs.device)
        inputs.copy_(torch.where(active, observations.to(inputs.device), inputs))

    def finite(self, outputs: Float[Tensor, "n size"]) -> Float[Tensor, "n size"]:
        """The outputs, zeros where they are not finite; active rows with such an output finish without acting."""
        sound = (outputs * 0).sum(1) == 0  # infinity times 0 is no number
        self.end(~sound, failed=True)
        return torch.where(sound[:, None], outputs, 0)

    def take(self, step: Step) -> None:
        """Add the results of a step; end the rows that it has ended, and those whose reward is not finite."""
        self._returns += step.rewards
        self._lengths += self.active * step.taken
        self.end(~torch.isfinite(step.rewards), failed=True)
        self.end(step.terminated | step.truncated)

    def end(self, rows: Bool[Tensor, " n"], *, failed: bool = False) -> None:
        """End some rows; `failed`: because something was not finite."""
        if failed:
            self._non_finite |= self.active & rows
        self.active = self.active & ~rows

    def played(self) -> Played:
        """Returns and lengths, once no row is to take another step."""
        if self._going:  # the limit of steps ends rows, too
            self._retire(self._held)
        returns, lengths, non_finite = (t.cpu().numpy() for t in (self._returns, self._lengths, self._non_finite))
        returns[non_finite | ~self._playing] = np.nan
        return Played(returns, lengths, non_finite)

    def _retire(self, finished: Bool[Tensor, " n"]) -> None:
        """Note the rows that have finished whose weights are not finite.

        A weight that is not finite stays so: one look at a row, before the network forgets it, finds them all. A row that ended between
        two looks has gone on rewiring until this one; weights that overflowed only then are noted too.
        """
        rows = finished.nonzero().squeeze(1)
        if len(rows):
            self._non_finite[rows] |= ~self._network.finite(rows).to(rows.device)


class _HostBatch(_Batch):
    """A batch on the CPU that is looked at before each step, so that nothing is done for rows that have finished.

    The same numbers by shorter ways: in most steps no row finishes, and then `active` stays the same object. Sums and looks are NumPy's,
    on the same memory: its calls cost a third of torch's, and do not pass the interpreter's lock to the other lane.
    """

    mask: Tensor

    def __init__(self, network: Any, playing: Bool[np.ndarray, " n"], device: torch.device) -> None:
        super().__init__(network, playing, device)
        self._sums = self._returns.numpy(), self._lengths.numpy()
        self._set_mask()

    def look(self) -> bool:
        """See `_Batch`."""
        if self.active is not self._held:
            super().look()
            self._set_mask()
        return self._going > 0

    def observe(self, observations: Float[Tensor, "n ..."]) -> None:
        """See `_Batch`."""
        with np.errstate(over="ignore", invalid="ignore"):
            if not math.isfinite(observations.numpy().sum()):
                super().observe(observations)

    def show(self, observations: Shaped[Tensor, "n ..."], inputs: Float[Tensor, "n ..."]) -> None:
        """See `_Batch`; the weights of rows that have finished were looked at."""
        inputs.copy_(observations)

    def finite(self, outputs: Float[Tensor, "n size"]) -> Float[Tensor, "n size"]:
        """See `_Batch`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return outputs if math.isfinite(outputs.numpy().sum()) else super().finite(outputs)

    def take(self, step: Step) -> None:
        """See `_Batch`."""
        if not step.quiet:
            super().take(step)
            return
        returns, lengths = self._sums
        returns += step.rewards.numpy()
        lengths += self.active.numpy() if isinstance(step.taken, int) and step.taken == 1 else (self.active * step.taken).numpy()

    def end(self, rows: Bool[Tensor, " n"], *, failed: bool = False) -> None:
        """See `_Batch`."""
        if rows.numpy().any():
            super().end(rows, failed=failed)

    def _set_mask(self) -> None:
        mask = torch.zeros(self._network.population, dtype=torch.bool)
        mask[: len(self.active)] = self.active
        self.mask = mask.to(kind(self._network)[1])


def kind(network: Any) -> tuple[torch.dtype, torch.device]:
    """Precision and device of a network."""
    return getattr(network, "dtype", torch.float32), torch.device(getattr(network, "device", "cpu"))
