"""The settings of a SoftHebb experiment: one dataclass for the command line, its help, and the record `config.json`.

`None` means "not given". A setting that does not apply to the chosen method is an error. No heavy package is imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.runs.settings.options import Option, option

_DATA, _NETWORK, _LAYERS, _HEAD, _RUN = "data", "network", "unsupervised layers", "linear head, or backpropagation", "run"
SHARINGS = ("sum", "max", "min", "median", "mean")
METHODS = ("softhebb", "random", "backprop")
NETWORKS = ("thesis", "softhebb", "softhebb-small")
_WHILE_LEARNING = ("sharing", "competition", "lr", "batch_size", "schedule")  # only apply if a layer learns


@dataclass(frozen=True)
class SoftHebbSettings:
    """All settings that determine an experiment, apart from the machine. Fields are the options of `nchl softhebb`.

    Raises:
        InvalidArgument: a value out of range, or one that does not apply to the method.
    """

    data: str = field(metadata={"kind": "str", "default": None, "help": "a local folder or a Hugging Face name", "group": _DATA})
    validation: float | None = option(
        "float", 0.0, "part of the training images that only chooses the head's epoch", _DATA, metavar="FRACTION"
    )
    test_fraction: float | None = option("float", None, "part that becomes the test set, for data without one", _DATA, metavar="FRACTION")
    limit: int | None = option("int", None, "use only so many training images, for a quick look", _DATA, metavar="IMAGES")
    convert: bool | None = option("bool", False, "turn grey, transparent and palette images into RGB instead of refusing them", _DATA)
    skip_corrupt: bool | None = option("bool", False, "leave images out that cannot be decoded, and say which", _DATA)

    network: str | None = option(
        "str", "softhebb-small", "thesis, softhebb, softhebb-small, or your own as FILE.py:NAME", _NETWORK, metavar="NAME"
    )
    method: str | None = option("str", "softhebb", "softhebb, random layers, or backprop end to end", _NETWORK, choices=METHODS)
    layers: str | None = option(
        "str", None, "take network and layers of a finished run, and train a new head on them", _NETWORK, metavar="RUN"
    )

    sharing: str | None = option(
        "str",
        None,
        "how the positions of a kernel element agree; default: the network's own (sum, unless FILE.py says otherwise)",
        _LAYERS,
        choices=SHARINGS,
    )
    competition: str | None = option("str", None, "units that compete; default: the network's own", _LAYERS, choices=("channel", "layer"))
    lr: float | None = option("float", None, "a constant learning rate; default: the network's own", _LAYERS, metavar="RATE")
    epochs_unsupervised: int | None = option("int", 1, "epochs of the unsupervised layers", _LAYERS, metavar="N")
    batch_size: int | None = option("int", 10, "images per unsupervised step", _LAYERS, metavar="IMAGES")
    schedule: str | None = option(
        "str", "together", "train all layers in one pass, or one after the other", _LAYERS, choices=("together", "layerwise")
    )

    epochs_head: int | None = option("int", 50, "epochs of Adam", _HEAD, metavar="N")
    batch_size_head: int | None = option("int", 64, "images per step of Adam", _HEAD, metavar="IMAGES")
    lr_head: float | None = option(
        "float", 0.001, "of Adam; halved at 0.2, 0.35, 0.5, 0.6, 0.7, 0.8 and 0.9 of the epochs", _HEAD, metavar="RATE"
    )
    dropout: float | None = option("float", 0.5, "part of the features that is dropped", _HEAD, metavar="P")
    features: str | None = option("str", "memory", "where the features are kept", _HEAD, choices=("memory", "disk"))

    seed: int | None = option("int", 0, "of every random number", _RUN, metavar="SEED")
    device: str | None = option("str", "cpu", "cpu, or cuda", _RUN, metavar="DEVICE")
    threads: int | None = option("int", None, "threads of torch; default: as many as torch takes", _RUN, metavar="N")
    checkpoint_every: int | None = option("int", 500, "steps between two checkpoints within an epoch", _RUN, metavar="STEPS")

    def __post_init__(self) -> None:
        for described in options():
            value = getattr(self, described.name)
            if value is not None:
                object.__setattr__(self, described.name, described.plain(value))
                described.check(getattr(self, described.name))
        inapplicable = self._inapplicable()
        for described in options():
            value = getattr(self, described.name)
            if described.name in inapplicable:
                if value is not None:
                    raise InvalidArgument(f"{said(described.name, value)} does not apply with {inapplicable[described.name]}; leave it out")
            elif value is None and described.default is not None and not (described.name == "network" and self.layers is not None):
                object.__setattr__(self, described.name, described.default)
        self._check_ranges()

    def _inapplicable(self) -> dict[str, str]:
        """Settings that do not apply, each with the option that excludes it."""
        method = self.method or "softhebb"
        if self.layers is not None:
            if method != "softhebb":
                raise InvalidArgument(f"{said('method', method)} does not apply with --layers, whose layers stay as they are; leave it out")
            return dict.fromkeys(("epochs_unsupervised", *_WHILE_LEARNING), "--layers")
        if method == "softhebb":
            return dict.fromkeys(_WHILE_LEARNING, "--epochs-unsupervised 0") if self.epochs_unsupervised == 0 else {}
        names = ("epochs_unsupervised", *_WHILE_LEARNING, *(("features",) if method == "backprop" else ()))
        return dict.fromkeys(names, f"the method {method}")

    def _check_ranges(self) -> None:
        for name, least in (
            ("epochs_unsupervised", 0),
            ("batch_size", 1),
            ("epochs_head", 1),
            ("batch_size_head", 1),
            ("threads", 1),
            ("checkpoint_every", 1),
            ("limit", 2),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidArgument(f"expected {said(name, value)} of at least {least}, got {value}")
        for name in ("validation", "test_fraction", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InvalidArgument(f"expected {said(name, value)} from 0 to below 1, got {value}")
        for name in ("lr", "lr_head"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidArgument(f"expected {said(name, value)} above 0, got {value}")
        if self.network is not None and ":" not in self.network and self.network not in NETWORKS:
            raise UnknownName("network", self.network, (*NETWORKS, "FILE.py:NAME"))

    def with_absolute_paths(self) -> SoftHebbSettings:
        """The same settings with absolute paths, so that the run can be resumed from any folder."""
        changes: dict[str, Any] = {}
        if Path(self.data).is_dir():
            changes["data"] = str(Path(self.data).absolute())
        if self.layers is not None:
            changes["layers"] = str(Path(self.layers).absolute())
        file, colon, name = str(self.network).rpartition(":")
        if colon:
            changes["network"] = f"{Path(file).absolute()}:{name}"
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """All settings; those that do not apply are null."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SoftHebbSettings:
        """Settings as `to_json` wrote them.

        Raises:
            RunError: a setting that this version does not know, or one of another type.
        """
        unknown = set(data) - {item.name for item in fields(cls)}
        if unknown or "data" not in data:
            raise RunError(f"the settings of this run do not fit this version of nchl: {', '.join(sorted(unknown)) or 'no data'}")
        try:
            return cls(**data)
        except InvalidArgument as error:
            raise RunError(f"the settings of this run were altered: {error}") from error


def options() -> list[Option]:
    """The settings as options of the command line."""
    return [Option(name=item.name, **item.metadata) for item in fields(SoftHebbSettings)]


def layers_method(settings: SoftHebbSettings) -> str | None:
    """How a run with these settings makes its layers, as `method` names it; without unsupervised epochs they are random."""
    return "random" if settings.epochs_unsupervised == 0 else settings.method


def said(name: str, value: Any) -> str:
    """The text on the command line that gives a setting this value."""
    if name == "data":
        return "DATA"
    if name in ("method", "schedule"):
        return f"--{value}"
    flag = name.replace("_", "-")
    return f"--no-{flag}" if value is False else f"--{flag}"
