"""Optimisers: from an estimated gradient to a step that increases the score.

    sgd       step = lr g
    adam      m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  step = lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
    clipup    v <- m v + lr g / |g|, shortened to |v| <= 2 lr;    step = v

Adam: Kingma & Ba, arXiv 1412.6980, algorithm 1, with b1 = 0.9, b2 = 0.999, eps = 1e-8. ClipUp: Toklu et al., arXiv 2008.02387, algorithm 2,
with m = 0.9; its maximum speed is twice the learning rate, as the authors advise. There `lr` is the length of a step, over all coordinates
together, and means the same for gradients of any size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from nchl.errors import InvalidArgument, UnknownName

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM, SPEED = 0.9, 2.0

Vector = Float[np.ndarray, " size"]


class Optimizer(ABC):
    """Turns gradients (size,) into steps (size,), by elementwise operations and single sums: no bit depends on the number of threads."""

    memory: ClassVar[tuple[str, ...]] = ()

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def step(self, total: Vector, divisor: float, lr: float) -> Vector:
        """The step for the gradient `total / divisor`; may write into `total`."""

    def state(self) -> dict[str, np.ndarray]:
        """Its memory, as arrays by name."""
        return {f"optimizer.{name}": np.array(getattr(self, name)) for name in self.memory}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        for name in self.memory:
            value = np.array(state[f"optimizer.{name}"])
            setattr(self, name, value if value.ndim else value.item())


class SGD(Optimizer):
    """Steps in proportion to the gradient."""

    def step(self, total: Vector, divisor: float, lr: float) -> Vector:
        """`lr total / divisor`."""
        total *= lr / divisor
        return total


class Adam(Optimizer):
    """Steps by the mean and the mean square of each coordinate's gradients."""

    memory: ClassVar[tuple[str, ...]] = ("mean", "square", "steps")

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.mean, self.square, self.steps = np.zeros(size), np.zeros(size), 0

    def step(self, total: Vector, divisor: float, lr: float) -> Vector:
        """See above."""
        total /= divisor
        self.steps += 1
        self.mean += (1 - BETA1) * (total - self.mean)
        total *= total
        self.square += (1 - BETA2) * (total - self.square)
        scale = np.sqrt(self.square / (1 - BETA2**self.steps))
        scale += EPSILON
        return (lr / (1 - BETA1**self.steps)) * self.mean / scale


class ClipUp(Optimizer):
    """Normalised gradients with momentum and a maximal speed."""

    memory: ClassVar[tuple[str, ...]] = ("velocity",)

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.velocity = np.zeros(size)

    def step(self, total: Vector, divisor: float, lr: float) -> Vector:
        """See above; the gradient is normalised, so the divisor has no effect."""
        length = _length(total)
        self.velocity *= MOMENTUM
        if length > 0:
            self.velocity += (lr / length) * total
        speed = _length(self.velocity)
        if speed > SPEED * lr:
            self.velocity *= SPEED * lr / speed
        return self.velocity.copy()


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "clipup": ClipUp}


def make_optimizer(name: str, size: int) -> Optimizer:
    """An optimiser by its name.

    Raises:
        UnknownName: there is no such optimiser.
    """
    if name not in OPTIMIZERS:
        raise UnknownName("optimizer", str(name), OPTIMIZERS)
    return OPTIMIZERS[name](size)


def check_rate(name: str, value: float) -> float:
    """A learning rate as a float.

    Raises:
        InvalidArgument: it is not a finite number above 0.
    """
    if not (np.isfinite(value) and value > 0):
        raise InvalidArgument(f"{name} must be a finite number above 0; got {value}")
    return float(value)


def check_weight_decay(value: float) -> float:
    """The weight decay as a float.

    Raises:
        InvalidArgument: it is negative or not finite.
    """
    if not (np.isfinite(value) and value >= 0):
        raise InvalidArgument(f"weight_decay must be a finite number of at least 0; got {value}")
    return float(value)


def _length(vector: Vector) -> float:
    return float(np.sqrt(np.sum(vector * vector)))  # not BLAS, whose bits depend on its threads
