"""Run folders as `nchl evolve` leaves them, written by hand: a comparison reads nothing else of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from nchl.runs.files.tensors import write_tensors
from nchl.runs.files.writing import write_json
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import COLUMNS
from nchl.runs.store.record import Record


def write_run(
    folder: Path,
    means: Sequence[float],
    *,
    task: str = "CartPole-v1",
    reason: str | None = "generations",
    simulator: str = "envpool",
    nparams: int = 7,
    columns: dict[str, Sequence[float]] | None = None,
    versions: Mapping[str, str] | None = None,
    sessions: list[dict[str, Any]] | None = None,
    **options: Any,
) -> Path:
    """A run whose generations have these mean fitnesses, and ten steps per episode."""
    options.setdefault("generations", len(means))
    config = EvolveConfig.create(task, **{"population": 10, "hidden": (4,), **options})
    # Without waiting for the disk, hundreds of runs are written in a second.
    with patch("os.fsync"):
        made_with = dict(versions or {})
        same_bits = {"simulator": simulator, **{name: made_with[name] for name in made_with if not name.startswith("nchl")}}
        run = RunFolder.create(folder, Record(config, same_bits, {}, made_with, [], "", sessions=sessions))
    size = int(config.population or 0)
    rows = []
    for place, mean in enumerate(means):
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        done = (place + 1) * size
        row |= {"generation": place + 1, "evaluations": done, "env_steps": 10 * done, "mean": mean, "best_so_far": max(means[: place + 1])}
        row |= {name: values[place] for name, values in (columns or {}).items()}
        rows.append(",".join(str(row[name]) for name in COLUMNS))
    run.metrics.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    with patch("os.fsync"):
        for path in (run.best, run.centre):
            write_tensors(path, {"genome": np.full(nparams, float(sum(means)))}, {"kind": "test"})
        if reason is not None:
            write_json(run.summary, {"reason": reason, "generations": len(means)})
    return folder


def write_evaluation(
    folder: Path,
    mean: float,
    *,
    digest: str,
    episodes: int = 100,
    seed: int = 10000,
    non_finite: int = 0,
    **more: Any,
) -> None:
    """The evaluation that `compare --evaluate` stores in a run's folder."""
    about = {"best_sha256": digest, "mean": mean, "episodes": episodes, "seed": seed, "non_finite": non_finite, **more}
    (folder / "evaluation.json").write_text(json.dumps(about))
