"""The cards of the individuals, and their files, which are compared with the SHA-256 in their card before each use."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import RunError, UnknownName

PREFIX = "zoo:"
ROOT = Path(__file__).parent
_INDEX = "index.json"


@dataclass(frozen=True)
class Score:
    """The returns of an individual in unseen episodes, as `nchl evaluate` plays them.

    Attributes:
        mean: of the returns.
        low: lower end of the 95 % bootstrap interval of the mean over episodes.
        high: its upper end.
        episodes: number of episodes.
        seed: of the evaluation.
        plasticity_off: mean return with the rule switched off; None for a network whose weights never change.
        frozen_half_way: mean return with weights frozen half-way; likewise.
    """

    mean: float
    low: float
    high: float
    episodes: int
    seed: int
    plasticity_off: float | None
    frozen_half_way: float | None


@dataclass(frozen=True)
class Card:
    """An individual of the zoo.

    Attributes:
        name: it is used as `zoo:NAME`.
        task: id of the task.
        simulator: that it was evolved in.
        rule: of its plastic weights, or "static".
        network: neurons of each layer as `17-128-64-6`, or the name of a convolutional network.
        nparams: length of its genome.
        perturbations: that it was evolved with, and plays with by default.
        score: on unseen episodes.
        command: repeats the run that it was evolved in.
        generations: of that run.
        env_steps: steps of the environment in that run.
        version: of the nchl that evolved it.
        commit: likewise, of its repository.
        files: name -> SHA-256 of each file of its folder.
    """

    name: str
    task: str
    simulator: str
    rule: str
    network: str
    nparams: int
    perturbations: tuple[str, ...]
    score: Score
    command: str
    generations: int
    env_steps: int
    version: str
    commit: str
    files: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Its run folder, whose files may have been altered; see `checked_folder`."""
        return ROOT / "individuals" / self.name


def cards() -> dict[str, Card]:
    """The card of each individual by its name, in the order of the index.

    Raises:
        RunError: the index is damaged.
    """
    path = ROOT / _INDEX
    try:
        data: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: Card(name=name, **about | {"score": Score(**about["score"]), "perturbations": tuple(about["perturbations"])})
            for name, about in data.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"the index of the zoo, {path}, is damaged ({type(error).__name__}: {error}); install nchl again") from error


def card(name: str) -> Card:
    """The card of one individual.

    Raises:
        UnknownName: there is none of that name; offers the nearest.
    """
    known = cards()
    if name not in known:
        raise UnknownName("individual of the zoo", name, known, see="nchl zoo")
    return known[name]


def name_of(run: os.PathLike[str] | str) -> str | None:
    """The name after `zoo:`; None where a folder is meant."""
    text = os.fspath(run) if isinstance(run, os.PathLike) else str(run)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def checked_folder(name: str) -> Path:
    """The run folder of one individual, whose files match their checksums.

    Raises:
        UnknownName: there is none of that name.
        RunError: a file is missing or altered; names it and both checksums.
    """
    about = card(name)
    for file, stated in about.files.items():
        path = about.folder / file
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise RunError(f"{PREFIX}{name} cannot be read: {path}: {error.strerror or error}; install nchl again") from error
        if found != stated:
            raise RunError(
                f"{PREFIX}{name} was altered or damaged: the checksum (SHA-256) of {path} is {found[:12]}..., "
                f"and the index of the zoo states {stated[:12]}...; install nchl again"
            )
    return about.folder
