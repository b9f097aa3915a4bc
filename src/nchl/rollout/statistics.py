"""Running normalisation of observations: the statistics of generation g are used in generation g + 1.

Sums are taken per individual in double precision, of differences from the first observation of that individual: sums of plain
squares would lose a deviation of 0.01 around a mean of 1e7. They are put together in the order of the individuals, so that
the result does not depend on the number of workers. Inputs become `clip((observation - mean) / sqrt(variance + 1e-8), -5, 5)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nchl.errors import CheckpointError, ShapeError

CLIP = 5.0
_EPSILON = 1e-8


@dataclass
class ObservationSums:
    """Sums of the observations of each individual over its steps.

    Attributes:
        count: number of observations (P,).
        first: the first of them (P, *observation); zeros as long as there is none.
        total: the sum of their differences from the first (P, *observation).
        squares: the sum of the squares of these differences (P, *observation).
    """

    count: Int[np.ndarray, " p"]
    first: Float[np.ndarray, "p ..."]
    total: Float[np.ndarray, "p ..."]
    squares: Float[np.ndarray, "p ..."]

    @classmethod
    def zeros(cls, population: int, shape: tuple[int, ...]) -> ObservationSums:
        """Nothing seen yet."""
        return cls(np.zeros(population, dtype=np.int64), *(np.zeros((population, *shape)) for _ in range(3)))

    @classmethod
    def concatenate(cls, parts: Sequence[ObservationSums]) -> ObservationSums:
        """Put slices of a population together, in the order of the individuals."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))


class Accumulator:
    """Sums what each environment of a batch observes, on its device.

    Args:
        size: environments.
        shape: of one observation.
        device: of the observations.
    """

    def __init__(self, size: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        self._count = torch.zeros(size, dtype=torch.int64, device=device)
        self._first, self._total, self._squares = (torch.zeros(size, *shape, dtype=torch.float64, device=device) for _ in range(3))

    def add(self, observations: Shaped[Tensor, "size ..."], active: Bool[Tensor, " size"], *, fresh: bool) -> None:
        """One more observation of each active environment; `fresh`: for some it may be the first."""
        values = observations.to(torch.float64)
        axes = (-1, *[1] * (values.ndim - 1))
        if fresh:
            self._first = torch.where((active & (self._count == 0)).reshape(axes), values, self._first)
        # `update` leaves out what is not finite.
        differences = torch.where(active.reshape(axes), values - self._first, 0)
        self._count += active
        self._total += differences
        self._squares += differences * differences

    def sums(self) -> ObservationSums:
        """The sums."""
        return ObservationSums(*(t.cpu().numpy() for t in (self._count, self._first, self._total, self._squares)))


class ObservationStatistics:
    """Mean and variance of all observations so far.

    Args:
        shape: of one observation.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean = np.zeros(shape)
        self.deviation = np.zeros(shape)  # sum of squared differences from the mean
        self._prepare()

    @property
    def variance(self) -> np.ndarray:
        """Variance of each coordinate; ones as long as nothing was seen."""
        return self.deviation / self.count if self.count else np.ones_like(self.mean)

    def _prepare(self) -> None:
        self._scale = 1 / np.sqrt(self.variance + _EPSILON)
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}  # mean and scale by device

    def update(self, sums: ObservationSums) -> None:
        """Take in what a generation saw; individuals that saw something that is not finite are left out.

        Raises:
            ShapeError: sums of observations of another shape.
        """
        if sums.total.shape[1:] != self.mean.shape:
            raise ShapeError(f"observation sums: expected observations of shape {self.mean.shape}, got {sums.total.shape[1:]}")
        axes = tuple(range(1, sums.squares.ndim))
        with np.errstate(over="ignore"):  # a number whose square is not finite would spoil the variance for good
            sound = np.isfinite(np.square(sums.first)).all(axis=axes) & (sums.count > 0)
        sound &= np.isfinite(sums.squares).all(axis=axes) & np.isfinite(sums.total).all(axis=axes)
        each = sums.count[sound]
        count = int(each.sum())
        if not count:
            return
        counts = each.reshape(-1, *[1] * self.mean.ndim)
        first, offsets = sums.first[sound], sums.total[sound] / counts  # the mean of an individual is first + offset
        deviations = np.maximum(sums.squares[sound] - counts * np.square(offsets), 0)
        # Differences from one of the means: so large numbers with small differences lose none of their digits.
        base = first[0] + offsets[0]
        means = (first - base) + offsets
        shift = (counts * means).sum(axis=0) / count
        mean = base + shift
        deviation = deviations.sum(axis=0) + (counts * np.square(means - shift)).sum(axis=0)
        # Chan, Golub, LeVeque: two sets of numbers become one.
        whole, difference = self.count + count, mean - self.mean
        self.deviation = self.deviation + deviation + np.square(difference) * (self.count * count / whole)
        self.mean = self.mean + difference * (count / whole)
        self.count = whole
        self._prepare()

    def normalise(self, observations: Shaped[Tensor, "k ..."]) -> Shaped[Tensor, "k ..."]:
        """k observations -> k network inputs in [-5, 5], in double precision; unchanged as long as nothing was seen."""
        if not self.count:
            return observations
        device = observations.device
        if device not in self._on:
            self._on[device] = torch.tensor(self.mean, device=device), torch.tensor(self._scale, device=device)
        mean, scale = self._on[device]
        return ((observations.to(torch.float64) - mean) * scale).clamp_(-CLIP, CLIP)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything, as arrays, exactly."""
        return {"count": np.array(self.count, dtype=np.int64), "mean": self.mean.copy(), "deviation": self.deviation.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `state_dict()`.

        Raises:
            CheckpointError: arrays that are missing or of another shape.
        """
        missing = {"count", "mean", "deviation"} - set(state)
        if missing:
            raise CheckpointError(f"observation statistics: {sorted(missing)} are missing")
        for name in ("mean", "deviation"):
            if state[name].shape != self.mean.shape:
                raise CheckpointError(f"observation statistics: expected {name} of shape {self.mean.shape}, got {state[name].shape}")
        if state["count"].shape != () or state["count"].dtype.kind not in "iu" or state["count"] < 0:
            raise CheckpointError(f"observation statistics: expected a count from 0, got {state['count']!r}")
        self.count = int(state["count"])
        self.mean, self.deviation = state["mean"].astype(np.float64), state["deviation"].astype(np.float64)
        self._prepare()
