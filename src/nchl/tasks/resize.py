"""Pictures to the size that a network wants, by antialiased bilinear interpolation: torch's, as a few weights per output.

Where there is a C++ compiler a kernel does it, in half of torch's time; otherwise torch itself. Both agree to rounding, and
a picture's bits depend neither on the other pictures nor on the number of threads.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nchl.rules.kernels.build import library


class Resize:
    """Resizes pictures and brings them to [0, 1].

    Args:
        channels: of a picture.
        before: its (height, width).
        after: the (height, width) that it gets.
        channels_last: whether it comes as (height, width, channels) instead of (channels, height, width).
    """

    def __init__(self, channels: int, before: tuple[int, int], after: tuple[int, int], *, channels_last: bool) -> None:
        self.channels, self.before, self.after, self.channels_last = channels, before, after, channels_last
        self._axes: list[tuple[np.ndarray, np.ndarray]] | None = None

    def __call__(
        self, pictures: UInt8[Tensor, "k a b c"], active: Bool[Tensor, " k"] | None = None
    ) -> Float[Tensor, "k channels height width"]:
        """(k, ...) -> (k, channels, height, width), float32 in [0, 1]; pictures that are not active may come back as zeros."""
        kernels = library("resize") if pictures.device.type == "cpu" else ""
        return self._by_torch(pictures) if isinstance(kernels, str) else self._by_kernel(pictures.contiguous(), active, kernels)

    def _by_kernel(self, pictures: Tensor, active: Tensor | None, kernels: ctypes.CDLL) -> Tensor:
        if self._axes is None:
            self._axes = [_taps(old, new) for old, new in zip(self.before, self.after, strict=True)]
        rows, columns = (_axis(first, weights, old) for (first, weights), old in zip(self._axes, self.before, strict=True))
        made = torch.empty if active is None else torch.zeros
        out = made(len(pictures), self.channels, *self.after, dtype=torch.float32)
        kernels.resize_pictures(
            ctypes.c_void_p(pictures.data_ptr()),
            ctypes.c_void_p(None if active is None else active.data_ptr()),
            len(pictures),
            torch.get_num_threads(),
            self.channels,
            int(self.channels_last),
            ctypes.byref(rows),
            ctypes.byref(columns),
            ctypes.c_void_p(out.data_ptr()),
        )
        return out

    def _by_torch(self, pictures: Tensor) -> Tensor:
        frames = pictures.permute(0, 3, 1, 2) if self.channels_last else pictures
        # Contiguous, so that one kernel does the work whatever the number of frames: equal bits for every slice.
        frames = _interpolate(frames.to(torch.float32, memory_format=torch.contiguous_format), self.after)
        return frames.mul_(1 / 255).clamp_(0, 1)


class _Axis(ctypes.Structure):
    """As `Axis` in resize.cpp."""

    _fields_ = (
        ("first", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("count", "inputs", "outputs")),
    )


def _axis(first: np.ndarray, weights: np.ndarray, inputs: int) -> Any:
    return _Axis(first.ctypes.data, weights.ctypes.data, weights.shape[1], inputs, len(first))


def _interpolate(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(frames, size=size, mode="bilinear", antialias=True, align_corners=False)


def _taps(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """torch's weights, from its results for unit vectors: for each output the first input that it reads, and the weights from there on."""
    matrix = _interpolate(torch.eye(inputs)[None, None], (outputs, inputs))[0, 0].numpy()
    reads = matrix != 0
    first = reads.argmax(axis=1)
    count = int((inputs - reads[:, ::-1].argmax(axis=1) - first).max())
    first = np.minimum(first, inputs - count).astype(np.int32)
    weights = np.take_along_axis(matrix, first[:, None] + np.arange(count), axis=1)
    return first, np.ascontiguousarray(weights, dtype=np.float32)
