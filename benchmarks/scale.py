"""How far it scales, measured on this machine: `python benchmarks/scale.py processes|traffic|driver`.

processes  two one-thread workers beside one, and two processes of the bare simulator beside one, in turns
traffic    bytes that travel per generation, for genomes of different lengths
driver     seconds and memory of a generation in the driver alone: 10,000 individuals of 173,284 numbers
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from nchl import strategies
from nchl.evolve import Evolution, Limits
from nchl.networks.build import NetworkSpec
from nchl.rollout import Rollout
from nchl.runs.store.metrics import resident_mb
from nchl.seeds import Purpose
from nchl.strategies import GaussianPopulation
from nchl.workers import LocalWorkers, Recipe, process_workers

# Plays the bare simulator with fixed random actions when told to: "environments steps" -> seconds.
BARE = """
import sys, time
import numpy as np
import torch
from nchl import tasks
from nchl.seeds import Purpose
from nchl.simulators.base import Seeds, Start
size, steps = int(sys.argv[2]), int(sys.argv[3])
simulator = tasks.make(sys.argv[1], threads=1).simulator
actions = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (steps, size, *simulator.action_space.shape)))
active = torch.ones(size, dtype=torch.bool)
simulator.reset(Seeds.shared(size, Start(0, Purpose.TRAINING, 0)))
for generation, _ in enumerate(sys.stdin, 1):
    simulator.reset(Seeds.shared(size, Start(0, Purpose.TRAINING, generation)))
    begin = time.perf_counter()
    for action in actions:
        simulator.step(action, active)
    print(time.perf_counter() - begin, flush=True)
"""


def processes(task: str, population: int, repetitions: int) -> dict[str, Any]:
    """Steps per second of one and two workers, of one and two bare simulators; medians, all four in turns."""
    conv = task == "CarRacing-v3"
    recipe = Recipe(
        task,
        NetworkSpec(network="conv-thesis") if conv else NetworkSpec(hidden=(128, 64)),
        seed=0,
        population=population,
        image_size=(64, 64) if conv else None,
        threads=1,
    )
    crews = {count: process_workers(recipe, count) for count in (1, 2)}
    nparams = crews[1].nparams
    steps, lives = 100 if conv else 500, population // 2
    bare = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, task, str(lives), str(steps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    figures: dict[str, list[float]] = {f"{who}_{count}": [] for who in ("workers", "bare") for count in (1, 2)}
    # The same generation each time: the same lives.
    noise = GaussianPopulation(np.zeros(nparams), 0.5, population, seed=0, generation=0, antithetic=True)
    for crew in crews.values():  # starts them
        crew.evaluate(noise.rows(0, 1), generation=0, purpose=Purpose.VALIDATION, episodes=2)
    for repetition in range(repetitions + 1):
        for count in (1, 2):
            begin = time.perf_counter()
            scores = crews[count].rollout(noise, generation=0)
            worked = scores.env_steps / (time.perf_counter() - begin)
            begin = time.perf_counter()
            for process in bare[:count]:
                process.stdin.write("go\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            for process in bare[:count]:
                process.stdout.readline()  # type: ignore[union-attr]
            played = count * lives * steps / (time.perf_counter() - begin)
            if repetition:  # in the first one caches and pools are cold
                figures[f"workers_{count}"].append(worked)
                figures[f"bare_{count}"].append(played)
        print(f"{figures}", file=sys.stderr, flush=True)
    for process in bare:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    for crew in crews.values():
        crew.close()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    scaling = {who: medians[f"{who}_2"] / medians[f"{who}_1"] for who in ("workers", "bare")}
    return {
        "task": task,
        "population": population,
        "steps_per_s": medians,
        "all_steps_per_s": figures,
        "scaling": scaling,
        "ratio": scaling["workers"] / scaling["bare"],
        "target": 0.95,
    }


def traffic() -> dict[str, Any]:
    """Bytes of one generation of 200 individuals with two workers, by strategy and length of the genome."""
    lines = []
    for hidden in ((8,), (128, 64), (512, 512)):
        recipe = Recipe("CartPole-v1", NetworkSpec(hidden=hidden), seed=0, population=200)
        workers = process_workers(recipe, 2)
        for name in ("openai-es", "elite", "lm-ma-es", "cma-es"):
            if name == "cma-es" and workers.nparams > 3000:
                continue
            strategy = strategies.make(name, workers.nparams, 200, 0)
            for generation in range(2):  # the second: LM-MA-ES has a first vector to send by then
                sent, received = workers.sent_bytes, workers.received_bytes
                population = strategy.ask()
                strategy.tell(workers.rollout(population, generation=generation).fitness)
            sent, received = workers.sent_bytes - sent, workers.received_bytes - received
            description = sum(v.nbytes for v in population.describe().values() if isinstance(v, np.ndarray))
            lines.append(
                {
                    "strategy": name,
                    "nparams": workers.nparams,
                    "description_bytes": description,
                    "sent_bytes": sent,
                    "sent_without_descriptions_bytes": sent - 2 * description,
                    "received_bytes": received,
                    "received_per_individual_bytes": received / 200,
                }
            )
        workers.close()
    return {"workers": 2, "population": 200, "generations": lines}


class Constant(LocalWorkers):
    """Each individual gets a score that costs nothing."""

    def __init__(self, nparams: int) -> None:
        self.nparams = nparams

    def rollout(self, population: Any, **_: Any) -> Rollout:
        scores = np.random.default_rng(0).standard_normal(len(population))
        return Rollout(scores, scores[:, None], np.ones((len(population), 1), dtype=np.int64), 0)


def driver(population: int, size: int, generations: int, name: str, optimizer: str | None) -> dict[str, Any]:
    """Seconds of a generation in the driver alone, everything but the evaluation inside."""
    strategy = strategies.make(name, size, population, 0, **({} if optimizer is None else {"optimizer": optimizer}))
    seconds, begin = [], time.perf_counter()
    for _ in Evolution(strategy, Constant(size), Limits(generations)):
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return {
        "strategy": name,
        "settings": strategy.settings,
        "population": population,
        "nparams": size,
        "seconds_per_generation": statistics.median(seconds),
        "all_seconds": seconds,
        "largest_resident_mb": resident_mb(),
        "target": "20 s and 4096 MB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("processes", "traffic", "driver"))
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--population", type=int)
    parser.add_argument("--size", type=int, default=173_284)
    parser.add_argument("--strategy", default="openai-es", help="of driver")
    parser.add_argument("--optimizer", help="of driver: sgd, adam or clipup")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    if args.what == "processes":
        result = processes(args.task, args.population or (32 if args.task == "CarRacing-v3" else 128), args.repetitions)
    elif args.what == "traffic":
        result = traffic()
    else:
        result = driver(args.population or 10_000, args.size, args.repetitions, args.strategy, args.optimizer)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
