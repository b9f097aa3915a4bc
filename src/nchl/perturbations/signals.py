"""Motors and sensors of a batch of episodes, on tensors of any device.

Order of what happens to an observation: gains and stuck values, noise, delay, all in floating point; to an action: noise, gains and stuck
values, then the bounds of the action space. Noise at a step follows from the episode's seed, the step and the perturbation's text alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, TaskError
from nchl.perturbations.draws import generator, value_of
from nchl.perturbations.objects import Channels, Motor, Noise, Perturbation, Sensor, SensorDelay
from nchl.perturbations.plan import Plan

_BLOCK = 32  # steps of noise that are drawn at once


def check(perturbations: Sequence[Perturbation], task: str, observation_shape: Sequence[int], action_space: Any) -> None:
    """Refuse what this task's motors and sensors cannot do.

    Args:
        perturbations: those of kind "motor" and "sensor"; others are not looked at.
        task: its id, for messages.
        observation_shape: of what a network sees.
        action_space: of one environment.

    Raises:
        InvalidArgument: an index or value that is not there; says which are.
        TaskError: actions that are no numbers.
    """
    observed = math.prod(observation_shape)
    for each in perturbations:
        if each.kind == "motor":
            if type(action_space).__name__ != "Box" or np.dtype(action_space.dtype).kind != "f":
                raise TaskError(
                    f"{task} takes choices ({action_space}) and has no motors, so {str(each)!r} cannot be done; it takes sensor:, "
                    "sensor-noise, sensor-delay, lesion:weights, lesion:neurons and shuffle:weights"
                )
            count = math.prod(action_space.shape)
            if isinstance(each, Motor):
                _check_indices(each, count, f"{task}'s action has {count} components")
                _check_stuck(each, np.ravel(action_space.low), np.ravel(action_space.high))
        elif isinstance(each, Sensor):
            _check_indices(each, observed, f"a network observes {observed} numbers of {task}")


def _check_indices(each: Channels, count: int, has: str) -> None:
    beyond = [index for index in each.which if index >= count]
    if beyond:
        raise InvalidArgument(f"{str(each)!r}: there is no {each.kind} {beyond[0]}; {has}: {each.kind}:0 to {each.kind}:{count - 1}")


def _check_stuck(each: Motor, low: np.ndarray, high: np.ndarray) -> None:
    for index in each.which or range(len(low)):
        if each.stuck is not None and not low[index] <= each.stuck <= high[index]:
            raise InvalidArgument(
                f"{str(each)!r}: motor {index} takes {low[index]:g} to {high[index]:g}, and can be stuck at no other value"
            )


class Signals:
    """Perturbations of motors and sensors in one batch of episodes.

    Args:
        plan: perturbations of each episode; those of kind "motor" and "sensor" are used.
        seeds: of the episodes, one for each row.
        action_space: of one environment.
        device: where observations and actions are.
    """

    def __init__(self, plan: Plan, seeds: Sequence[int], action_space: Any, device: torch.device | str) -> None:
        sensors, motors = ([_made(each, plan, seeds, device) for each in plan.all if each.kind == kind] for kind in ("sensor", "motor"))
        # The order of this module's docstring.
        self._sensors = sorted(sensors, key=lambda filter: filter.place)
        self._motors = sorted(motors, key=lambda filter: filter.place != _NOISE)
        self._bounds: tuple[Tensor, Tensor] | None = None
        if self._motors:
            low, high = (torch.as_tensor(np.asarray(bound), device=device) for bound in (action_space.low, action_space.high))
            self._bounds = low, high

    def observe(self, observations: Shaped[Tensor, "size ..."], step: int) -> Shaped[Tensor, "size ..."]:
        """Perturbed observations of a step (of the environment, from 0); the given tensor is not modified.

        Whole numbers become float64, which holds them exactly (up to 2**53): half of 3 is no whole number.
        """
        if self._sensors and not observations.is_floating_point():
            observations = observations.to(torch.float64)
        for each in self._sensors:
            observations = each(observations, step)
        return observations

    def act(self, actions: Shaped[Tensor, "size ..."], step: int) -> Shaped[Tensor, "size ..."]:
        """Perturbed actions of a step, within the bounds of the space."""
        if not self._motors or step < min(each.first for each in self._motors):
            return actions
        assert self._bounds is not None
        for each in self._motors:
            actions = each(actions, step)
        low, high = (bound.to(actions.dtype) for bound in self._bounds)
        return actions.clamp(low, high)


_CHANNELS, _NOISE, _DELAY = range(3)


class _Filter:
    """One perturbation of a batch: rows are changed from their episode's moment on."""

    place: int

    def __init__(self, each: Perturbation, plan: Plan, seeds: Sequence[int], device: torch.device | str) -> None:
        moments = plan.moments(each, seeds)
        self.first, self._last = min(moments), max(moments)
        self._moments = torch.tensor(moments, device=device)

    def __call__(self, values: Tensor, step: int) -> Tensor:
        if step < self.first:
            return values
        changed = self._changed(values, step)
        if step >= self._last:
            return changed
        due = (self._moments <= step).reshape(-1, *(1,) * (values.ndim - 1))
        return torch.where(due, changed, values)

    def _changed(self, values: Tensor, step: int) -> Tensor:
        raise NotImplementedError


