"""Try ids of EnvPool (and Gymnasium): make each in a process of its own, play ten steps, and print how many play.

    python benchmarks/every_environment.py                   # all, some 1,700 processes: hours on two cores
    python benchmarks/every_environment.py --sample 3        # three of each family, evenly spread over its ids
    python benchmarks/every_environment.py --family playground dm_control

A process of its own, because a simulator in C++ may end the process that it is in. Prints one line for each id that does not play,
with the reason, and a table of families at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PROGRAM = """
import sys
import torch
from nchl import tasks
from nchl.errors import NchlError
from nchl.simulators.base import Seeds

id, simulator = sys.argv[1:]
try:
    task = tasks.make(id, simulator, threads=1)
    raw, active = task.reset(Seeds.of([1, 2])), torch.ones(2, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        assert torch.isfinite(task.map_observations(raw)[active]).all(), "an observation is not finite"
        outputs = torch.randn(2, task.action_size, generator=generator)
        step = task.step(task.map_actions(outputs, False), active)
        assert torch.isfinite(step.rewards).all(), "a reward is not finite"
        raw, active = step.observations, active & ~(step.terminated | step.truncated)
    task.close()
except (NchlError, AssertionError) as error:
    print(" ".join(str(error).split())[:300])
    sys.exit(3)
"""
SECONDS = 300


def tried(id: str, simulator: str) -> str:
    """Empty where it plays, else the reason why it does not."""
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM, id, simulator], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    if done.returncode == 0:
        return ""
    if done.returncode == 3:
        return done.stdout.strip().splitlines()[-1]
    return f"the process ended with {done.returncode}: {(done.stderr.strip().splitlines() or ['no word'])[-1][:200]}"


def main() -> None:
    """Try what the command line names."""
    from nchl.simulators import families

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulator", default="envpool", choices=("envpool", "gymnasium"))
    parser.add_argument("--family", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--sample", type=int, metavar="N", help="so many ids of each family, evenly spread")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes side by side (default: 2)")
    arguments = parser.parse_args()
    every = families.of_envpool() if arguments.simulator == "envpool" else families.of_gymnasium()
    table = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for family, ids in every.items():
            if arguments.family and family not in arguments.family:
                continue
            count = min(arguments.sample or len(ids), len(ids))
            chosen = [ids[k * len(ids) // count] for k in range(count)]
            reasons = list(pool.map(lambda id: tried(id, arguments.simulator), chosen))
            for id, reason in zip(chosen, reasons, strict=True):
                if reason:
                    print(f"{id}: {reason}", flush=True)
            table.append((family, len(ids), len(chosen), reasons.count("")))
    print(f"\n{'family':16} {'ids':>5} {'tried':>6} {'play':>5}")
    for family, total, number, play in table:
        print(f"{family:16} {total:5} {number:6} {play:5}")
    print(f"{'all':16} {sum(row[1] for row in table):5} {sum(row[2] for row in table):6} {sum(row[3] for row in table):5}")


if __name__ == "__main__":
    main()
