"""Small runs for tests, how two of them are compared, and a program that another process can run and be killed in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nchl.runs.store.metrics import is_machine_column, read_metrics

SMALL: dict[str, Any] = {"hidden": (4,), "population": 8, "generations": 6, "seed": 3}

# Checkpoints after each generation, so that a killed process leaves new ones; each generation is told on stdout.
PROGRAM = """
import json, sys
from nchl.runs.session import recorder
recorder.CHECKPOINT_SECONDS = 0.0
from nchl.errors import NchlError
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
verb, folder, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tell = dict(
    on_generation=lambda generation: print(generation.generation, flush=True),
    on_note=lambda line: print(line, file=sys.stderr, flush=True),
)
try:
    result = run(options.pop("task"), folder, **options, **tell) if verb == "run" else resume(folder, **tell)
except NchlError as error:
    print(error, file=sys.stderr)
    raise SystemExit(2)
raise SystemExit(result.exit_code)
"""

# In front of a program: generation 2 is evaluated again and again until something ends it, so that a signal sent after the line
# on stderr comes in the middle of a generation, however busy the machine is.
UNDER_WAY = "a generation is under way"
ENDLESS_GENERATION = f"""
import sys
from nchl.workers.local import LocalWorkers
evaluate = LocalWorkers.rollout
def again_and_again(*arguments, generation, **more):
    scores = evaluate(*arguments, generation=generation, **more)
    if generation == 2:
        print({UNDER_WAY!r}, file=sys.stderr, flush=True)
        while True:
            evaluate(*arguments, generation=generation, **more)
    return scores
LocalWorkers.rollout = again_and_again
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300.0) -> None:
    """Return once a condition holds, which other processes bring about; fail at a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)


def start(verb: str, folder: Path, options: str = "{}", before: str = "") -> subprocess.Popen[str]:
    """The program, in a process of its own, after what is to be done `before`; each line of its output is a finished generation."""
    words = [sys.executable, "-c", before + PROGRAM, verb, str(folder), options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder: Path) -> tuple[bytes, bytes, list[dict[str, str]]]:
    """The results of a run that do not depend on the machine: centre, best, and the metrics without the machine's columns."""
    rows = read_metrics(folder / "metrics.csv")
    metrics = [{name: cell for name, cell in row.items() if not is_machine_column(name)} for row in rows]
    return (folder / "centre.safetensors").read_bytes(), (folder / "best.safetensors").read_bytes(), metrics
