"""How many evaluations CMA-ES and LM-MA-ES need to known optima in 10 and 100 dimensions, each beside its budget.

    python benchmarks/optima.py            # a table, and exit code 1 if a budget was not enough; about half an hour
    python benchmarks/optima.py --only lm-ma-es --dimensions 10

The functions are those of the tests: the sphere, the ellipsoid with condition number 10^6, and Rosenbrock's. A start is drawn
from N(0, 1) with sigma 0.5; reached means within 1e-8 of the optimum's value.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from nchl import strategies

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference import landscapes

TARGET = 1e-8
# (strategy, function, dimensions, population, budget of evaluations)
CASES = [
    ("cma-es", "sphere", 10, 10, 2_500),
    ("cma-es", "ellipsoid", 10, 10, 7_000),
    ("cma-es", "rosenbrock", 10, 10, 9_000),
    ("cma-es", "sphere", 100, 20, 16_000),
    ("cma-es", "ellipsoid", 100, 20, 500_000),
    ("cma-es", "rosenbrock", 100, 20, 600_000),
    ("lm-ma-es", "sphere", 10, 10, 3_000),
    ("lm-ma-es", "ellipsoid", 10, 10, 250_000),
    ("lm-ma-es", "rosenbrock", 10, 10, 20_000),
    ("lm-ma-es", "sphere", 100, 20, 16_000),
    ("lm-ma-es", "ellipsoid", 100, 18, 2_500_000),
    ("lm-ma-es", "rosenbrock", 100, 20, 500_000),
]


def evaluations(name: str, function: str, dimensions: int, population: int, budget: int) -> int | None:
    """Evaluations until the optimum, or None where the budget is not enough."""
    strategy = strategies.make(name, dimensions, population, seed=1, sigma=0.5)
    score = getattr(landscapes, function)
    for generation in range(1, budget // population + 1):
        strategy.tell(score(strategy.ask().rows()))
        if strategy.best_score >= -TARGET:
            return generation * population
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cma-es", "lm-ma-es"))
    parser.add_argument("--dimensions", type=int, choices=(10, 100))
    arguments = parser.parse_args()
    missed = 0
    print(f"{'strategy':<10}{'function':<12}{'dimensions':>10}{'population':>12}{'evaluations':>13}{'budget':>11}{'seconds':>9}")
    for name, function, dimensions, population, budget in CASES:
        if arguments.only not in (None, name) or arguments.dimensions not in (None, dimensions):
            continue
        begin = time.perf_counter()
        needed = evaluations(name, function, dimensions, population, budget)
        missed += needed is None
        shown = "missed" if needed is None else f"{needed:,}"
        seconds = time.perf_counter() - begin
        print(f"{name:<10}{function:<12}{dimensions:>10}{population:>12}{shown:>13}{budget:>11,}{seconds:>9.0f}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
