"""Multiply-adds per second of the unsupervised epoch, beside matrix products of the same sizes; see `nchl bench softhebb --help`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from nchl.vision.networks.classifier import build, until_last_learning
from nchl.vision.networks.layers import SoftHebbConv2d, softhebb_layers
from nchl.vision.training.torch_setup import keep_freed_memory


def measure(network: str, *, sharing: str | None, batch_size: int, seconds: float, threads: int | None) -> dict[str, Any]:
    """Measure, on images of 32x32.

    Args:
        network: a name of `vision.settings.NETWORKS`.
        sharing: a name of `vision.settings.SHARINGS`; None: the network's own.
        batch_size: images per step.
        seconds: time to measure, about.
        threads: of torch; None: as they are.

    Returns:
        `{"network", "sharing", "competition", "batch_size", "threads", "multiply_adds_per_image", "step_ms", "epoch_of_50000_s",
        "multiply_adds_per_s", "matrix_product_multiply_adds_per_s", "ratio"}`.
    """
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    classifier = build(network, (3, 32, 32), 10, seed=0, sharing=sharing)
    x = torch.rand(batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    shapes = _product_shapes(classifier, x)
    work = 2 * sum(rows * inner * columns for rows, inner, columns in shapes)
    learning = [module for _, module in until_last_learning(list(classifier.blocks))]
    classifier.train()

    @torch.no_grad()
    def step() -> None:
        y = x
        for module in learning:
            y = module(y)

    pairs = [(torch.rand(rows, inner), torch.rand(inner, columns)) for rows, inner, columns in shapes]
    pairs += [(torch.rand(columns, rows), torch.rand(rows, inner)) for rows, inner, columns in shapes]
    results = [torch.empty(a.shape[0], b.shape[1]) for a, b in pairs]

    def products() -> None:
        for (a, b), result in zip(pairs, results, strict=True):
            torch.mm(a, b, out=result)

    steps, bare = _alternate(step, products, seconds)
    layers = [layer for layer in softhebb_layers(classifier) if isinstance(layer, SoftHebbConv2d)]
    return {
        "network": network,
        "sharing": layers[0].sharing,
        "competition": layers[0].competition,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "multiply_adds_per_image": work // batch_size,
        "step_ms": 1e3 * steps,
        "epoch_of_50000_s": steps * 50_000 / batch_size,
        "multiply_adds_per_s": work / steps,
        "matrix_product_multiply_adds_per_s": work / bare,
        "ratio": bare / steps,
    }


def _product_shapes(classifier: Any, x: Any) -> list[tuple[int, int, int]]:
    """(batch x positions, fan-in, units) of each layer's matrix product, found by a forward pass."""
    shapes: list[tuple[int, int, int]] = []

    def note(layer: Any, inputs: Any, output: Any) -> None:
        del inputs
        shapes.append((output.numel() // output.shape[1], layer.weight[0].numel(), output.shape[1]))

    hooks = [module.register_forward_hook(note) for module in classifier.modules() if isinstance(module, SoftHebbConv2d)]
    classifier.eval()
    with torch.no_grad():
        classifier(x)
    for hook in hooks:
        hook.remove()
    return shapes


def _alternate(one: Callable[[], None], other: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Median seconds for a call of each; they are called in turn, so that other load on the machine slows both."""
    for _ in range(3):
        one()
        other()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for call, kept in zip((one, other), times, strict=True):
            began = time.perf_counter()
            call()
            kept.append(time.perf_counter() - began)
    first, second = (sorted(kept)[len(kept) // 2] for kept in times)
    return first, second
