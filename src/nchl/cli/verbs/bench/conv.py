"""Milliseconds per individual and step of the plastic CarRacing network, beside two yardsticks of the same run.

The yardsticks: a plain matrix product's multiply-adds (the machine's speed at this moment, which other programs change), and, on a
network small enough for it, the same step on dense unrolled matrices.
"""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Parser, at_least, one_of

_BACKENDS = ("auto", "eager", "compiled")


def add_arguments(parser: Parser) -> None:
    """The population, the image and the back end."""
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
    """Measure every sharing in both forms."""
    from nchl.bench.conv import measure

    return measure(args.population, args.image, backend=args.backend, repeats=args.repeats)


def text(result: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [
        f"one step of {result['population']} individuals, {result['connections']:,} connections, {result['nparams']:,} parameters,"
        f" float32, {result['threads']} threads, back end {result['backend']}",
        f"milliseconds per individual and step; a matrix product of 100 multiply-adds per connection takes {result['anchor_ms']:.2f}",
        f"{'sharing':<8} {'form':<15} {'step':>7} {'forward':>8} {'anchors':>8} {'MB each':>9}",
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
