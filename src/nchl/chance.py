"""Random draws of a user's code under a seed of ours: the global generators of torch, numpy and Python are forked around it.

A user's function writes `nn.Linear(4, 2)`, which draws from torch's global generator. Inside `seeded` that generator begins at
a given seed, so that the same function draws the same numbers in every process; outside, nothing has changed.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np

# The generators are the process's: two threads inside at once would draw from each other's stream and restore it.
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, *, with_torch: bool = True) -> Iterator[None]:
    """Let everything inside draw from global generators that begin at `seed`; afterwards they are as before.

    Args:
        seed: in [0, 2**63); for example `nchl.seeds.weights_seed`.
        with_torch: False where nothing inside can draw from torch, which then need not be loaded.
    """
    with _one_at_a_time:
        held = random.getstate(), np.random.get_state()  # noqa: NPY002  the global generators are what this is about
        try:
            with _fork_rng_of_torch(seed) if with_torch else contextlib.nullcontext():
                random.seed(seed)
                np.random.seed([seed % 2**32, seed >> 32])  # noqa: NPY002
                yield
        finally:
            random.setstate(held[0])
            np.random.set_state(held[1])  # noqa: NPY002


@contextlib.contextmanager
def _fork_rng_of_torch(seed: int) -> Iterator[None]:
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
