"""Multiply-adds per second of the unsupervised epoch, beside the machine's own matrix products of the same sizes.

An epoch's multiply-adds are those of the weighted sums and of the update, one each per connection and image; everything
else that a step does (normalisation, softmax, pooling, norms) counts as time and not as work. `ratio` is therefore what
the whole step reaches of a bare matrix product. The two are timed in turn, and the machine should be idle otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from nchl.cli.parser import Parser, at_least, one_of
from nchl.vision.settings import SHARINGS

NETWORKS = ("softhebb", "softhebb-small", "thesis")


def add_arguments(parser: Parser) -> None:
    """What to measure and for how long."""
    parser.add_argument(
        "--network", type=one_of("network", NETWORKS), default="softhebb", metavar="|".join(NETWORKS), help="default: softhebb"
    )
    parser.add_argument("--sharing", type=one_of("sharing", SHARINGS), metavar="NAME", help="sum, mean, max, min or median (default: sum)")
    parser.add_argument("--batch-size", type=at_least(1), default=10, metavar="IMAGES", help="images per step (default: 10)")
    parser.add_argument("--seconds", type=at_least(0, float), default=10.0, metavar="S", help="time to measure, about (default: 10)")
    parser.add_argument("--threads", type=at_least(1), default=None, metavar="N", help="threads of torch (default: as it takes)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, on images of 32x32."""
    import torch

    from nchl.vision.networks.classifier import build, until_last_learning
    from nchl.vision.networks.layers import SoftHebbConv2d, softhebb_layers
    from nchl.vision.training.torch_setup import keep_freed_memory

    keep_freed_memory()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    classifier = build(args.network, (3, 32, 32), 10, seed=0, sharing=args.sharing)
    x = torch.rand(args.batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    shapes = _product_shapes(classifier, x)
    work = 2 * sum(rows * inner * columns for rows, inner, columns in shapes)
    learning = until_last_learning(list(classifier.blocks))
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

    steps, bare = _alternate(step, products, args.seconds)
    layers = [layer for layer in softhebb_layers(classifier) if isinstance(layer, SoftHebbConv2d)]
    return {
        "network": args.network,
        "sharing": layers[0].sharing,
        "competition": layers[0].competition,
        "batch_size": args.batch_size,
        "threads": torch.get_num_threads(),
        "multiply_adds_per_image": work // args.batch_size,
        "step_ms": 1e3 * steps,
        "epoch_of_50000_s": steps * 50_000 / args.batch_size,
        "multiply_adds_per_s": work / steps,
        "matrix_product_multiply_adds_per_s": work / bare,
        "ratio": bare / steps,
    }


def text(result: dict[str, Any]) -> str:
    """The result for a person."""
    return "\n".join(
        [
            f"{result['network']}, sharing {result['sharing']}, batch {result['batch_size']}, {result['threads']} threads",
            f"  a step             {result['step_ms']:8.1f} ms; an epoch of 50,000 images {result['epoch_of_50000_s']:,.0f} s",
            f"  unsupervised epoch {result['multiply_adds_per_s'] / 1e9:8.1f} billion multiply-adds per second",
            f"  matrix products    {result['matrix_product_multiply_adds_per_s'] / 1e9:8.1f} billion multiply-adds per second",
            f"  ratio              {result['ratio']:8.2f}",
        ]
    )


def _product_shapes(classifier: Any, x: Any) -> list[tuple[int, int, int]]:
    """(batch x positions, fan-in, units) of each layer's matrix product, by sending the images through."""
    import torch

    from nchl.vision.networks.layers import SoftHebbConv2d

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
    """Median seconds of a call of each, called in turn so that both see the same machine."""
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
