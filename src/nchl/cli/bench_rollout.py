"""Steps per second of a population that acts and rewires, beside the bare simulator.

The full run plays as `nchl evolve` does, in two lanes where the simulator can be divided. The bare run steps one simulator of
all threads with the actions that were recorded in the full run just before, so both do the same physics: a simulator's speed
depends on the actions. Full and bare runs alternate; medians are shown. Making the simulator
(and a compilation) is not inside. Use an idle machine.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from nchl.cli.parser import Once, Parser, add_options, at_least, given, one_of
from nchl.runs.settings.config import options
from nchl.simulators import CHOICES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nchl.networks.base import PlasticNetwork
    from nchl.tasks import Task

    Actions = list[tuple[Tensor, Tensor]]

_OF_THE_TASK = ("env", "observe", "action_repeat")
EPILOG = "example: nchl bench rollout HalfCheetah-v5 --json"


def add_arguments(parser: Parser) -> None:
    """The task, and what plays it."""
    parser.add_argument("task", metavar="TASK", help="a task, for example Ant-v5")
    parser.add_argument("--population", type=at_least(1), metavar="P", help="individuals side by side (default: 256; CarRacing-v3: 64)")
    parser.add_argument("--network", default="nchl", metavar="NAME", help="as for `nchl evolve` (default: nchl)")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", metavar="N", help="sizes of the hidden layers (default: 128 64)")
    parser.add_argument("--normalise", metavar="NAME", help="as for `nchl evolve`")
    parser.add_argument("--sharing", metavar="NAME", help="as for `nchl evolve`")
    parser.add_argument("--termwise", action="store_true", default=None, help="as for `nchl evolve`")
    parser.add_argument("--image-size", type=at_least(1), nargs=2, metavar=("H", "W"), help="default: what the network was published with")
    parser.add_argument(
        "--simulator",
        default="auto",
        action=Once,
        type=one_of("simulator", CHOICES),
        metavar="|".join(CHOICES),
        help="what plays the task (default: auto)",
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="of the networks, and of the simulator warp (default: cpu)")
    add_options(parser, [each for each in options() if each.name in _OF_THE_TASK])
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="threads of the simulator (default: one per processor)")
    parser.add_argument("--steps", type=at_least(1), default=300, metavar="N", help="longest life (default: 300)")
    parser.add_argument("--repetitions", type=at_least(1), default=3, metavar="N", help="full and bare runs (default: 3 of each)")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of rules, starts and weights (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; the keys that matter are `full_steps_per_s`, `bare_steps_per_s`, `ratio` and `population`."""
    import torch

    from nchl import tasks
    from nchl.networks.build import NetworkSpec
    from nchl.rollout import LANES
    from nchl.workers import Recipe
    from nchl.workers.build import network_of
    from nchl.workers.slices import edges

    size = args.image_size or {"conv-thesis": (64, 64), "conv-hml": (84, 84)}.get(args.network)
    words = given(args, [each for each in options() if each.name in _OF_THE_TASK])
    task = tasks.make(
        args.task, args.simulator, max_episode_steps=args.steps, image_size=size, threads=args.threads, device=args.device, **words
    )
    population = args.population or min(256, task.largest_slice)
    spec = NetworkSpec(
        network=args.network,
        hidden=None if args.hidden is None else tuple(args.hidden),
        normalise=args.normalise,
        sharing=args.sharing,
        termwise=args.termwise,
    )
    parts = task.divided(LANES) if torch.device(args.device).type == "cpu" else [task]
    cuts = edges(population, len(parts))
    sizes = [last - first for first, last in itertools.pairwise(cuts)]
    recipe = Recipe(task.id, spec, seed=args.seed, population=population, image_size=size, device=args.device)
    networks = [network_of(recipe, part, rows) for part, rows in zip(parts[: len(sizes)], sizes, strict=True)]
    network = networks[0]
    full, bare, steps = _measure(networks, parts[: len(sizes)], task, args.seed, args.repetitions)
    waiting = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    result = {
        "full_steps_per_s": statistics.median(full),
        "bare_steps_per_s": statistics.median(bare),
        "ratio": statistics.median(full) / statistics.median(bare),
        "population": population,
        "task": task.id,
        "simulator": task.simulator.name,
        "device": args.device,
        "network": args.network,
        "network_back_end": network.backend,
        "action_repeat": task.action_repeat,
        "lanes": len(networks),
        "env_steps_per_run": steps,
        "repetitions": args.repetitions,
        "all_full_steps_per_s": full,
        "all_bare_steps_per_s": bare,
        "pool_making_inside": False,
        "torch_threads": torch.get_num_threads(),
        "waiting": waiting,
        "notes": [*task.notes, *getattr(network, "notes", [])],
    }
    if not waiting.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        result["notes"].append("OMP_WAIT_POLICY and GOMP_SPINCOUNT are not set: idle threads spin and take time from the simulator")
    task.close()
    return result


def _measure(
    networks: list[PlasticNetwork], parts: list[Task], whole: Task, seed: int, repetitions: int
) -> tuple[list[float], list[float], int]:
    """Steps per second of the full and of the bare runs, and steps of one run."""
    import dataclasses

    import numpy as np
    import torch

    from nchl.rollout import Lanes, Recorder
    from nchl.rollout.play import Played, play
    from nchl.rollout.scores import begin, check
    from nchl.seeds import Purpose
    from nchl.simulators.base import Seeds, Start

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
        # To read the sum waits for a GPU.
        return float(total), time.perf_counter() - clock

    full(min(5, whole.step_limit))  # compiles, where that is done
    fast, slow, steps = [], [], 0
    for _ in range(repetitions):
        seconds, steps, returns, taken = full(whole.step_limit)
        fast.append(steps / seconds)
        total, seconds = bare(taken)
        slow.append(steps / seconds)
        # The same physics, or the comparison means nothing. A GPU adds the forces of contacts in no fixed order, and they are chaotic.
        on_cpu = whole.simulator.device.type == "cpu"
        assert not on_cpu or not np.isfinite(returns) or abs(total - returns) <= 1e-3 * max(1.0, abs(returns)), (total, returns)
    lanes.close()
    for part in parts:
        part.close()
    return fast, slow, steps


def _each_step(decisions: Actions, lengths: np.ndarray, times: int) -> Actions:
    """What was done at each step of the simulator, where every action was repeated until its episode ended.

    Args:
        decisions: each decision's actions, and the environments that were active.
        lengths: steps of each episode, (n,).
        times: steps for each action.
    """
    import torch

    ends = torch.from_numpy(lengths).to(decisions[0][1].device)
    steps = [
        (actions, active & (ends > decision * times + k)) for decision, (actions, active) in enumerate(decisions) for k in range(times)
    ]
    return [step for step in steps if step[1].any()]


def text(result: dict[str, Any]) -> str:
    """Three lines and the notes."""
    return "\n".join(
        [
            f"{result['task']} on {result['simulator']}, {result['population']} individuals, network {result['network']} "
            f"({result['network_back_end']}), {result['env_steps_per_run']:,} steps a run, median of {result['repetitions']}",
            f"acting and rewiring  {result['full_steps_per_s']:>12,.0f} steps/s",
            f"bare simulator       {result['bare_steps_per_s']:>12,.0f} steps/s (replaying the same actions; making it is not inside)",
            f"ratio                {result['ratio']:>12.3f}",
            *result["notes"],
        ]
    )
