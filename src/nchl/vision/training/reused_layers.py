"""A new head on the layers of a finished run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nchl.errors import InvalidArgument, RunError
from nchl.runs.files.tensors import read_tensors
from nchl.runs.store.code_copy import Code, collect_places
from nchl.vision.networks.classifier import Classifier
from nchl.vision.records.folder import VisionRun, named
from nchl.vision.settings import SoftHebbSettings, layers_method, said

_PREFIX = "network.blocks."


class Start(NamedTuple):
    """What a new run begins with.

    Attributes:
        settings: with the network of the run `settings.layers`, if there are `layers`.
        code: the user's code that they name; with `layers`, the copy of that run.
        layers_settings: the settings of the run that trained the layers; None without `layers`, or where that is unknown.
        notes: lines for the user.
    """

    settings: SoftHebbSettings
    code: Code
    layers_settings: SoftHebbSettings | None
    notes: list[str]


def with_network(settings: SoftHebbSettings) -> Start:
    """The settings with the network of the run `settings.layers`; without `layers`, as they are.

    Raises:
        RunError: `layers` is not a finished SoftHebb run.
        InvalidArgument: `network` is given and differs, or images from which the layers learned would be test images.
    """
    if settings.layers is None:
        return Start(settings, collect_places(named(settings)), None, [])
    path = Path(settings.layers)
    run, finished, _ = VisionRun.open(path)
    if not (path / "summary.json").exists():
        raise RunError(f"the layers of {path} are not finished; first: nchl softhebb --resume {path}")
    if settings.network not in (None, finished.network):
        raise InvalidArgument(f"--network {settings.network}: the layers of {path} are those of {finished.network}; leave --network out")
    # A run with `layers` of its own has them from the run that trained them; records of older versions do not name that run's settings.
    trained = finished if finished.layers is None else run.layers_settings
    notes = list(run.notes)
    if trained is not None:
        _check_held_out(settings, trained, path)
        notes.append(f"the layers of {path} were made by the method {layers_method(trained)}")
    return Start(dataclasses.replace(settings, network=finished.network), run.code, trained, notes)


def _check_held_out(settings: SoftHebbSettings, trained: SoftHebbSettings, path: Path) -> None:
    """Refuse to draw other test or validation images than those that were held out when the layers learned."""
    if settings.data != trained.data:
        return
    wanted: list[tuple[str, tuple[str, ...]]] = []
    if trained.test_fraction is not None:
        wanted.append(("test", ("test_fraction", "seed")))
    if trained.validation and settings.validation:
        wanted.append(("validation", ("validation", "test_fraction", "limit", "seed")))
    for what, names in wanted:
        if any(getattr(settings, name) != getattr(trained, name) for name in names):
            words = " ".join(f"{said(name, value)} {value}" for name in names if (value := getattr(trained, name)) is not None)
            without = [
                said(name, value) for name in names if getattr(trained, name) is None and (value := getattr(settings, name)) is not None
            ]
            leave = f", and leave {', '.join(without)} out" if without else ""
            raise InvalidArgument(
                f"the layers of {path} learned from all images of {trained.data} but the {what} images that {words} holds out; other "
                f"settings would take images from which they learned as {what} images: write {words}{leave}"
            )


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
