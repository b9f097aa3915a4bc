"""Features of the training images, computed once and kept in half precision, in memory or in one file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from torch import Tensor

from nchl.errors import InvalidArgument, RunError
from nchl.vision.data.images import Images
from nchl.vision.networks.classifier import Classifier

# A fixed number, so that no kernel's shape, and no bit, depends on the available memory.
CHUNK = 100


def feature_bytes(images: int, features: int) -> int:
    """The size of the features in bytes."""
    return 2 * images * features


def size_text(size: int) -> str:
    """A number of bytes as MiB or GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def check_room(size: int, folder: Path | None) -> None:
    """Refuse features for which there is no room.

    Args:
        size: of all of them in bytes.
        folder: the run folder, which need not exist; None: memory. Files of features in it are room too: they are reused or replaced.

    Raises:
        RunError: there is less free space, or less memory in this machine.
    """
    if folder is None:
        memory = _memory()
        if memory is not None and size > memory:
            raise RunError(
                f"the features need {size_text(size)} of memory, and this machine has {size_text(memory)}; "
                "keep them on disk with --features disk, or use fewer images with --limit"
            )
        return
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free + sum(_on_disk(file) for file in folder.glob("*-features.f16"))
    if free < size:
        raise _no_room(size, folder, free)


def _no_room(size: int, folder: Path, free: int) -> RunError:
    return RunError(
        f"the features need {size_text(size)} at {folder}, which has {size_text(free)}; "
        "make room or use --features memory, also beside --resume"
    )


def _memory() -> int | None:
    """The machine's memory in bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _on_disk(file: Path) -> int:
    """The space that a file takes, which is less than its size while parts of it were never written."""
    found = file.stat()
    return min(found.st_size, 512 * getattr(found, "st_blocks", found.st_size))


@torch.no_grad()
def compute_features(
    classifier: Classifier,
    images: Images,
    *,
    file: Path | None = None,
    device: torch.device | str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Float16[Tensor, "images features"]:
    """The features of all images, with the network in evaluation mode.

    Args:
        classifier: its blocks are used, not its head.
        images: all images of one split.
        file: a memory-mapped file for the features; None: memory. A complete file of the right size is reused.
        device: that of the classifier.
        advance: called with the number of images done.

    Raises:
        RunError: not enough disk space for the file.
        InvalidArgument: a feature is not finite in half precision.
    """
    shape = (len(images), classifier.features)
    complete = None if file is None else file.with_suffix(".complete")
    if file is not None and complete is not None and complete.exists() and file.exists() and file.stat().st_size == feature_bytes(*shape):
        return torch.from_numpy(np.memmap(file, np.float16, "r+", shape=shape))
    if file is None:
        kept = torch.empty(shape, dtype=torch.float16)
    else:
        file.unlink(missing_ok=True)  # an unfinished file takes space itself
        free = shutil.disk_usage(file.parent).free
        if free < feature_bytes(*shape):
            raise _no_room(feature_bytes(*shape), file.parent, free)
        kept = torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))
    classifier.eval()
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        kept[part] = half(classifier.extract(images.batch(part, device))).cpu()
        if advance is not None:
            advance(min(start + CHUNK, len(images)))
    if complete is not None:
        complete.touch()
    return kept


def half(features: Tensor) -> Float16[Tensor, "batch features"]:
    """Features in half precision; values that are not finite in it are an error."""
    halved = features.to(torch.float16)
    if not bool(torch.isfinite(halved).all()):
        raise InvalidArgument(
            "the network's features are not finite in half precision (beyond 65,504); put BatchNorm into the network, "
            "or let its layers learn more slowly"
        )
    return halved
