"""Microseconds per individual and step of each rule, beside the naive code and a pass over the memory.

The yardstick is one in-place pass over as many weights as the population has: no step that changes its weights can be faster.
"""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Parser, at_least


def add_arguments(parser: Parser) -> None:
    """The network, the population and the repeats."""
    parser.add_argument(
        "--nodes", type=at_least(1), nargs="+", default=[27, 128, 64, 8], metavar="N", help="layer sizes (default: 27 128 64 8)"
    )
    parser.add_argument("--population", type=at_least(1), default=256, metavar="P", help="individuals (default: 256)")
    parser.add_argument("--window", type=at_least(1), default=20, metavar="M", help="window of the weightless network (default: 20)")
    parser.add_argument("--rule", action="append", metavar="FILE.py:NAME", help="also measure this rule; may be given again")
    parser.add_argument(
        "--repeats", type=at_least(1), default=20, metavar="N", help="measurements, of which the median counts (default: 20)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each rule."""
    from nchl.bench.step import measure

    return measure(args.nodes, args.population, window=args.window, rules=args.rule or (), repeats=args.repeats)


def text(result: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [
        f"one step of {result['population']} individuals, {'-'.join(map(str, result['nodes']))}, float32, {result['threads']} threads",
        f"microseconds per individual and step; one pass over the weights' memory takes {result['memory_pass_us']:.2f}",
        f"{'rule':<24} {'step':>8} {'naive':>9} {'faster':>8} {'passes':>8}  back end",
    ]
    for name, row in result["rules"].items():
        numbers = f"{row['step_us']:>8.2f} {row['naive_us']:>9.1f} {row['speedup']:>7.0f}x {row['memory_passes']:>8.1f}"
        lines.append(f"{name.rpartition(':')[2]:<24} {numbers}  {row['backend']}")
    return "\n".join(lines)
