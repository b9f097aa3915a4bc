"""Reads runs on test functions for a comparison."""

from __future__ import annotations

from pathlib import Path

from nchl.report.compare.runs import Run
from nchl.report.formatting import hashable
from nchl.runs.function_run import function_of, read_function_run
from nchl.runs.settings.config import EvolveConfig


def as_run(config: EvolveConfig, folder: Path) -> Run:
    """The run in a folder of `run_function`.

    Raises:
        RunError: a file is damaged.
    """
    data = read_function_run(folder)
    columns = data["columns"]
    settings = {name: value for name, value in data["settings"].items() if name not in ("task", "seed")}
    found = function_of(config.task)
    assert found is not None
    return Run(
        folder=folder,
        task=config.task,
        seed=int(config.seed or 0),
        settings={name: hashable(value) for name, value in settings.items()},
        columns=columns,
        generations=len(columns["mean"]),
        total=None,
        reason="max_steps",
        running=False,
        nparams=found[1],
        evaluation=None,
    )
