"""The user's code that a run uses: collected when it begins, copied into `code/` of its folder, and run from that copy ever after.

code/mine.py        a file named as `FILE.py:NAME`, and beside it the modules of its folder that it imports
code/2/rule.py      files of a second folder, and so on
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, RunError
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.files import cannot_write, open_file, write_atomically
from nchl.user_code import gather, is_place

FOLDER = "code"
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Code:
    """Code by its text, so that nothing depends on what becomes of the files.

    Attributes:
        places: option -> `FILE.py:NAME`, where FILE is a path in `texts`.
        texts: content by path.
    """

    places: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name in a run folder's `code/`."""
        return {name: digest(self.texts[path]) for path, name in self._names().items()}

    def over(self, other: Code) -> Code:
        """This code, and behind it what another one names besides."""
        return Code({**self.places, **other.places, **self.places}, {**self.texts, **other.texts, **self.texts})

    def without(self, option: str) -> Code:
        """All but an option's; what only that one needed is left out."""
        places = {name: place for name, place in self.places.items() if name != option}
        needed = {path for place in places.values() for path in gather(Path(_file(place)))}
        return Code(places, {path: text for path, text in self.texts.items() if path in needed})

    def record(self) -> dict[str, Any]:
        """What `config.json` says of it: the places within `code/`, and each file's SHA-256."""
        names = self._names()
        places = {option: f"{names[_file(place)]}:{place.rpartition(':')[2]}" for option, place in self.places.items()}
        return {"places": places, "sha256": self.digests}

    def write(self, folder: Path) -> None:
        """Copy the files into the run folder.

        Raises:
            RunError: they cannot be written.
        """
        for path, name in self._names().items():
            place = folder / FOLDER / name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(place, error, of_a_run=False) from error
            write_atomically(place, self.texts[path], of_a_run=False)

    def _names(self) -> dict[str, str]:
        """Path -> name in `code/`: the files of the first folder at the top, those of each other one below a number."""
        parents = dict.fromkeys(Path(_file(place)).parent for place in self.places.values())
        # A folder inside another one of them keeps its place there: a file can belong to both.
        roots = [root for root in parents if not any(root != other and root.is_relative_to(other) for other in parents)]
        names: dict[str, str] = {}
        for path in self.texts:
            number, root = next((k, root) for k, root in enumerate(roots, 1) if Path(path).is_relative_to(root))
            inside = Path(path).relative_to(root).as_posix()
            names[path] = inside if number == 1 else f"{number}/{inside}"
        return names


def named(config: EvolveConfig) -> dict[str, str]:
    """The options that name a user's file, with their values; of a list each, as `wrap.0`."""
    found: dict[str, str] = {}
    for option, value in config.to_json().items():
        if is_place(value):
            found[option] = value
        elif isinstance(value, list):
            found |= {nth(option, k): place for k, place in enumerate(value) if is_place(place)}
    return found


def nth(option: str, k: int) -> str:
    """The name of an option's k-th place, where it may have several."""
    return f"{option}.{k}"


def collect(config: EvolveConfig) -> Code:
    """The code that a configuration names, as it is on the disk now; see `collect_places`."""
    return collect_places(named(config))


def collect_places(places: Mapping[str, str]) -> Code:
    """The code of some options, as it is on the disk now; what is not there is left for its use to complain of.

    Raises:
        InvalidArgument: a file is there and cannot be read.
    """
    code = Code()
    for option, place in places.items():
        path = Path(_file(place))
        if not path.is_file():
            continue
        try:
            texts = gather(path)
        except OSError as error:
            raise InvalidArgument(f"cannot read {error.filename or path}: {error.strerror or error}") from error
        code = code.over(Code({option: f"{path.resolve()}:{place.rpartition(':')[2]}"}, texts))
    return code


