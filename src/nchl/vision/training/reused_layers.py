"""A new head on the layers of a finished run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from nchl.errors import InvalidArgument, RunError
from nchl.runs.files.tensors import read_tensors
from nchl.runs.store.code_copy import Code, collect_places
from nchl.vision.networks.classifier import Classifier
from nchl.vision.records.folder import VisionRun, named
from nchl.vision.settings import SoftHebbSettings

_PREFIX = "network.blocks."


def with_network(settings: SoftHebbSettings) -> tuple[SoftHebbSettings, Code, list[str]]:
    """The settings with the network of the run `settings.layers`, and the code of that run; without `layers`, the settings and their code.

    Returns:
        Settings, the user's code that they name, and lines for the user.

    Raises:
        RunError: `layers` is not a finished SoftHebb run.
        InvalidArgument: `network` is given and differs.
    """
    if settings.layers is None:
        return settings, collect_places(named(settings)), []
    path = Path(settings.layers)
    run, finished, _ = VisionRun.open(path)
    if not (path / "summary.json").exists():
        raise RunError(f"the layers of {path} are not finished; first: nchl softhebb --resume {path}")
    if settings.network not in (None, finished.network):
        raise InvalidArgument(f"--network {settings.network}: the layers of {path} are those of {finished.network}; leave --network out")
    return dataclasses.replace(settings, network=finished.network), run.code, run.notes


def load_layers(classifier: Classifier, layers: str) -> None:
    """Load the layers of a finished run, with their BatchNorm statistics, into a network; its head is unchanged.

    Raises:
        RunError: the run's tensors do not fit the network.
        CheckpointError: they cannot be read.
    """
    file = Path(layers) / "network.safetensors"
    tensors, _ = read_tensors(file)
    found = {name.removeprefix(_PREFIX): torch.from_numpy(np.array(value)) for name, value in tensors.items() if name.startswith(_PREFIX)}
    own = classifier.blocks.state_dict()
    for name in sorted(own.keys() | found.keys()):
        here, there = (tuple(tensors[name].shape) if name in tensors else None for tensors in (own, found))
        if here != there:
            raise RunError(f"{file} does not fit the network and these images: {name} should have the shape {here}, got {there}")
    classifier.blocks.load_state_dict(found)
