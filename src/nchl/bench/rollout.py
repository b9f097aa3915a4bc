"""Steps per second of a population that acts and rewires, beside the bare simulator in the same run; see `nchl bench rollout --help`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nchl import tasks
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import NetworkSpec
from nchl.rollout import LANES, Lanes, Recorder
from nchl.rollout.play import Played, play
from nchl.rollout.scores import begin, check
from nchl.seeds import Purpose
from nchl.simulators.base import Seeds, Start
from nchl.tasks import Task
from nchl.workers import Recipe
from nchl.workers.build import network_of
from nchl.workers.slices import edges

Actions = list[tuple[Tensor, Tensor]]


def measure(
    task_id: str,
    spec: NetworkSpec,
    *,
    population: int | None = None,
    image_size: tuple[int, int] | None = None,
    simulator: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    steps: int = 300,
    repetitions: int = 3,
    seed: int = 0,
    **settings: Any,
) -> dict[str, Any]:
    """Steps per second of full and bare runs.

    Args:
        task_id: a task.
        spec: the network.
        population: individuals that play together; None: 256, or fewer where the task's memory is bounded.
        image_size: (height, width) of pictures; None: the size that the network was published with.
        simulator: name, or `auto`.
        device: of the networks, and of simulators that compute on one.
        threads: of the simulator; None: one per processor.
        steps: longest episode.
        repetitions: full and bare runs.
        seed: of rules, starts and weights.
        **settings: further keywords of `tasks.make`.

    Returns:
        A flat mapping; the keys that matter are `full_steps_per_s`, `bare_steps_per_s`, `ratio` and `population`.
    """
    size = image_size or {"conv-thesis": (64, 64), "conv-hml": (84, 84)}.get(spec.network)
    task = tasks.make(task_id, simulator, max_episode_steps=steps, image_size=size, threads=threads, device=device, **settings)
    population = population or min(256, task.largest_slice)
    parts = task.divided(LANES) if torch.device(device).type == "cpu" else [task]
    cuts = edges(population, len(parts))
    sizes = [last - first for first, last in itertools.pairwise(cuts)]
    recipe = Recipe(task.id, spec, seed=seed, population=population, image_size=size, device=device)
    networks = [network_of(recipe, part, rows) for part, rows in zip(parts[: len(sizes)], sizes, strict=True)]
    network = networks[0]
    full, bare, played = _measure(networks, parts[: len(sizes)], task, seed, repetitions)
    waiting = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    notes = [*task.notes, *getattr(network, "notes", [])]
    if not waiting.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        notes.append("OMP_WAIT_POLICY and GOMP_SPINCOUNT are not set: idle threads spin and take time from the simulator")
    task.close()
    return {
        "full_steps_per_s": statistics.median(full),
        "bare_steps_per_s": statistics.median(bare),
        "ratio": statistics.median(full) / statistics.median(bare),
        "population": population,
        "task": task.id,
        "simulator": task.simulator.name,
        "device": device,
        "network": spec.network,
        "network_back_end": network.backend,
        "action_repeat": task.action_repeat,
        "lanes": len(networks),
        "env_steps_per_run": played,
        "repetitions": repetitions,
        "all_full_steps_per_s": full,
        "all_bare_steps_per_s": bare,
        "pool_making_inside": False,
        "torch_threads": torch.get_num_threads(),
        "waiting": waiting,
        "notes": notes,
    }


def _measure(
    networks: list[PlasticNetwork], parts: list[Task], whole: Task, seed: int, repetitions: int
) -> tuple[list[float], list[float], int]:
    """Steps per second of the full and of the bare runs, and steps of one run."""
    lanes = Lanes(len(parts))
    sizes = [int(network.population or 1) for network in networks]
    generator, start = np.random.default_rng(seed), Start(seed, Purpose.TRAINING, 0)
    for network in networks:
        check(network, whole)
        # N(0, 1), where every search begins.
        network.set_hrules(generator.standard_normal((int(network.population or 1), network.nparams), dtype=np.float32))

    def full(limit: int) -> tuple[float, int, float, list[Actions]]:
        recorders, jobs = [Recorder() for _ in parts], []
        for network, part, size, recorder in zip(networks, parts, sizes, recorders, strict=True):
            begin(network, [seed])
            limited = dataclasses.replace(part, step_limit=limit)
            first = limited.reset(Seeds.shared(size, start))
            jobs.append(functools.partial(play, network, limited, first, np.ones(size, dtype=np.bool_), recorder=recorder))
        clock = time.perf_counter()
        played: list[Played] = lanes.run(jobs)
        seconds = time.perf_counter() - clock
        taken = [_each_step(recorder.steps, p.lengths, whole.action_repeat) for recorder, p in zip(recorders, played, strict=True)]
        return seconds, sum(int(p.lengths.sum()) for p in played), float(sum(np.nansum(p.returns) for p in played)), taken

    def bare(taken: list[Actions]) -> tuple[float, float]:
        """The sum of all rewards, and seconds."""
        whole.reset(Seeds.shared(sum(sizes), start))
        idle = [(torch.zeros_like(each[0][0]), torch.zeros_like(each[0][1])) for each in taken]
        steps = []
        for together in itertools.zip_longest(*taken):
            acted = [none if step is None else step for step, none in zip(together, idle, strict=True)]
            steps.append(whole.simulator.ready(torch.cat([actions for actions, _ in acted]), torch.cat([active for _, active in acted])))
        total, clock = torch.zeros((), dtype=torch.float64, device=whole.simulator.device), time.perf_counter()
        for step in steps:
            total += step().sum(dtype=torch.float64)
        # Reading the sum waits for a GPU to finish.
        return float(total), time.perf_counter() - clock

    full(min(5, whole.step_limit))  # compiles where the back end does
    fast, slow, steps = [], [], 0
    for _ in range(repetitions):
        seconds, steps, returns, taken = full(whole.step_limit)
        fast.append(steps / seconds)
        total, seconds = bare(taken)
        slow.append(steps / seconds)
        # The comparison needs the same physics. A GPU adds contact forces in no fixed order, and their sums diverge.
        on_cpu = whole.simulator.device.type == "cpu"
        assert not on_cpu or not np.isfinite(returns) or abs(total - returns) <= 1e-3 * max(1.0, abs(returns)), (total, returns)
    lanes.close()
    for part in parts:
        part.close()
    return fast, slow, steps


def _each_step(decisions: Actions, lengths: np.ndarray, times: int) -> Actions:
    """The actions of each simulator step, where every decision was repeated until its episode ended.

    Args:
        decisions: each decision's actions, and a mask of the active environments.
        lengths: steps of each episode, (n,).
        times: steps for each action.
    """
    ends = torch.from_numpy(lengths).to(decisions[0][1].device)
    steps = [
        (actions, active & (ends > decision * times + k)) for decision, (actions, active) in enumerate(decisions) for k in range(times)
    ]
    return [step for step in steps if step[1].any()]
