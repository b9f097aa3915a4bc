"""Multiply-adds per second of the unsupervised epoch, beside the machine's own matrix products of the same sizes.

An epoch's multiply-adds are those of the weighted sums and of the update, one each per connection and image; everything
else that a step does (normalisation, softmax, pooling, norms) counts as time and not as work. `ratio` is therefore the speed of
the whole step as a share of a bare matrix product's. The two are timed in turn, and the machine should be idle otherwise.
"""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Parser, at_least, one_of
from nchl.vision.settings import NETWORKS, SHARINGS


def add_arguments(parser: Parser) -> None:
    """The network and the duration."""
    parser.add_argument(
        "--network", type=one_of("network", NETWORKS), default="softhebb", metavar="|".join(NETWORKS), help="default: softhebb"
    )
    parser.add_argument("--sharing", type=one_of("sharing", SHARINGS), metavar="NAME", help="sum, mean, max, min or median (default: sum)")
    parser.add_argument("--batch-size", type=at_least(1), default=10, metavar="IMAGES", help="images per step (default: 10)")
    parser.add_argument("--seconds", type=at_least(0, float), default=10.0, metavar="S", help="time to measure, about (default: 10)")
    parser.add_argument("--threads", type=at_least(1), default=None, metavar="N", help="threads of torch (default: torch's own)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, on images of 32x32."""
    from nchl.bench.softhebb import measure

    return measure(args.network, sharing=args.sharing, batch_size=args.batch_size, seconds=args.seconds, threads=args.threads)


def text(result: dict[str, Any]) -> str:
    """The result in five lines."""
    return "\n".join(
        [
            f"{result['network']}, sharing {result['sharing']}, batch {result['batch_size']}, {result['threads']} threads",
            f"  a step             {result['step_ms']:8.1f} ms; an epoch of 50,000 images {result['epoch_of_50000_s']:,.0f} s",
            f"  unsupervised epoch {result['multiply_adds_per_s'] / 1e9:8.1f} billion multiply-adds per second",
            f"  matrix products    {result['matrix_product_multiply_adds_per_s'] / 1e9:8.1f} billion multiply-adds per second",
            f"  ratio              {result['ratio']:8.2f}",
        ]
    )
