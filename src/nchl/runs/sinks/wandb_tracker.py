"""Weights & Biases. WANDB_MODE=offline writes into the run folder only, WANDB_PROJECT names the project."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import require

_BUCKETS = 30
_ID = re.compile("[0-9a-f]{12}")


class Wandb:
    """One session of a run; see `trackers.Tracker`. The x axis of all figures is the generation, because a resumed run may repeat some."""

    def __init__(self, run: Any, state: dict[str, str]) -> None:
        self._run = run
        self.state = state
        self.where = run.url or f"offline in {Path(run.dir).parent} (`wandb sync` sends it)"

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """See `trackers.Tracker`."""
        histogram = require("wandb", "tracking").Histogram
        pictures = {name: histogram(np_histogram=np.histogram(array, bins=_BUCKETS)) for name, array in histograms.items()}
        self._run.log({"generation": step, **scalars, **pictures})

    def film(self, step: int, path: Path) -> None:
        """See `trackers.Tracker`."""
        self._run.log({"generation": step, "film": require("wandb", "tracking").Video(str(path), format="mp4")})

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """See `trackers.Tracker`."""
        try:
            for name, value in (summary or {}).items():
                self._run.summary[name] = value
        finally:
            self._run.finish()


def begin(folder: Path, state: Mapping[str, str], about: Mapping[str, Any]) -> Wandb:
    """Open a record, or continue the one in `state` if it belongs to this machine's project."""
    wandb = require("wandb", "tracking")
    # Only settings and figures leave this machine: no console output, code or git state.
    settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
    project = os.environ.get("WANDB_PROJECT") or "nchl"
    known = state.get("project") == project and _ID.fullmatch(state.get("id", ""))
    named = {"id": state["id"] if known else uuid.uuid4().hex[:12], "project": project}
    run = wandb.init(**named, name=folder.name, dir=str(folder), config=dict(about), resume="allow", settings=settings)
    run.define_metric("generation")
    run.define_metric("*", step_metric="generation")
    return Wandb(run, named)