class _Gains(_Filter):
    place = _CHANNELS

    def __init__(self, each: Channels, plan: Plan, seeds: Sequence[int], device: torch.device | str) -> None:
        super().__init__(each, plan, seeds, device)
        self._which = torch.tensor(each.which, dtype=torch.long, device=device) if each.which else None
        self._stuck = each.stuck
        self._gain = torch.tensor([value_of(each, seed) for seed in seeds], dtype=torch.float64, device=device)

    def _changed(self, values: Tensor, step: int) -> Tensor:
        flat = values.reshape(len(values), -1).clone()
        which = slice(None) if self._which is None else self._which
        if self._stuck is not None:
            flat[:, which] = self._stuck
        else:
            flat[:, which] = flat[:, which] * self._gain.to(values.dtype)[:, None]
        return flat.reshape(values.shape)


class _Noisy(_Filter):
    place = _NOISE

    def __init__(self, each: Noise, plan: Plan, seeds: Sequence[int], device: torch.device | str) -> None:
        super().__init__(each, plan, seeds, device)
        self._text, self._seeds = str(each), list(dict.fromkeys(seeds))
        places = {seed: place for place, seed in enumerate(self._seeds)}
        self._rows = torch.tensor([places[seed] for seed in seeds], dtype=torch.long, device=device)
        self._scale = torch.tensor([value_of(each, seed) for seed in seeds], dtype=torch.float64, device=device)
        self._block: tuple[int, Tensor] | None = None

    def _changed(self, values: Tensor, step: int) -> Tensor:
        noise = self._drawn(step // _BLOCK, values[0].numel(), values.device)[:, step % _BLOCK][self._rows]
        scaled = (noise * self._scale[:, None]).to(values.dtype).reshape(values.shape)
        return values + scaled

    def _drawn(self, block: int, size: int, device: torch.device) -> Float[Tensor, "seeds block size"]:
        if self._block is None or self._block[0] != block:
            drawn = [generator(seed, f"{self._text}#{block}").standard_normal((_BLOCK, size)) for seed in self._seeds]
            self._block = block, torch.from_numpy(np.stack(drawn)).to(device)
        return self._block[1]


class _Delayed(_Filter):
    place = _DELAY

    def __init__(self, each: SensorDelay, plan: Plan, seeds: Sequence[int], device: torch.device | str) -> None:
        super().__init__(each, plan, seeds, device)
        self._steps, self._seen = each.steps, list[Tensor]()

    def __call__(self, values: Tensor, step: int) -> Tensor:
        # Observations from before the moment count too.
        self._seen.append(values.clone())
        if len(self._seen) > self._steps + 1:
            self._seen.pop(0)
        return super().__call__(values, step)

    def _changed(self, values: Tensor, step: int) -> Tensor:
        return self._seen[0]


def _made(each: Perturbation, plan: Plan, seeds: Sequence[int], device: torch.device | str) -> _Filter:
    if isinstance(each, Channels):
        return _Gains(each, plan, seeds, device)
    if isinstance(each, SensorDelay):
        return _Delayed(each, plan, seeds, device)
    assert isinstance(each, Noise), each
    return _Noisy(each, plan, seeds, device)
