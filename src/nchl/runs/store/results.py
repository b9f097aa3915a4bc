"""`best.safetensors` and `centre.safetensors`: a genome with its observation statistics and the network's constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nchl.evolve import CONSTANT
from nchl.networks.base import PlasticNetwork
from nchl.rollout import ObservationStatistics
from nchl.runs.files.tensors import write_tensors
from nchl.runs.store.folder import RunFolder

NOT_RECORDED = (
    "this run is from a version that did not record the network's constants (biases, BatchNorm statistics): they are drawn anew "
    "under the run's seed and are not those that it was evolved with"
)


def write_results(folder: RunFolder, generation: int, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write both files from the state of a run after a generation. They are equal, byte for byte, for equal runs."""
    common = {"format": 1, "strategy": about["strategy"]}
    constants = _renamed(tensors, CONSTANT, CONSTANT)
    write_tensors(
        folder.centre,
        {"genome": tensors["strategy.centre"], **_renamed(tensors, "statistics.", "statistics."), **constants},
        {**common, "kind": "centre", "generation": generation},
    )
    if about["best"] is not None:
        write_tensors(
            folder.best,
            {"genome": tensors["best.genome"], **_renamed(tensors, "best.statistics.", "statistics."), **constants},
            {**common, "kind": "best", **about["best"]},
        )


def statistics_from(tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> ObservationStatistics | None:
    """The observation statistics beside a genome; None if observations are not normalised."""
    state = _renamed(tensors, "statistics.", "")
    if not state:
        return None
    statistics = ObservationStatistics(shape)
    statistics.load_state_dict(state)
    return statistics


def recorded_constants(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The network's constants in a checkpoint or beside a genome; None if none were recorded."""
    return _renamed(tensors, CONSTANT, "") or None


def unrecorded(network: PlasticNetwork, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """A line for the user if the network has constants that a run of an earlier version did not record."""
    return [NOT_RECORDED] if network.constants() and recorded_constants(tensors) is None else []


def _renamed(tensors: Mapping[str, np.ndarray], prefix: str, new: str) -> dict[str, np.ndarray]:
    return {new + name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
