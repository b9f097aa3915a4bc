"""Images, learning rate and random numbers of each step, as functions of seed, phase, epoch and batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from nchl.seeds import Purpose, generator, weights_seed

_HALVINGS = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9)
# Streams of random numbers; smaller numbers are the phases' orders of images.
_DROPOUT = 1_000_000
_DRAWS = 1_000_000_000  # most steps of an epoch


def step_bounds(batch: int, batches: int, batch_size: int, images: int) -> slice:
    """The range of one step in an epoch's order; the last step takes all remaining images."""
    return slice(batch * batch_size, images if batch == batches - 1 else (batch + 1) * batch_size)


def count_batches(images: int, batch_size: int) -> int:
    """Number of steps of an epoch. A single last image, too few for BatchNorm's statistics, is added to the step before it."""
    alone = images % batch_size == 1 and images > batch_size > 1
    return math.ceil(images / batch_size) - alone


def epoch_order(seed: int, phase: int, epoch: int, images: int) -> Tensor:
    """The order of the training images in one epoch."""
    return torch.from_numpy(generator(seed, Purpose.TRAINING, epoch, phase).permutation(images))


def order_stream(number: int, *, labelled: bool) -> int:
    """The stream of a phase's orders; a head after other phases has the same stream for all such phases."""
    return 0 if number == 0 else 1 if labelled else number + 1


@contextmanager
def drawing(seed: int, phase: int, epoch: int, batch: int, devices: list[torch.device]) -> Iterator[None]:
    """Seed torch's own generators for one step, since a user's modules may draw from them, as `nn.Dropout` does."""
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(weights_seed(seed, Purpose.TRAINING, epoch, phase * _DRAWS + batch))
        yield


def halved_lr(lr: float, epoch: int, epochs: int) -> float:
    """Adam's learning rate: halved at 0.2, 0.35, 0.5, 0.6, 0.7, 0.8 and 0.9 of the epochs (10, 17, 25, ... of 50).

    The middle of an epoch decides, so that a halving is at most half an epoch early or late; the first epoch has the full rate.
    """
    # 1e-9 compensates the rounding of quotients such as 17.5 / 50.
    return lr * 0.5 ** sum((epoch + 0.5) / epochs >= part - 1e-9 and epoch > 0 for part in _HALVINGS)


def dropped(x: Tensor, p: float, seed: int, epoch: int, batch: int) -> Tensor:
    """Dropout whose mask is a function of (seed, epoch, batch); p counts in steps of 1/65,536.

    A feature takes two random bytes, or one bit if p is a half; torch's Bernoulli numbers would take longer than the rest of a step.
    """
    if p == 0:
        return x
    numbers = generator(seed, Purpose.TRAINING, epoch, _DROPOUT + batch)
    kept: np.ndarray
    if p == 0.5:
        kept = np.unpackbits(np.frombuffer(numbers.bytes(-(-x.numel() // 8)), dtype=np.uint8), count=x.numel())
    else:
        kept = np.frombuffer(numbers.bytes(2 * x.numel()), dtype="<u2") >= round(p * 65536)
    return x * torch.from_numpy(kept).view(x.shape).to(x.device, x.dtype).mul_(1 / (1 - p))
