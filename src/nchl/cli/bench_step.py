"""`nchl bench step`: what one step of a population costs, beside the naive code and the memory's own pace, in one run.

The anchor is one in-place pass over as many weights as the population has: no step that moves its weights can be faster.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from nchl.cli.parser import Parser, at_least
from nchl.cli.timing import median_seconds

RULES = ("nchl", "hl", "wnchl", "static")
# NcHL with settings of plasticity in time, beside the plain one.
IN_TIME: dict[str, dict[str, Any]] = {
    "nchl average every": {"average": "ema:0.1", "every": 4},
    "nchl average every trace": {"average": "ema:0.1", "every": 4, "trace": 0.9},
    "nchl recurrent": {"recurrent": True},
}


def add_arguments(parser: Parser) -> None:
    """The verb's options."""
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
    """Measure; every time is in microseconds per agent and step.

    Returns:
        `{"population", "nodes", "threads", "memory_pass_us", "rules": {name: {"step_us", "naive_us", "speedup", "memory_passes",
        "weights", "backend"}}}`; `step_us` is the population's `step`, `naive_us` is `forward` and `update` of one agent at a time.
    """
    import torch

    import nchl
    from nchl.networks.checks import check_nodes

    nodes, population = list(check_nodes(args.nodes)), args.population

    def network(name: str, size: int | None) -> nchl.PlasticNetwork:
        keywords: dict[str, Any] = {"population": size, "dtype": torch.float32}
        if name == "wnchl":
            return nchl.WNcHL(nodes, window=args.window, **keywords)
        if name in IN_TIME:
            return nchl.NcHL(nodes, **IN_TIME[name], **keywords)
        return nchl.StaticMLP(nodes, **keywords) if name == "static" else nchl.PlasticMLP(nodes, name, **keywords)

    # Denormal numbers, which decaying weights meet, would be timed instead of the step.
    torch.set_flush_denormal(True)
    weights = torch.rand(population, sum(a * b for a, b in itertools.pairwise(nodes)))
    rules: dict[str, Any] = {}
    memory_passes = []
    for name in [*RULES, *(IN_TIME if len(nodes) > 2 else ()), *(args.rule or [])]:
        generator = torch.Generator().manual_seed(0)
        crowd, one = network(name, population), network(name, None)
        genome = torch.randn(one.nparams, generator=generator) * 0.05
        crowd.set_hrules(genome)
        one.set_hrules(genome)
        x = torch.randn(population, nodes[0], generator=generator)

        def step(crowd: nchl.PlasticNetwork = crowd, x: torch.Tensor = x) -> None:
            crowd.step(x)

        def naive(one: nchl.PlasticNetwork = one, x: torch.Tensor = x) -> None:
            one.forward(x[0])
            one.update()

        memory_passes.append(_microseconds(lambda: weights.mul_(1.0), args.repeats) / population)
        step_us, naive_us = _microseconds(step, args.repeats) / population, _microseconds(naive, args.repeats)
        rules[name] = {
            "step_us": step_us,
            "naive_us": naive_us,
            "speedup": naive_us / step_us,
            "memory_passes": step_us / memory_passes[-1],
            "weights": crowd.weights_per_individual,
            "backend": crowd.backend,
        }
    return {
        "population": population,
        "nodes": nodes,
        "threads": torch.get_num_threads(),
        "memory_pass_us": sorted(memory_passes)[len(memory_passes) // 2],
        "rules": rules,
    }


def text(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    lines = [
        f"one step of {result['population']} agents, {'-'.join(map(str, result['nodes']))}, float32, {result['threads']} threads",
        f"microseconds per agent and step; one pass over the weights' memory takes {result['memory_pass_us']:.2f}",
        f"{'rule':<24} {'step':>8} {'naive':>9} {'faster':>8} {'passes':>8}  back end",
    ]
    for name, row in result["rules"].items():
        numbers = f"{row['step_us']:>8.2f} {row['naive_us']:>9.1f} {row['speedup']:>7.0f}x {row['memory_passes']:>8.1f}"
        lines.append(f"{name.rpartition(':')[2]:<24} {numbers}  {row['backend']}")
    return "\n".join(lines)


def _microseconds(call: Callable[[], object], repeats: int) -> float:
    return 1e6 * median_seconds(call, repeats, at_least_s=0.01)
