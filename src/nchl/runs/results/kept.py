"""The unseen episodes that a run's folder keeps, so that its page and a comparison do not play the same ones again.

The file holds returns and lengths beside everything that determines them. Where anything of that differs, or the file is damaged, all is
played anew and replaces it. Nothing is kept where something that determines them has no digest or version: the user's own code,
environments, objects, and settings of an environment, which may name files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nchl.errors import NchlError
from nchl.networks.base import PlasticNetwork
from nchl.rollout import Rollout
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.writing import write_json
from nchl.runs.provenance import environment, machine
from nchl.runs.results.result import Result
from nchl.runs.settings.options import that_matter
from nchl.runs.store.folder import RunFolder
from nchl.tasks import Task, fingerprint

NAME = "unseen-episodes.json"


class Kept:
    """The episodes of one evaluation in the file of a run's folder.

    Args:
        folder: the run's; nothing is kept in the zoo.
        use: whether kept episodes are used; else all are played, and kept.

    Attributes:
        used: whether kept episodes have been used.
    """

    def __init__(self, folder: RunFolder, *, use: bool = True) -> None:
        self.path = folder.path / NAME
        self.used = False
        self._use, self._in_zoo = use, folder.individual is not None
        self._conditions: dict[str, Any] | None = None
        self._known: dict[str, Any] = {}
        self._new: dict[str, Any] = {}

    def begin(self, conditions: dict[str, Any] | None) -> None:
        """Read the episodes that were played under the same conditions; None: nothing is kept."""
        self._conditions = None if self._in_zoo else conditions
        self._known = {} if self._conditions is None else self._read()

    def episodes(self, freeze_after: int | None) -> Rollout | None:
        """The episodes with the weights frozen after so many steps, if they are kept."""
        each = self._known.get(str(freeze_after)) if self._use else None
        if each is None:
            return None
        self.used = True
        returns = np.array([each["returns"]], dtype=np.float64)  # null, in JSON, is NaN here
        return Rollout(returns.mean(axis=1), returns, np.array([each["lengths"]]), int(not np.isfinite(returns).all()))

    def add(self, freeze_after: int | None, played: Rollout) -> None:
        """Keep episodes that were played now."""
        self._new[str(freeze_after)] = {"returns": played.returns[0].tolist(), "lengths": played.lengths[0].tolist()}

    def save(self, backend: str) -> None:
        """Write the file, where a folder can be written to, as it only saves time; not if the network has changed to another back end."""
        if self._conditions is not None and self._new and backend == self._conditions["machine"]["backend"]:
            with contextlib.suppress(NchlError, OSError):
                write_json(self.path, {"conditions": self._conditions, "episodes": {**self._known, **self._new}}, of_a_run=False)

    def _read(self) -> dict[str, Any]:
        """The kept episodes, if they were played under the conditions; see `begin`."""
        assert self._conditions is not None
        try:
            data = read_json(read_text(self.path), file=self.path)
            if data["conditions"] != self._conditions:
                return {}
            count = self._conditions["episodes"]
            for each in data["episodes"].values():
                returns, lengths = np.array(each["returns"], dtype=np.float64), np.array(each["lengths"])
                if not (returns.shape == lengths.shape == (count,)) or lengths.dtype.kind != "i":
                    return {}
            return dict(data["episodes"])
        except (NchlError, OSError, KeyError, TypeError, ValueError, AttributeError):
            return {}


def conditions(found: Result, network: PlasticNetwork, task: Task, **asked: Any) -> dict[str, Any] | None:
    """Everything that determines the episodes of an evaluation, as plain JSON; None where something has no digest or version.

    Args:
        found: the individual, with its settings.
        network: that will act.
        task: that will be played.
        **asked: what else was asked for, such as the number of episodes and the seed.
    """
    settings, world = found.record.settings, fingerprint(task)
    if found.code.texts or found.record.objects is not None or settings.env or "files" in (world or {}):
        return None
    try:
        installed = machine.installed()
    except (OSError, ImportError, LookupError, TypeError, ValueError, AttributeError):  # a package without readable metadata
        return None
    individual = hashlib.sha256()
    for name, array in sorted(found.tensors.items()):
        individual.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    here = machine.same_bits(backend=network.backend, simulator=task.simulator.name, strategy=str(settings.strategy))
    if settings.device is not None and torch.device(settings.device).type == "cuda":
        here["GPU"] = torch.cuda.get_device_name(torch.device(settings.device))
    everything: Mapping[str, Any] = {
        **asked,
        "individual": individual.hexdigest(),
        "settings": that_matter(settings.to_json()),
        "perturbations": task.plan.texts if task.plan else [],
        "environment": environment.digest(world),
        "machine": here,
        "installed": installed,
    }
    return dict(json.loads(json.dumps(everything)))
