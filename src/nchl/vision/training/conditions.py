"""What an experiment needs before it reads an image: a device, a free folder, code that is there; and what its last digits depend on."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nchl.errors import InvalidArgument
from nchl.rules.declaration import load_object
from nchl.rules.kernels import softhebb as kernels
from nchl.vision.records.folder import exists_already
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.training.allocator import keep_freed_memory


def use(device: str | None, threads: int | None) -> None:
    """Set torch up for this process.

    Raises:
        InvalidArgument: there is no such device here.
    """
    if device not in (None, "cpu") and not (str(device).startswith("cuda") and torch.cuda.is_available()):
        raise InvalidArgument(f"expected --device cpu, or cuda where torch finds one, got {device!r}")
    keep_freed_memory()
    if gpus(device):
        torch.backends.cudnn.deterministic = True  # else the fastest sums, whose order is not fixed
    if threads is not None:
        torch.set_num_threads(threads)


def gpus(device: str | None) -> list[torch.device]:
    """The device in a list, if it is none of the CPU: what `torch.random.fork_rng` has to look after besides."""
    return [] if device in (None, "cpu") else [torch.device(str(device))]


def same_bits(device: str | None = None) -> dict[str, str]:
    """What the last digits of a result depend on, besides the settings."""
    found = gpus(device)
    return ({"device": torch.cuda.get_device_name(found[0])} if found else {}) | {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "instruction set": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        # How a matrix product is cut among threads decides the order of its additions.
        "threads": str(torch.get_num_threads()),
        "kernels": "no" if kernels.unavailable() else "yes",
    }


def check_new(settings: SoftHebbSettings, path: Path) -> None:
    """Refuse at once what need not wait until all images are decoded.

    Raises:
        RunError: the folder is there already.
        InvalidArgument: the file of the network is not there, or holds no such function.
    """
    if path.exists():
        raise exists_already(path)
    if ":" in str(settings.network):
        load_object(str(settings.network), "a network")


def with_absolute_places(settings: SoftHebbSettings) -> SoftHebbSettings:
    """The same settings with folders and files of this machine in full, so that the run can be resumed from any folder."""
    changes: dict[str, Any] = {}
    if Path(settings.data).is_dir():
        changes["data"] = str(Path(settings.data).absolute())
    if settings.layers is not None:
        changes["layers"] = str(Path(settings.layers).absolute())
    file, colon, name = str(settings.network).rpartition(":")
    if colon:
        changes["network"] = f"{Path(file).absolute()}:{name}"
    return dataclasses.replace(settings, **changes)
