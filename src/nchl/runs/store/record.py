"""`config.json`: everything that repeats a run, written first and whole, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nchl.errors import RunError
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.network_options import STATIC

FORMAT = 1
# Key -> its type in JSON; a dictionary or list of these holds texts alone.
_TEXTS: dict[str, type] = {"same_bits": dict, "files": dict, "versions": dict, "command": list}
_KEYS = ("format", "settings", *_TEXTS, "started")
# Keys that older records lack.
_LATER: dict[str, type] = {"task": dict, "environment": dict, "code": dict, "objects": dict, "plastic": bool, "sessions": list}
_IN_WORDS: dict[type, str] = {dict: "an object", list: "a list", bool: "true, false"}


@dataclass(frozen=True)
class Record:
    """The content of `config.json`.

    Attributes:
        settings: the options of the run.
        same_bits: properties of the machine on which the bits of the results depend, see `machine.same_bits`.
        files: the user's files that the run uses, and the genome that it began with: path -> SHA-256.
        versions: of nchl, Python and the packages; `nchl_commit` if nchl is a checkout of its repository.
        command: the words that began the run.
        started: local time, for people.
        task: its spaces and maps, see `tasks.recorded`; None in older records.
        environment: the parts of a Gymnasium environment, see `tasks.fingerprint`; None if a version identifies it, and in older records.
        code: the content of `code/`, see `runs.store.code_copy`; None if the run uses no file of the user's, and in older records.
        objects: a network, task or strategy given as an object, see `runs.search.objects`; None without, and in older records.
        plastic: whether the network changes its weights; None in older records.
        sessions: nchl and packages of each session, see `runs.provenance.sessions`; None in older records.
    """

    settings: EvolveConfig
    same_bits: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]
    command: list[str]
    started: str
    task: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None
    objects: Mapping[str, Any] | None = None
    plastic: bool | None = None
    sessions: list[dict[str, Any]] | None = None

    @property
    def has_controls(self) -> bool:
        """Whether plasticity can be switched off; in older records the name of the network decides."""
        return self.settings.network not in STATIC if self.plastic is None else self.plastic

    def to_json(self) -> dict[str, Any]:
        """The content of the file; `read_record` is the inverse."""
        return {"format": FORMAT, **vars(self), "settings": self.settings.to_json()}


def read_record(file: Path) -> Record:
    """Read `config.json`.

    Raises:
        RunError: not readable, altered, or of another version; names the file and the key.
    """
    data = read_json(read_text(file), file=file)
    if data.get("kind") == "softhebb":
        raise RunError(f"{file.parent} is a run of `nchl softhebb`, not of `nchl evolve`; go on with: nchl softhebb --resume {file.parent}")
    why = "the file was altered or written by another version of nchl"
    for key in _KEYS:
        if key not in data:
            raise RunError(f"{file}: key {key!r} is missing; {why}")
    for key in data:
        if key not in (*_KEYS, *_LATER):
            raise RunError(f"{file}: unknown key {key!r}; {why}")
    if data["format"] != FORMAT:
        raise RunError(f"{file}: format {data['format']!r} is not {FORMAT}, the one that this version of nchl reads")
    for key, kind in _TEXTS.items():
        _check(file, key, data[key], kind, f"{_IN_WORDS[kind]} of texts")
        _check_all(file, key, data[key], str, f"{_IN_WORDS[kind]} of texts")
    _check(file, "started", data["started"], str, "text")
    for key, kind in _LATER.items():
        if data.get(key) is not None:
            _check(file, key, data[key], kind, f"{_IN_WORDS[kind]} or null")
    _check_all(file, "sessions", data.get("sessions") or [], dict, "a list of objects")
    settings = EvolveConfig.from_json(data["settings"], file=file)
    rest: dict[str, Any] = {key: data.get(key) for key in (*_TEXTS, "started", *_LATER)}
    return Record(settings, **rest)


def _check(file: Path, key: str, value: Any, kind: type, wanted: str) -> None:
    if not isinstance(value, kind):
        raise RunError(f"{file}: key {key!r} must be {wanted}, got {str(value)[:100]!r}")


def _check_all(file: Path, key: str, values: Mapping[str, Any] | list[Any], kind: type, wanted: str) -> None:
    if not all(isinstance(each, kind) for each in (values.values() if isinstance(values, Mapping) else values)):
        raise RunError(f"{file}: key {key!r} must be {wanted}, got {str(values)[:100]!r}")
