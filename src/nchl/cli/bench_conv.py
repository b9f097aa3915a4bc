"""`nchl bench conv`: what one step of the plastic CarRacing network costs, beside yardsticks of the same run.

Two anchors: the multiply-adds of a plain matrix product at this moment (the machine's own pace, which other programs change),
and, on a network small enough to hold it, the same step on dense unrolled matrices.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, at_least, one_of
from nchl.cli.timing import median_seconds

_BACKENDS = ("auto", "eager", "compiled")


def add_arguments(parser: Parser) -> None:
    """The verb's options."""
    parser.add_argument("--population", type=at_least(1), default=64, metavar="P", help="individuals (default: 64)")
    parser.add_argument("--image", type=at_least(1), default=64, metavar="PIXELS", help="height and width of the input (default: 64)")
    parser.add_argument(
        "--backend",
        type=one_of("back end", _BACKENDS),
        default="auto",
        metavar="|".join(_BACKENDS),
        help="how the network runs (default: auto)",
    )
    parser.add_argument(
        "--repeats", type=at_least(1), default=10, metavar="N", help="measurements, of which the median counts (default: 10)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; every time is in milliseconds per agent and step, of the whole network.

    Returns:
        `{"population", "image", "nparams", "connections", "threads", "backend", "anchor_ms", "rows": [{"sharing", "termwise",
        "step_ms", "forward_ms", "anchors", "mb_per_agent"}], "small": {"image", "step_ms", "dense_ms", "ratio"}}`; `anchor_ms`
        is a matrix product with as many multiply-adds as 100 times the network has connections, `anchors` is `step_ms` in
        units of it, `mb_per_agent` is the peak of the process's memory from before the network was made until two steps later,
        beyond the genomes themselves (None where the system does not tell).
    """
    import torch

    from nchl.networks.conv.presets import conv_thesis
    from nchl.rules.convolution.connections import SHARINGS

    torch.set_flush_denormal(True)
    shape, generator = (3, args.image, args.image), torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = []
    anchors = []
    x = torch.rand(args.population, *shape, generator=generator)
    one = conv_thesis(shape, 3, backend="eager")
    connections = sum(layer.connections for layer in one.graph.weighted)
    side = round((100 * connections) ** (1 / 3))
    left = torch.rand(side, side, generator=generator)
    backend = ""
    for sharing in SHARINGS:
        for termwise in (False, True):
            _give_back()
            before = _memory_mb("VmRSS")
            network = conv_thesis(shape, 3, sharing=sharing, termwise=termwise, population=args.population, backend=args.backend)
            network.set_hrules(torch.randn(network.nparams, generator=generator) * 0.1)
            network.step(x)
            network.step(x)
            peak = _memory_mb("VmHWM")
            rules_mb = network.genome.numel() * network.genome.element_size() / 2**20
            anchors.append(_milliseconds(lambda: left @ left, args.repeats))
            step_ms = _milliseconds(functools.partial(network.step, x), args.repeats) / args.population
            forward_ms = _milliseconds(functools.partial(network.forward, x), args.repeats) / args.population
            rows.append(
                {
                    "sharing": sharing,
                    "termwise": termwise,
                    "step_ms": step_ms,
                    "forward_ms": forward_ms,
                    "anchors": step_ms / anchors[-1],
                    "mb_per_agent": None if before is None or peak is None else (peak - before - rules_mb) / args.population,
                }
            )
            backend = network.backend
    return {
        "population": args.population,
        "image": args.image,
        "nparams": one.nparams,
        "connections": connections,
        "threads": torch.get_num_threads(),
        "backend": backend,
        "anchor_ms": sorted(anchors)[len(anchors) // 2],
        "rows": rows,
        "small": _small(args.repeats),
    }


def text(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    lines = [
        f"one step of {result['population']} agents, {result['connections']:,} connections, {result['nparams']:,} numbers each, float32,"
        f" {result['threads']} threads, back end {result['backend']}",
        f"milliseconds per agent and step; a matrix product of 100 multiply-adds per connection takes {result['anchor_ms']:.2f}",
        f"{'sharing':<8} {'form':<15} {'step':>7} {'forward':>8} {'anchors':>8} {'MB/agent':>9}",
    ]
    for row in result["rows"]:
        form = "termwise" if row["termwise"] else "per connection"
        numbers = f"{row['step_ms']:>7.3f} {row['forward_ms']:>8.3f} {row['anchors']:>8.2f}"
        memory = "" if row["mb_per_agent"] is None else f" {row['mb_per_agent']:>9.2f}"
        lines.append(f"{row['sharing']:<8} {form:<15} {numbers}{memory}")
    small = result["small"]
    lines.append(
        f"one agent on {small['image']} x {small['image']} pixels, max: {small['step_ms']:.2f} ms, on dense unrolled matrices"
        f" {small['dense_ms']:.1f} ms: {small['ratio']:.0f} times as long"
    )
    return "\n".join(lines)


def _small(repeats: int) -> dict[str, Any]:
    """One agent on a small image, and the update of its two convolutions on dense unrolled matrices, masked, max."""
    import torch

    from nchl.networks.conv.from_module import unrolled
    from nchl.networks.conv.presets import conv_thesis

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


def _give_back() -> None:
    """Return free memory to the system and begin a new peak, so that one network's memory is not hidden by another's."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def _memory_mb(name: str) -> float | None:
    """VmRSS, the process's memory now, or VmHWM, its peak; None where the system does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024
    return None


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    return 1e3 * median_seconds(call, repeats)
