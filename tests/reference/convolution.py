"""Plastic convolutions the slow way: every connection formed one by one, and whole networks on really dense matrices."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

Place = tuple[int, int, int]
AGGREGATES: dict[str, Callable[[list[float]], float]] = {"max": max, "min": min, "median": statistics.median_low, "mean": statistics.fmean}


def connections(
    shape_in: Place,
    shape_out: Place,
    kernel_shape: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Iterator[tuple[tuple[int, ...], Place, Place]]:
    """(kernel element, input neuron, output neuron) of every connection."""
    outputs, channels, height, width = kernel_shape
    groups = shape_in[0] // channels
    for o in range(outputs):
        for c in range(channels):
            for u in range(height):
                for v in range(width):
                    for y in range(shape_out[1]):
                        for x in range(shape_out[2]):
                            i, j = y * stride[0] - padding[0] + u * dilation[0], x * stride[1] - padding[1] + v * dilation[1]
                            if 0 <= i < shape_in[1] and 0 <= j < shape_in[2]:
                                yield (o, c, u, v), (o // (outputs // groups) * channels + c, i, j), (o, y, x)


def kernel_update(
    pre: np.ndarray,
    post: np.ndarray,
    rules_in: np.ndarray,
    rules_out: np.ndarray,
    kernel_shape: tuple[int, ...],
    sharing: str,
    termwise: bool,
    **geometry: tuple[int, int],
) -> np.ndarray:
    """dK of NcHL. pre (batch, c, h, w), post (batch, o, y, x), rules (c, h, w, 5) and (o, y, x, 5)."""
    found: dict[tuple[int, ...], list[list[float]]] = {}
    for element, p, q in connections(pre.shape[1:], post.shape[1:], kernel_shape, **geometry):
        A, _, C, D, eta = rules_in[p]
        _, B, E, F, rate = rules_out[q]
        a, b = pre[:, *p], post[:, *q]
        terms = [float(np.mean(A * a)), float(np.mean(B * b)), float(np.mean(C * E * a * b)), float(D * F), float((eta + rate) / 2)]
        found.setdefault(element, []).append(terms)
    result = np.zeros(kernel_shape)
    aggregate = AGGREGATES[sharing]
    for element, values in found.items():
        if termwise:
            columns = [aggregate(list(column)) for column in zip(*values, strict=True)]
            result[element] = sum(columns[:4]) * columns[4]
        else:
            result[element] = aggregate([sum(v[:4]) * v[4] for v in values])
    return result


class DenseNetwork:
    """conv, tanh, max pool 2, flatten, linear, tanh, linear as dense matrices with one entry per connection, NcHL, normalised by max.

    Args:
        sequential: gives the sizes.
        shape: of the input.
        genome: the flat vector.
        weights: kernel, then the two matrices.
        sharing: the aggregate.
    """

    def __init__(self, sequential: nn.Sequential, shape: Place, genome: np.ndarray, weights: list[np.ndarray], sharing: str) -> None:
        conv = sequential[0]
        assert isinstance(conv, nn.Conv2d)
        with torch.no_grad():
            out = tuple(conv(torch.zeros(1, *shape, dtype=conv.weight.dtype)).shape[1:])
            pooled = tuple(sequential[2](torch.zeros(1, *out)).shape[1:])
        self.shapes, self.sharing = (shape, out, pooled), sharing
        self.weights = [w.copy() for w in weights]
        self.labels = list(connections(shape, out, conv.weight.shape, conv.stride, conv.padding, conv.dilation))
        sizes = [int(np.prod(s)) for s in self.shapes] + [w.shape[0] for w in weights[1:]]
        uses = ["ACDE", "BCDE", "ACDE", "ABCDE", "BCDE"]
        self.rules, start = [], 0
        for size, names in zip(sizes, uses, strict=True):
            block = genome[start : start + size * len(names)].reshape(size, len(names))
            self.rules.append({name: block[:, i] for i, name in enumerate(names)})
            start += block.size
        assert start == len(genome)

    def step(self, x: np.ndarray) -> np.ndarray:
        shape, out, pooled = self.shapes
        flat_in, flat_out = np.arange(np.prod(shape)).reshape(shape), np.arange(np.prod(out)).reshape(out)
        dense = np.zeros((flat_out.size, flat_in.size))
        for element, p, q in self.labels:
            dense[flat_out[q], flat_in[p]] = self.weights[0][element]
        a0 = x.reshape(-1)
        a1 = np.tanh(dense @ a0)
        height, width = 2 * pooled[1], 2 * pooled[2]
        a2 = a1.reshape(out)[:, :height, :width].reshape(out[0], pooled[1], 2, pooled[2], 2).max(axis=(2, 4)).reshape(-1)
        a3 = np.tanh(self.weights[1] @ a2)
        a4 = self.weights[2] @ a3
        change = self._delta(0, 1, a0, a1)
        shared: dict[tuple[int, ...], list[float]] = {}
        for element, p, q in self.labels:
            shared.setdefault(element, []).append(change[flat_out[q], flat_in[p]])
        for element, values in shared.items():
            self.weights[0][element] += AGGREGATES[self.sharing](values)
        self.weights[1] += self._delta(2, 3, a2, a3)
        self.weights[2] += self._delta(3, 4, a3, a4)
        self.weights = [w / np.abs(w).max() for w in self.weights]
        return a4

    def _delta(self, g: int, h: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        i, j = ({k: v[None, :] for k, v in self.rules[g].items()}, {k: v[:, None] for k, v in self.rules[h].items()})
        a, b = a[None, :], b[:, None]
        return (i["E"] + j["E"]) / 2 * (i["A"] * a + j["B"] * b + i["C"] * j["C"] * a * b + i["D"] * j["D"])
