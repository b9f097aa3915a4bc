"""Milliseconds per individual and step of the plastic CarRacing network; see `nchl bench conv --help` for its two yardsticks."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nchl.bench.timing import median_seconds
from nchl.networks.conv.from_module import unrolled
from nchl.networks.conv.presets import conv_thesis
from nchl.rules.convolution.connections import SHARINGS


def measure(population: int, image: int, *, backend: str, repeats: int) -> dict[str, Any]:
    """Milliseconds per individual and step of the whole network, for each sharing in both forms.

    Args:
        population: individuals that step together.
        image: height and width of the input in pixels.
        backend: `auto`, `eager` or `compiled`.
        repeats: measurements of each; the median counts.

    Returns:
        `{"population", "image", "nparams", "connections", "threads", "backend", "anchor_ms", "rows": [{"sharing", "termwise",
        "step_ms", "forward_ms", "anchors", "mb_per_agent"}], "small": {"image", "step_ms", "dense_ms", "ratio"}}`; `anchor_ms`
        is a matrix product with as many multiply-adds as 100 times the network has connections, `anchors` is `step_ms` in
        units of it, `mb_per_agent` is the peak of the process's memory from before the network was made until two steps later,
        beyond the genomes themselves (None where /proc is not available).
    """
    torch.set_flush_denormal(True)
    shape, generator = (3, image, image), torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = []
    anchors = []
    x = torch.rand(population, *shape, generator=generator)
    one = conv_thesis(shape, 3, backend="eager")
    connections = sum(layer.connections for layer in one.graph.weighted)
    side = round((100 * connections) ** (1 / 3))
    left = torch.rand(side, side, generator=generator)
    used = ""
    for sharing in SHARINGS:
        for termwise in (False, True):
            _release_memory()
            before = _memory_mb("VmRSS")
            network = conv_thesis(shape, 3, sharing=sharing, termwise=termwise, population=population, backend=backend)
            network.set_hrules(torch.randn(network.nparams, generator=generator) * 0.1)
            network.step(x)
            network.step(x)
            peak = _memory_mb("VmHWM")
            rules_mb = network.genome.numel() * network.genome.element_size() / 2**20
            anchors.append(_milliseconds(lambda: left @ left, repeats))
            step_ms = _milliseconds(functools.partial(network.step, x), repeats) / population
            forward_ms = _milliseconds(functools.partial(network.forward, x), repeats) / population
            rows.append(
                {
                    "sharing": sharing,
                    "termwise": termwise,
                    "step_ms": step_ms,
                    "forward_ms": forward_ms,
                    "anchors": step_ms / anchors[-1],
                    "mb_per_agent": None if before is None or peak is None else (peak - before - rules_mb) / population,
                }
            )
            used = network.backend
    return {
        "population": population,
        "image": image,
        "nparams": one.nparams,
        "connections": connections,
        "threads": torch.get_num_threads(),
        "backend": used,
        "anchor_ms": sorted(anchors)[len(anchors) // 2],
        "rows": rows,
        "small": _small(repeats),
    }


def _small(repeats: int) -> dict[str, Any]:
    """One agent on a small image, and the update of its two convolutions on dense unrolled matrices, masked, max."""
    image = 20
    network = conv_thesis((3, image, image), 3)
    network.set_hrules(torch.randn(network.nparams, generator=torch.Generator().manual_seed(0)) * 0.1)
    x = torch.rand(3, image, image)
    network.step(x)
    graphs = [(graph.weight.indices(), graph.kernel_index) for graph in unrolled(network)]
    dense = [(torch.rand(graph.neurons[1], graph.neurons[0]), graph) for graph in unrolled(network)]

    def step() -> None:
        for (matrix, graph), (places, elements) in zip(dense, graphs, strict=True):
            outputs, inputs = matrix.shape
            a, b, p, q = torch.rand(inputs), torch.rand(outputs)[:, None], torch.rand(4, inputs), torch.rand(4, outputs, 1)
            torch.mv(matrix, a)
            change = (p[3] + q[3]) / 2 * (p[0] * a + q[0] * b + p[1] * q[1] * a * b + p[2] * q[2])
            kernel = torch.zeros(torch.Size(graph.geometry.kernel_shape).numel())
            kernel.scatter_reduce_(0, elements, change[places[0], places[1]], "amax", include_self=False)
            matrix[places[0], places[1]] += kernel[elements]

    step_ms, dense_ms = _milliseconds(lambda: network.step(x), repeats), _milliseconds(step, repeats)
    return {"image": image, "step_ms": step_ms, "dense_ms": dense_ms, "ratio": dense_ms / step_ms}


def _release_memory() -> None:
    """Return free memory to the system and reset the peak, so that each network's memory is measured on its own."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def _memory_mb(name: str) -> float | None:
    """VmRSS, the process's memory now, or VmHWM, its peak; None where /proc is not available."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024
    return None


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    return 1e3 * median_seconds(call, repeats)