def read(folder: Path, record: Mapping[str, Any]) -> Code:
    """The copy in a run folder, checked against what `config.json` says of it.

    Raises:
        RunError: a file is missing, altered, or named where no copy lies.
    """
    _check(folder, record)
    root = (folder / FOLDER).resolve()
    texts: dict[str, bytes] = {}
    for name, stated in record["sha256"].items():
        path = root / name
        if path.suffix != ".py" or not path.resolve().is_relative_to(root):
            raise RunError(f"{folder / 'config.json'}: {name!r} is no Python file in {folder / FOLDER}; the record was altered")
        try:
            with open_file(path) as file:
                text = file.read(_LARGEST)
        except OSError as error:
            raise RunError(
                f"{folder / FOLDER / name} cannot be read ({error.strerror or error}); copy run folders with their code/"
            ) from error
        if digest(text) != stated:
            raise RunError(
                f"{folder / FOLDER / name} is not the file that the run was begun with: its SHA-256 differs from the one in config.json. "
                "Restore it; to play an evolved run with another rule on purpose, name a copy elsewhere with --rule FILE.py:NAME"
            )
        texts[str(path)] = text
    places = {option: f"{root / _file(place)}:{place.rpartition(':')[2]}" for option, place in record["places"].items()}
    for option, place in places.items():
        if not is_place(place) or _file(place) not in texts:
            raise RunError(f"{folder / 'config.json'}: the code of {option} is none of its files; the record was altered")
    return Code(places, texts)


def complete(folder: Path, record: Mapping[str, Any], places: Mapping[str, str]) -> list[str]:
    """Copy the user's files again into the folder of a run that was killed while it copied them; for runs without a checkpoint.

    Args:
        folder: of the run.
        record: what its `config.json` says of the code.
        places: the options that name the originals, with their values.

    Returns:
        A line for the user, where files were missing.

    Raises:
        RunError: files are missing, and the originals are not those that the run was begun with.
    """
    _check(folder, record)
    missing = [name for name in record["sha256"] if not (folder / FOLDER / name).exists()]
    if not missing or (folder / FOLDER).is_symlink():  # `read` has its word on a link
        return []
    originals = collect_places(places)
    if originals.record() != {name: dict(record[name]) for name in ("places", "sha256")}:
        gone = [file for file in dict.fromkeys(map(_file, places.values())) if not Path(file).is_file()]
        why = f"{', '.join(gone)} cannot be found" if gone else f"{', '.join(places.values())} (or what it imports) has changed since"
        raise RunError(
            f"{folder / FOLDER} lacks {', '.join(missing)}: the run was stopped before its files were copied, and {why}. "
            "Restore the original, or begin a new run"
        )
    originals.write(folder)
    return [f"the run was stopped before its files were in {folder / FOLDER}; the originals are what they were, and are copied now"]


def differences(places: Mapping[str, str], code: Code) -> list[str]:
    """A line where the files that a run was begun with are still there, and are not what they were.

    Args:
        places: the options that name the originals, with their values.
        code: the run's copy.
    """
    changed = []
    for option, place in places.items():
        path = Path(_file(place))
        if option not in code.places or not path.is_file():
            continue
        try:
            now, root = gather(path), path.resolve().parent
        except OSError:
            continue
        own = Path(_file(code.places[option]))
        before = {
            str(Path(name).relative_to(own.parent)): text for name, text in code.texts.items() if Path(name).is_relative_to(own.parent)
        }
        if any(before.get(str(Path(name).relative_to(root))) != text for name, text in now.items()):
            changed.append(place)
    if not changed:
        return []
    one = len(changed) == 1
    return [f"{' and '.join(changed)} {'has' if one else 'have'} changed since the run began; it uses its own copy of then, in {FOLDER}/"]


def digest(text: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(text).hexdigest()


def _check(folder: Path, record: Mapping[str, Any]) -> None:
    for name in ("places", "sha256"):
        held = record.get(name)
        if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
            raise RunError(f"{folder / 'config.json'}: {name!r} of the code must be an object of texts, got {str(held)[:100]!r}")


def _file(place: str) -> str:
    return place.rpartition(":")[0]
