"""Long runs in one process: what they hold must stay flat.

    python benchmarks/soak.py long CartPole-v1 --generations 2000      a whole run in its folder, as `nchl evolve` makes one
    python benchmarks/soak.py lives Ant-v5 --generations 500           nothing but very short lives, so that each start counts
    python benchmarks/soak.py fuzz --cases 10000 --seed 1              configurations, genomes, observations, files, command lines

Resident memory and open files are looked at after every generation. Exit status 1: memory at the end is more than `--allowed`
above that after the first tenth, or the number of open files has changed since then; or, of `fuzz`, an error came out that is
not a documented one.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil


class Watch:
    """Resident memory and open files of this process, generation by generation."""

    def __init__(self, generations: int) -> None:
        self._process = psutil.Process()
        self._generations = generations
        self._begun = time.monotonic()
        self.megabytes: list[float] = []
        self.files: list[int] = []

    def look(self) -> None:
        self.megabytes.append(self._process.memory_info().rss / 2**20)
        self.files.append(self._process.num_fds())
        done = len(self.megabytes)
        if done % max(1, self._generations // 10) == 0:
            seconds = time.monotonic() - self._begun
            print(f"generation {done:>6}  {self.megabytes[-1]:8.1f} MB  {self.files[-1]:>4} open files  {seconds:7.0f} s", flush=True)

    def verdict(self, allowed: float) -> int:
        tenth = max(1, len(self.megabytes) // 10) - 1
        before, after = self.megabytes[tenth], self.megabytes[-1]
        grown = after / before - 1
        files = f"{self.files[tenth]} then, {self.files[-1]} at the end, {min(self.files[tenth:])} to {max(self.files[tenth:])} between"
        print(f"memory: {before:.1f} MB after the first tenth, {after:.1f} MB at the end: {grown:+.1%}; open files: {files}")
        return int(grown > allowed or self.files[-1] != self.files[tenth])


def long(args: argparse.Namespace, watch: Watch) -> None:
    """A run with everything that it writes: metrics, events, checkpoints, results."""
    import nchl

    with tempfile.TemporaryDirectory() as folder:
        nchl.run(
            args.task,
            Path(folder) / "run",
            hidden=[16],
            population=args.population,
            generations=args.generations,
            normalise_observations=True,
            initial_genome="normal" if args.learning else "zeros",
            lr=0.2 if args.learning else 0.001,
            on_generation=lambda _: watch.look(),
        )


def lives(args: argparse.Namespace, watch: Watch) -> None:
    """Rollouts that end after a few steps: all that is made anew for each generation is made very often."""
    from nchl import tasks
    from nchl.networks.mlp import NcHL
    from nchl.rollout import rollout

    task = tasks.make(args.task, max_episode_steps=args.steps)
    network = NcHL([*task.observation_shape, 8, task.action_size], population=min(args.population, task.largest_slice))
    genomes = np.random.default_rng(0).standard_normal((args.population, network.nparams), dtype=np.float32)
    for generation in range(args.generations):
        rollout(network, task, genomes, run_seed=0, generation=generation)
        watch.look()


def fuzz(args: argparse.Namespace) -> int:
    """Cases of every kind that the tests know, new ones with every seed."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from reference.fuzz import TARGETS, Workspace
    from reference.fuzz import fuzz as play

    begun, total, defects = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for name in TARGETS:
            try:
                played, refused = play(name, -(-args.cases // len(TARGETS)), workspace, chance=args.seed)
            except Exception:
                traceback.print_exc()
                defects += 1
                continue
            total += played
            print(f"{name:<20} {played:>6} cases, {refused:>6} of them refused by a documented error", flush=True)
    print(f"{total} cases, {defects} kinds with a defect, {time.monotonic() - begun:.0f} s")
    return int(defects > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    kinds: dict[str, tuple[Callable[[argparse.Namespace, Watch], None], str, int, int]] = {
        "long": (long, "CartPole-v1", 2000, 16),
        "lives": (lives, "Ant-v5", 500, 200),
    }
    for name, (function, task, generations, population) in kinds.items():
        verb = verbs.add_parser(name, help=function.__doc__)
        verb.add_argument("task", nargs="?", default=task)
        verb.add_argument("--generations", type=int, default=generations)
        verb.add_argument("--population", type=int, default=population)
        verb.add_argument("--steps", type=int, default=5, help="longest life, for `lives`")
        verb.add_argument("--learning", action="store_true", help="let `long` learn: its lives become long, and the run with them")
        verb.add_argument("--allowed", type=float, default=0.1, help="growth of the memory after the first tenth")
        verb.set_defaults(function=function)
    verb = verbs.add_parser("fuzz", help=fuzz.__doc__)
    verb.add_argument("--cases", type=int, default=10_000)
    verb.add_argument("--seed", type=int, default=1)
    verb.set_defaults(function=None)
    args = parser.parse_args()
    if args.function is None:
        return fuzz(args)
    watch = Watch(args.generations)
    args.function(args, watch)
    gc.collect()
    return watch.verdict(args.allowed)


if __name__ == "__main__":
    sys.exit(main())
