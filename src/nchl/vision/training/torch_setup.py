"""Torch's set-up for an experiment, and the properties of the machine on which its last digits depend."""

from __future__ import annotations

import ctypes
import platform
import sys

import numpy as np
import torch

from nchl.errors import InvalidArgument
from nchl.rules.kernels import softhebb as kernels

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def use(device: str | None, threads: int | None, *, recorded: bool = False) -> None:
    """Set torch up for this process.

    Args:
        device: `cpu`, `cuda` or `cuda:NUMBER`; None for the CPU.
        threads: of torch; None leaves their number.
        recorded: whether the device is that of a resumed run, for the message.

    Raises:
        InvalidArgument: the device is not available.
    """
    try:
        _check(device)
    except InvalidArgument as error:
        if not recorded:
            raise
        raise InvalidArgument(f"{error}, the device of this run; give another beside --resume, for example --device cpu") from error
    keep_freed_memory()
    if gpus(device):
        torch.backends.cudnn.deterministic = True  # the fastest algorithms add in no fixed order
        torch.backends.cudnn.allow_tf32 = False  # convolutions would round more than the matrix products of the learning steps
    if threads is not None:
        torch.set_num_threads(threads)


def _check(device: str | None) -> None:
    """Refuse a device that torch does not have."""
    if device in (None, "cpu"):
        return
    try:
        found = torch.device(str(device))
    except RuntimeError:
        found = None
    if found is None or found.type != "cuda" or not torch.cuda.is_available():
        raise InvalidArgument(f"expected --device cpu, or cuda (cuda:0, cuda:1, ...) where torch finds one, got {device!r}")
    count = torch.cuda.device_count()
    if found.index is not None and found.index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise InvalidArgument(f"expected --device {there}, the GPUs that torch finds, got {device!r}")


def gpus(device: str | None) -> list[torch.device]:
    """The device in a list, or an empty list for the CPU, as `torch.random.fork_rng` takes it."""
    return [] if device in (None, "cpu") else [torch.device(str(device))]


def same_bits(device: str | None = None) -> dict[str, str]:
    """The properties, besides the settings, on which the last digits of a result depend."""
    found = gpus(device)
    return ({"device": torch.cuda.get_device_name(found[0])} if found else {}) | {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "instruction set": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        # The division of a matrix product among threads decides the order of its additions.
        "threads": str(torch.get_num_threads()),
        "kernels": "no" if kernels.unavailable() else "yes",
    }


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep freed memory for large tensors; without glibc do nothing. No result depends on it.

    A learning step allocates the same tensors again and again, and new pages cost a sixth of its time.

    Returns:
        Whether the setting was accepted.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    # Some versions accept at most 32 MiB.
    large = any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in (1 << 28, 1 << 25))
    return bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1) == 1 and large)
