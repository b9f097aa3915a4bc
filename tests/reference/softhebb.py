"""SoftHebb on the unrolled convolution, one connection at a time, straight from the equation."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

SHARE = {"sum": sum, "max": max, "min": min, "median": statistics.median_low, "mean": lambda moves: sum(moves) / len(moves)}


def softhebb_update(x: Any, kernel: Any, t_invert: float, stride: int, padding: int, competition: str, sharing: str) -> np.ndarray:
    """x (batch, in, h, w), kernel (out, in, kh, kw), zeros around the image -> update with the kernel's shape."""
    x = np.pad(np.asarray(x, dtype=np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kernel = np.asarray(kernel, dtype=np.float64)
    units, channels, rows, columns = kernel.shape
    out_h, out_w = (x.shape[2] - rows) // stride + 1, (x.shape[3] - columns) // stride + 1
    places = [(o, i, j) for o in range(units) for i in range(out_h) for j in range(out_w)]  # (channel, y, x) order
    elements = [(c, a, b) for c in range(channels) for a in range(rows) for b in range(columns)]
    moves: dict[tuple[int, ...], float] = {}
    for image in x:
        u = {(o, i, j): sum(kernel[o, c, a, b] * image[c, i * stride + a, j * stride + b] for c, a, b in elements) for o, i, j in places}
        groups = [places] if competition == "layer" else [[(o, i, j) for o in range(units)] for i in range(out_h) for j in range(out_w)]
        s = {}
        for group in groups:
            top = max(t_invert * u[q] for q in group)
            total = sum(math.exp(t_invert * u[q] - top) for q in group)
            winner = next(q for q in group if u[q] == max(u[p] for p in group))
            for q in group:
                s[q] = math.exp(t_invert * u[q] - top) / total * (1 if q == winner else -1)
        for o, i, j in places:
            q = (o, i, j)
            for c, a, b in elements:
                connection = (o, i, j, c, a, b)
                change = s[q] * (image[c, i * stride + a, j * stride + b] - u[q] * kernel[o, c, a, b])
                moves[connection] = moves.get(connection, 0.0) + change
    update = np.empty_like(kernel)
    for o in range(units):
        for c, a, b in elements:
            update[o, c, a, b] = SHARE[sharing]([moves[o, i, j, c, a, b] for i in range(out_h) for j in range(out_w)])
    return update
