"""The files and folders of a configuration: a user's code as `FILE.py:NAME`, the initial genome's run or file, the default run folder."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.errors import InvalidArgument
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import is_object
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.user_code import is_place


def code_places(config: EvolveConfig) -> dict[str, str]:
    """The options that name a user's file -> their values; each item of a list as `wrap.0`."""
    found: dict[str, str] = {}
    for option, value in config.to_json().items():
        if is_place(value):
            found[option] = value
        elif isinstance(value, list):
            found |= {nth(option, k): place for k, place in enumerate(value) if is_place(place)}
    return found


def nth(option: str, k: int) -> str:
    """The name of the k-th item of an option that is a list."""
    return f"{option}.{k}"


def file_of(place: str) -> str:
    """FILE of `FILE:NAME`."""
    return place.rpartition(":")[0]


def absolute(value: Any) -> Any:
    """`FILE.py:NAME` with the absolute name of its file; any other value as it is."""
    return f"{Path(file_of(value)).absolute()}:{value.rpartition(':')[2]}" if is_place(value) else value


def own_files(config: EvolveConfig, *others: Path) -> dict[str, str]:
    """The user's files that a configuration names, and other files -> SHA-256 of their content.

    Raises:
        InvalidArgument: such a file cannot be read.
    """
    files = {}
    for path in (*(Path(file_of(place)) for place in code_places(config).values()), *others):
        try:
            files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidArgument(f"cannot read {path}: {error.strerror or error}") from error
    return files


def with_absolute_paths(config: EvolveConfig) -> EvolveConfig:
    """The configuration with absolute names of files and folders, so that a run can be continued from any folder."""
    values = {option: tuple(map(absolute, v)) if isinstance(v, list) else absolute(v) for option, v in config.to_json().items()}
    changes = {option: value for option, value in values.items() if value != getattr(config, option)}
    start = config.initial_genome
    if start is not None and start not in INITIAL_GENOMES and not is_object(start) and zoo.name_of(start) is None:
        changes["initial_genome"] = str(Path(start).absolute())
    return config.replace(**changes) if changes else config


def default_path(config: EvolveConfig) -> Path:
    """`runs/<task>-<network>-<seed>-<time>`, of characters that every file system accepts."""
    words = (config.task.rpartition(":")[2], str(config.network).rpartition(":")[2], str(config.seed))
    path = Path("runs") / "-".join([*(re.sub(r"[^A-Za-z0-9._-]+", "_", word) for word in words), time.strftime("%Y%m%d-%H%M%S")])
    unique, count = path, 1
    while unique.exists():  # a second run in the same second
        count += 1
        unique = path.with_name(f"{path.name}-{count}")
    return unique
