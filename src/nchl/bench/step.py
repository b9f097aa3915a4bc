"""Microseconds per individual and step of each rule, beside the naive code and a pass over the memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

import nchl
from nchl.bench.timing import median_seconds
from nchl.networks.checks import check_nodes

RULES = ("nchl", "hl", "wnchl", "static")
# NcHL with settings of plasticity in time, beside the plain one.
IN_TIME: dict[str, dict[str, Any]] = {
    "nchl average every": {"average": "ema:0.1", "every": 4},
    "nchl average every trace": {"average": "ema:0.1", "every": 4, "trace": 0.9},
    "nchl recurrent": {"recurrent": True},
}


def measure(nodes: Sequence[int], population: int, *, window: int, rules: Sequence[str] = (), repeats: int) -> dict[str, Any]:
    """Microseconds per individual and step of each rule.

    Args:
        nodes: layer sizes.
        population: individuals that step together.
        window: of the weightless network, in steps.
        rules: further rules, `FILE.py:NAME`.
        repeats: measurements of each rule; the median counts.

    Returns:
        `{"population", "nodes", "threads", "memory_pass_us", "rules": {name: {"step_us", "naive_us", "speedup", "memory_passes",
        "weights", "backend"}}}`; `step_us` is the population's `step`, `naive_us` is `forward` and `update` of one individual.
    """
    nodes = list(check_nodes(nodes))

    def network(name: str, size: int | None) -> nchl.PlasticNetwork:
        keywords: dict[str, Any] = {"population": size, "dtype": torch.float32}
        if name == "wnchl":
            return nchl.WNcHL(nodes, window=window, **keywords)
        if name in IN_TIME:
            return nchl.NcHL(nodes, **IN_TIME[name], **keywords)
        return nchl.StaticMLP(nodes, **keywords) if name == "static" else nchl.PlasticMLP(nodes, name, **keywords)

    # Decaying weights become denormal numbers, whose slow arithmetic would be timed instead of the step.
    torch.set_flush_denormal(True)
    weights = torch.rand(population, sum(a * b for a, b in itertools.pairwise(nodes)))
    rows: dict[str, Any] = {}
    memory_passes = []
    for name in [*RULES, *(IN_TIME if len(nodes) > 2 else ()), *rules]:
        generator = torch.Generator().manual_seed(0)
        together, one = network(name, population), network(name, None)
        genome = torch.randn(one.nparams, generator=generator) * 0.05
        together.set_hrules(genome)
        one.set_hrules(genome)
        x = torch.randn(population, nodes[0], generator=generator)

        def step(together: nchl.PlasticNetwork = together, x: torch.Tensor = x) -> None:
            together.step(x)

        def naive(one: nchl.PlasticNetwork = one, x: torch.Tensor = x) -> None:
            one.forward(x[0])
            one.update()

        memory_passes.append(_microseconds(lambda: weights.mul_(1.0), repeats) / population)
        step_us, naive_us = _microseconds(step, repeats) / population, _microseconds(naive, repeats)
        rows[name] = {
            "step_us": step_us,
            "naive_us": naive_us,
            "speedup": naive_us / step_us,
            "memory_passes": step_us / memory_passes[-1],
            "weights": together.weights_per_individual,
            "backend": together.backend,
        }
    return {
        "population": population,
        "nodes": nodes,
        "threads": torch.get_num_threads(),
        "memory_pass_us": sorted(memory_passes)[len(memory_passes) // 2],
        "rules": rows,
    }


def _microseconds(call: Callable[[], object], repeats: int) -> float:
    return 1e6 * median_seconds(call, repeats, at_least_s=0.01)
