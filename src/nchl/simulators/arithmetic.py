"""Simulators compute with IEEE numbers, networks without denormals: a promise about bits.

Denormal numbers slow a plastic network down by twenty times, so rollouts flush them. The flag belongs to a thread and is
inherited by the threads that it starts; a simulator that met it would depend on the order in which threads were started. So the
flag is off while a simulator is made or stepped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SMALLEST = 5e-324  # a denormal number: equal to zero only where they are flushed


@contextmanager
def simulator_arithmetic() -> Iterator[None]:
    """Denormal numbers are kept inside; afterwards everything is as it was."""
    flushed = _SMALLEST == 0.0
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
