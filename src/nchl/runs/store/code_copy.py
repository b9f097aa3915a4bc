"""The user's code that a run uses: collected when it begins, copied into `code/` of its folder, and from then on run from that copy.

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
from nchl.runs.files.reading import open_file
from nchl.runs.files.writing import write_atomically, writing_to
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.places import code_places, file_of
from nchl.user_code import gather, is_place

FOLDER = "code"
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Code:
    """The user's code as text, independent of later changes of the files.

    Attributes:
        places: option -> `FILE.py:NAME`, with FILE a path in `texts`.
        texts: content by path.
    """

    places: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name in a run folder's `code/`."""
        return {name: digest(self.texts[path]) for path, name in self._names().items()}

    def over(self, other: Code) -> Code:
        """Both codes together; this one's, where both name the same option or file."""
        return Code({**self.places, **other.places, **self.places}, {**self.texts, **other.texts, **self.texts})

    def without(self, option: str) -> Code:
        """The code without an option, and without the files that only this option needs."""
        places = {name: place for name, place in self.places.items() if name != option}
        needed = {path for place in places.values() for path in gather(Path(file_of(place)))}
        return Code(places, {path: text for path, text in self.texts.items() if path in needed})

    def record(self) -> dict[str, Any]:
        """The entry of `config.json`: the places within `code/`, and each file's SHA-256."""
        names = self._names()
        places = {option: f"{names[file_of(place)]}:{place.rpartition(':')[2]}" for option, place in self.places.items()}
        return {"places": places, "sha256": self.digests}

    def write(self, folder: Path) -> None:
        """Copy the files into the run folder.

        Raises:
            RunError: they cannot be written.
        """
        for path, name in self._names().items():
            place = folder / FOLDER / name
            with writing_to(place, of_a_run=False):
                place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, self.texts[path], of_a_run=False)

    def _names(self) -> dict[str, str]:
        """Path -> name in `code/`: the files of the first folder at the top, those of each other one below a number."""
        parents = dict.fromkeys(Path(file_of(place)).parent for place in self.places.values())
        # A folder inside another one of them keeps its position there: a file can belong to both.
        roots = [root for root in parents if not any(root != other and root.is_relative_to(other) for other in parents)]
        names: dict[str, str] = {}
        for path in self.texts:
            number, root = next((k, root) for k, root in enumerate(roots, 1) if Path(path).is_relative_to(root))
            inside = Path(path).relative_to(root).as_posix()
            names[path] = inside if number == 1 else f"{number}/{inside}"
        return names


def collect(config: EvolveConfig) -> Code:
    """The code that a configuration names, as it is on the disk now; see `collect_places`."""
    return collect_places(code_places(config))


def collect_places(places: Mapping[str, str]) -> Code:
    """The code of some options, as it is on the disk now. Missing files are left out; using them is an error later.

    Raises:
        InvalidArgument: a file exists and cannot be read.
    """
    code = Code()
    for option, place in places.items():
        path = Path(file_of(place))
        if not path.is_file():
            continue
        try:
            texts = gather(path)
        except OSError as error:
            raise InvalidArgument(f"cannot read {error.filename or path}: {error.strerror or error}") from error
        code = code.over(Code({option: f"{path.resolve()}:{place.rpartition(':')[2]}"}, texts))
    return code


def read(folder: Path, record: Mapping[str, Any]) -> Code:
    """The copy in a run folder, checked against its entry in `config.json`.

    Raises:
        RunError: a file is missing, altered, or outside of the copy.
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
    places = {option: f"{root / file_of(place)}:{place.rpartition(':')[2]}" for option, place in record["places"].items()}
    for option, place in places.items():
        if not is_place(place) or file_of(place) not in texts:
            raise RunError(f"{folder / 'config.json'}: the code of {option} is none of its files; the record was altered")
    return Code(places, texts)


def complete(folder: Path, record: Mapping[str, Any], places: Mapping[str, str]) -> list[str]:
    """Copy the user's files into the folder of a run that was killed while it copied them; for runs without a checkpoint.

    Args:
        folder: of the run.
        record: the entry of the code in its `config.json`.
        places: the options that name the originals, with their values.

    Returns:
        A line for the user, if files were missing.

    Raises:
        RunError: files are missing, and the originals are not those that the run was begun with.
    """
    _check(folder, record)
    missing = [name for name in record["sha256"] if not (folder / FOLDER / name).exists()]
    if not missing or (folder / FOLDER).is_symlink():  # `read` refuses a link
        return []
    originals = collect_places(places)
    if originals.record() != {name: dict(record[name]) for name in ("places", "sha256")}:
        gone = [file for file in dict.fromkeys(map(file_of, places.values())) if not Path(file).is_file()]
        why = f"{', '.join(gone)} cannot be found" if gone else f"{', '.join(places.values())} (or what it imports) has changed since"
        raise RunError(
            f"{folder / FOLDER} lacks {', '.join(missing)}: the run was stopped before its files were copied, and {why}. "
            "Restore the original, or begin a new run"
        )
    originals.write(folder)
    return [f"the run was stopped before its files were in {folder / FOLDER}; the originals are unchanged, and are copied now"]


def differences(places: Mapping[str, str], code: Code) -> list[str]:
    """A line for the user if the originals `places` of a run's code still exist and differ from its copy."""
    changed = [place for option, place in places.items() if option in code.places and _differs(place, code.places[option], code.texts)]
    if not changed:
        return []
    one = len(changed) == 1
    return [f"{' and '.join(changed)} {'has' if one else 'have'} changed since the run began; it uses its own copy, in {FOLDER}/"]


def _differs(original: str, copied: str, texts: Mapping[str, bytes]) -> bool:
    """Whether an original, or a module that it imports, differs from its copy; False if it cannot be read."""
    path, folder = Path(file_of(original)), Path(file_of(copied)).parent
    if not path.is_file():
        return False
    try:
        now, root = gather(path), path.resolve().parent
    except OSError:
        return False
    before = {str(Path(name).relative_to(folder)): text for name, text in texts.items() if Path(name).is_relative_to(folder)}
    return any(before.get(str(Path(name).relative_to(root))) != text for name, text in now.items())


def digest(text: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(text).hexdigest()


def _check(folder: Path, record: Mapping[str, Any]) -> None:
    for name in ("places", "sha256"):
        entry = record.get(name)
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            raise RunError(f"{folder / 'config.json'}: {name!r} of the code must be an object of texts, got {str(entry)[:100]!r}")
