"""Speeds of this tree beside those of an earlier commit, in one run: `python benchmarks/before_and_after.py COMMIT`.

The commit is checked out into a git worktree, and both trees run their own `nchl bench` in turn, so that a slow minute of the machine
hits both. Printed are the medians of each and their ratio: above 1, this tree is faster. Use an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What is measured: a name, the command, and how its JSON gives figures that are better when they are lower.
MEASUREMENTS = {
    "step": (["bench", "step", "--json"], lambda d: {f"step {rule} (us)": row["step_us"] for rule, row in d["rules"].items()}),
    "conv": (
        ["bench", "conv", "--json"],
        lambda d: {f"conv {row['sharing']}{' termwise' * row['termwise']} (ms)": row["step_ms"] for row in d["rows"]},
    ),
    "cheetah": (
        ["bench", "rollout", "HalfCheetah-v5", "--json"],
        lambda d: {"rollout HalfCheetah-v5 (us a step)": 1e6 / d["full_steps_per_s"]},
    ),
    "ant": (["bench", "rollout", "Ant-v5", "--json"], lambda d: {"rollout Ant-v5 (us a step)": 1e6 / d["full_steps_per_s"]}),
}


@contextlib.contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """The source of a commit in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(place), commit], cwd=ROOT, check=True)
        try:
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=ROOT, check=True)


def figures(tree: Path, name: str) -> dict[str, float]:
    """One measurement of one tree."""
    command, read = MEASUREMENTS[name]
    program = "import sys; from nchl.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    done = subprocess.run([sys.executable, "-c", program, *command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {tree}:\n{done.stderr}")
    return read(json.loads(done.stdout))


def main() -> None:
    """Alternate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the earlier commit")
    parser.add_argument("--alternations", type=int, default=5, metavar="N", help="measurements of each tree (default: 5)")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="what to measure (default: all)")
    args = parser.parse_args()
    with worktree(args.commit) as before:
        for name in args.only:
            taken: dict[str, dict[str, list[float]]] = {}
            for _ in range(args.alternations):
                for tree, label in ((before, "before"), (ROOT, "after")):
                    for key, value in figures(tree, name).items():
                        taken.setdefault(key, {}).setdefault(label, []).append(value)
            for key, sides in taken.items():
                if len(sides) == 2:
                    old, new = (statistics.median(sides[label]) for label in ("before", "after"))
                    print(f"{key:<40} before {old:10.3f}  after {new:10.3f}  ratio {old / new:5.2f}", flush=True)


if __name__ == "__main__":
    main()
