"""WNcHL costs O(M (n_in + n_out)): exponents fitted over N and M, and the comparison with summing weight matrices.

    python benchmarks/weightless.py          # a table, and exit code 1 if a promise is broken

Promises: with N neurons on either side of one layer and a window of M steps, time and memory grow no faster than linearly in
N and in M; at N = 2048, M = 16 a step is at least 50 times faster and 50 times smaller than with summed matrices.
"""

from __future__ import annotations

import math
import sys
import time

import torch

import nchl
from nchl.rules import neuron_centric

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
WINDOWS = (1, 2, 4, 8, 16, 32, 64)


class SummedMatrices:
    """The naive form of one layer: a window of update matrices, summed at each step."""

    def __init__(self, n: int, window: int) -> None:
        self.window = window
        self.rules_in, self.rules_out = torch.randn(n, 5), torch.randn(n, 5)
        self.updates: list[torch.Tensor] = []

    def step(self, x: torch.Tensor) -> torch.Tensor:
        weight = sum(self.updates[1:], start=self.updates[0]) if self.updates else torch.zeros(len(x), len(x))
        y = torch.tanh(weight @ x)
        self.updates = [*self.updates, neuron_centric(x, y, self.rules_in, self.rules_out)][-self.window :]
        return y

    def numbers(self) -> int:
        return self.rules_in.numel() + self.rules_out.numel() + sum(u.numel() for u in self.updates)


def weightless(n: int, window: int, population: int | None = None) -> nchl.WNcHL:
    net = nchl.WNcHL([n, n], window=window, population=population)
    net.set_hrules(torch.randn(net.nparams, generator=torch.Generator().manual_seed(0)))
    return net


def seconds(step, x: torch.Tensor, warm: int, repeats: int = 7) -> float:
    for _ in range(warm):
        step(x)
    best = math.inf
    for _ in range(repeats):
        start, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - start < 0.01:
            step(x)
            calls += 1
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def numbers(net: nchl.WNcHL) -> int:
    return sum(buffer.numel() for buffer in net.buffers())


def exponent(xs, ys) -> float:
    """Slope of log y over log x, by least squares."""
    u, v = [math.log(x) for x in xs], [math.log(y) for y in ys]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    return sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True)) / sum((a - mean_u) ** 2 for a in u)


def main() -> int:
    torch.set_flush_denormal(True)
    rows = {}
    # A population of 16 makes the arithmetic outweigh the fixed cost of each torch call, which would flatten the exponents.
    for name, axis, cases in (("N", SIZES, [(n, 16) for n in SIZES]), ("M", WINDOWS, [(1024, m) for m in WINDOWS])):
        nets = [weightless(n, window, 16) for n, window in cases]
        times = [seconds(net.step, torch.randn(16, n), window + 1) for net, (n, window) in zip(nets, cases, strict=True)]
        rows[name] = (exponent(axis, times), exponent(axis, [numbers(net) for net in nets]))
        print(f"{name} = {axis[0]} .. {axis[-1]}: time grows as {name}^{rows[name][0]:.2f}, memory as {name}^{rows[name][1]:.2f}")
    n, window = 2048, 16
    x, mine, naive = torch.randn(n), weightless(n, window), SummedMatrices(n, window)
    ratio_time = seconds(naive.step, x, window + 1, 3) / seconds(mine.step, x, window + 1)
    ratio_memory = naive.numbers() / numbers(mine)
    print(f"N = {n}, M = {window}: {ratio_time:.0f} times faster and {ratio_memory:.0f} times smaller than summing matrices")
    kept = max(max(pair) for pair in rows.values()) <= 1.15 and min(ratio_time, ratio_memory) >= 50
    print("promises kept" if kept else "PROMISE BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
