"""Paths of a run: the default folder of a new one, and a configuration's files and folders named absolutely."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.runs.settings.config import INITIAL_GENOMES, EvolveConfig
from nchl.runs.settings.options import OWN_START
from nchl.runs.store.code_copy import named
from nchl.user_code import is_place


def default_path(config: EvolveConfig) -> Path:
    """`runs/<task>-<network>-<seed>-<time>`, of characters that every file system takes."""
    network = str(config.network).rpartition(":")[2]
    task = config.task.rpartition(":")[2]
    words = [re.sub(r"[^A-Za-z0-9._-]+", "_", word) for word in (task, network, str(config.seed))]
    path = Path("runs") / "-".join([*words, time.strftime("%Y%m%d-%H%M%S")])
    count = 2
    unique = path
    while unique.exists():  # a second run in the same second
        unique = path.with_name(f"{path.name}-{count}")
        count += 1
    return unique


def with_absolute_paths(config: EvolveConfig) -> EvolveConfig:
    """The configuration with files and folders named absolutely, so that a run can be continued from anywhere."""
    changes: dict[str, Any] = {}

    def absolute(place: str) -> str:
        file, _, attribute = place.rpartition(":")
        return f"{Path(file).absolute()}:{attribute}"

    places = named(config)
    for option, value in config.to_json().items():
        if option in places:
            changes[option] = absolute(places[option])
        elif isinstance(value, list) and any(map(is_place, value)):
            changes[option] = tuple(absolute(each) if is_place(each) else each for each in value)
    start = config.initial_genome
    if start is not None and start not in (*INITIAL_GENOMES, OWN_START) and zoo.name_of(start) is None:
        changes["initial_genome"] = str(Path(start).absolute())
    return config.replace(**changes) if changes else config
