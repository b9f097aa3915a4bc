"""MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME apply; without the first, records go to `mlruns` beside the run folder.

MLflow has no histograms; each is logged as its 5, 50 and 95 % quantiles.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import require

_QUANTILES = (5, 50, 95)
_AT_ONCE, _METRICS_AT_ONCE = 100, 1000  # parameters and metrics that MLflow's servers accept in one request


class Mlflow:
    """One session of a run; see `trackers.Tracker`."""

    def __init__(self, client: Any, state: dict[str, str]) -> None:
        self._client, self.state = client, state
        self._id = state["run"]
        self.where = f"run {self._id} at {state['uri']}"

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """See `trackers.Tracker`."""
        entities = require("mlflow.entities", "tracking")
        values = dict(scalars)
        for name, array in histograms.items():
            found = np.percentile(array, _QUANTILES)
            values |= {f"{name}/p{q:02d}": float(value) for q, value in zip(_QUANTILES, found, strict=True)}
        now = int(time.time() * 1000)
        metrics = [entities.Metric(name, float(value), now, step) for name, value in values.items()]
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[first : first + _METRICS_AT_ONCE])

    def film(self, step: int, path: Path) -> None:
        """See `trackers.Tracker`."""
        self._client.log_artifact(self._id, str(path), f"film/generation-{step:06d}")

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """See `trackers.Tracker`."""
        if summary is None:
            self._client.set_terminated(self._id, "KILLED")
            return
        for name, value in summary.items():
            self._client.set_tag(self._id, f"summary.{name}", str(value))
        self._client.set_terminated(self._id, "FINISHED")


def begin(folder: Path, state: Mapping[str, str], about: Mapping[str, Any]) -> Mlflow:
    """Open a record, or continue the one in `state` if it is at this machine's address."""
    # Nothing may leave this machine except to the server that the user has chosen.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    here = (folder.absolute().parent / "mlruns").as_uri()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or here
    if uri.startswith("file:"):
        # MLflow 3 requires this for a folder; a database would need the full mlflow instead of mlflow-skinny.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    client = require("mlflow.tracking", "tracking").MlflowClient(tracking_uri=uri)
    if state.get("run") and state.get("uri") == uri:
        client.update_run(state["run"], status="RUNNING")
        return Mlflow(client, dict(state))
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "nchl")
    experiment = client.get_experiment_by_name(name)
    experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
    run_id = client.create_run(experiment_id, run_name=folder.name).info.run_id
    entities = require("mlflow.entities", "tracking")
    parameters = [entities.Param(name, str(value)[:500]) for name, value in about.items() if value is not None]
    for first in range(0, len(parameters), _AT_ONCE):
        client.log_batch(run_id, params=parameters[first : first + _AT_ONCE])
    return Mlflow(client, {"run": run_id, "uri": uri})
