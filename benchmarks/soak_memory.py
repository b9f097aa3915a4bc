"""Plays many generations of short lives and prints the memory that the process holds: it must stay flat.

    python benchmarks/soak_memory.py Ant-v5 --generations 500

Exit status 1: the last fifth of the run held more than `--allowed` MB more than the second fifth.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import psutil

from nchl import tasks
from nchl.networks.mlp import NcHL
from nchl.rollout import rollout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="Ant-v5")
    parser.add_argument("--generations", type=int, default=500)
    parser.add_argument("--population", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5, help="longest life")
    parser.add_argument("--allowed", type=float, default=30.0, help="MB")
    args = parser.parse_args()

    task = tasks.make(args.task, max_episode_steps=args.steps)
    network = NcHL([*task.observation_shape, 8, task.action_size], population=min(args.population, task.largest_slice))
    genomes = np.random.default_rng(0).standard_normal((args.population, network.nparams), dtype=np.float32)
    process = psutil.Process()
    held = []
    for generation in range(args.generations):
        rollout(network, task, genomes, run_seed=0, generation=generation)
        held.append(process.memory_info().rss / 2**20)
        if generation % max(1, args.generations // 10) == 0:
            print(f"generation {generation:>5}  {held[-1]:8.1f} MB", flush=True)
    fifth = max(1, len(held) // 5)
    growth = max(held[-fifth:]) - max(held[fifth : 2 * fifth] or held)
    print(f"last fifth - second fifth: {growth:+.1f} MB")
    return int(growth > args.allowed)


if __name__ == "__main__":
    sys.exit(main())
