"""Seeds for user code that draws from the global generators of torch, NumPy and Python; they are restored afterwards.

For example, `nn.Linear(4, 2)` draws from torch's global generator. Inside `seeded` a function draws the same numbers in every process.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np

# The generators are global: two threads inside at once would draw from each other's stream.
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, *, with_torch: bool = True) -> Iterator[None]:
    """Inside, the global generators begin at `seed`; afterwards they are as before.

    Args:
        seed: in [0, 2**63); for example `nchl.seeds.weights_seed`.
        with_torch: False if nothing inside draws from torch, which then is not imported.
    """
    with _one_at_a_time:
        held = random.getstate(), np.random.get_state()  # noqa: NPY002  global generators on purpose
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
