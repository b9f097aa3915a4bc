"""The progress of the cells of a sweep, from the runs in its folder.

A run with other settings than its cell's is refused, with two exceptions. A total (`generations`, `max_steps`, `max_minutes`) that has
become larger continues the run. If the file of a rule, network or initial genome, or a Gymnasium environment, has changed, the cell gets a
new folder with a name that ends in digits of the change's SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nchl.errors import NchlError, RunError
from nchl.runs.files.lock import locked
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.provenance import environment
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import TOTALS, that_matter
from nchl.runs.settings.places import code_places, file_of, nth, own_files
from nchl.runs.store.code_copy import collect, digest
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.record import Record
from nchl.runs.sweep.grid import Cell
from nchl.user_code import is_place

DIGITS = 6  # of the digest of a changed file or environment
# Settings that make different tasks, each of which is made once.
PLAYED = ("task", "simulator", "image_size", "max_episode_steps", "env", "observe", "action_repeat", "wrap")


@dataclass(frozen=True)
class CellState:
    """A cell and the progress of its run.

    Attributes:
        cell: the cell.
        folder: of its run.
        state: `new`, `interrupted`, `extended` (it had ended, and the file now asks for more) or `done`.
        totals: new totals by option, for a run that was made with smaller ones.
        note: a line for the user, equal for all cells that it concerns; empty: none.
    """

    cell: Cell
    folder: Path
    state: str
    totals: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def states_of(cells: list[Cell], out: Path) -> tuple[list[CellState], list[str]]:
    """The state of each cell, and the names of other runs in the folder.

    Raises:
        RunError: folders that are not runs, or runs with other settings; names all of them and the settings.
        InvalidArgument: a rule's or network's file cannot be read.
    """
    states, wrong, environments = [], [], _Environments()
    for cell in cells:
        try:
            state, differing = _state_of(cell, out, environments)
            states.append(state)
            wrong += [f"{state.folder}: {', '.join(differing)}"] if differing else []
        except RunError as error:
            wrong.append(str(error))
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise RunError(
            f"{out} holds runs that are not those of the sweep: {shown}. "
            "Name another folder with --out, restore the file, or remove these runs"
        )
    names = {state.cell.name for state in states}
    others = sorted(entry.parent.name for entry in out.glob("*/config.json") if entry.parent.name not in names) if out.is_dir() else []
    return states, others


def present_cells(cells: Sequence[Cell], out: Path) -> tuple[list[Cell], list[str]]:
    """The cells, named by their folders for the present code and environment, and notes on those whose names have changed.

    Raises:
        RunError: a folder that is not a run.
        InvalidArgument: a rule's or network's file cannot be read.
    """
    environments = _Environments()
    found = [_present(cell, out, environments) for cell in cells]
    return [cell for cell, _ in found], list(dict.fromkeys(note for _, note in found if note))


def _present(cell: Cell, out: Path, environments: _Environments) -> tuple[Cell, str]:
    """The cell with the name of its folder for the present code and environment, and a note if that has changed."""
    notes = []
    for change in (_changed_code, _changed_start, environments.changed):
        record = _record(RunFolder(out / cell.name))
        ending, note = ("", "") if record is None else change(record, cell.config, out)
        cell = replace(cell, name=f"{cell.name}{ending}")
        notes += [note] if note else []
    return cell, "; ".join(notes)


def _state_of(cell: Cell, out: Path, environments: _Environments) -> tuple[CellState, list[str]]:
    """The state of a cell, and the differences between the settings of its run and its own."""
    cell, note = _present(cell, out, environments)
    folder = RunFolder(out / cell.name)
    record = _record(folder)
    if record is None:
        return CellState(cell, folder.path, "new", note=note), []
    totals = {name: getattr(cell.config, name) for name in TOTALS if _is_larger(name, record.settings, cell.config)}
    differing = [text for name, text in _differences(record, cell.config).items() if name not in totals]
    return CellState(cell, folder.path, _progress(folder, cell.config), totals, note), differing


def keep_totals(states: list[CellState]) -> None:
    """Write larger totals into the records of runs that these would not have continued, as they reached their target for example.

    A comparison then sees runs of equal settings.

    Raises:
        RunError: a record cannot be written, or another process holds the run.
    """
    for state in states:
        if state.state == "done" and state.totals:
            folder = RunFolder(state.folder)
            with locked(folder.path):
                record = folder.read_record()
                folder.write_record(replace(record, settings=record.settings.replace(**state.totals)))


def _record(folder: RunFolder) -> Record | None:
    """The record of a run, None if there is no run yet.

    Raises:
        RunError: a folder with other content, or an altered record.
    """
    if folder.config.exists():
        return folder.read_record()
    if folder.path.exists() and any(not entry.name.endswith(".tmp") for entry in folder.path.iterdir()):
        raise RunError(f"{folder.path} is not a run folder")
    return None


def _changed_code(record: Record, config: EvolveConfig, out: Path) -> tuple[str, str]:
    """The ending of a cell's name if its code differs from that of a run, and a line for the user; else empty texts."""
    changed = _changed_files(record, config)
    if not changed:
        return "", ""
    return _apart(changed, out)


def _changed_start(record: Record, config: EvolveConfig, out: Path) -> tuple[str, str]:
    """The same as `_changed_code` for the file of the initial genome, of which runs keep a copy."""
    name = str(config.initial_genome)
    before = record.files.get(RunFolder.INITIAL)
    if before is None or not name.endswith(".safetensors") or not Path(name).is_file():
        return "", ""
    now = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    return ("", "") if now == before else _apart({name: now}, out)


def _apart(changed: Mapping[str, str], out: Path) -> tuple[str, str]:
    """The ending for files with present contents of these digests, and the line for the user."""
    ending = "_" + "-".join(digest[:DIGITS] for digest in changed.values())
    return ending, (
        f"{', '.join(changed)} changed since runs in {out} were made with it; its present content is run in folders of its own, "
        f"with names that end in {ending}"
    )


class _Environments:
    """The present Gymnasium environments of the cells; each is made once, and only if a run has recorded its fingerprint."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Mapping[str, Any] | NchlError | None] = {}

    def changed(self, record: Record, config: EvolveConfig, out: Path) -> tuple[str, str]:
        """The same as `_changed_code` for the environment."""
        if record.environment is None:
            return "", ""
        now = self._now(config)
        if isinstance(now, NchlError):
            return "", f"{config.task} cannot be made here, so that it is not known whether it has changed since: {now}"
        changed = environment.changes(record.environment, now)
        if not changed:
            return "", ""
        ending = f"_{str(environment.digest(now))[:DIGITS]}"
        return ending, (
            f"{config.task} changed since runs in {out} were made in it ({'; '.join(changed)}); its present state is run in folders "
            f"of its own, with names that end in {ending}"
        )

    def _now(self, config: EvolveConfig) -> Mapping[str, Any] | NchlError | None:
        from nchl.runs.search.recipe import environment_of  # imports torch, which a finished sweep does without

        key = tuple(repr(getattr(config, name)) for name in PLAYED)
        if key not in self._known:
            try:
                self._known[key] = environment_of(config)
            except NchlError as error:
                self._known[key] = error
        return self._known[key]


def _changed_files(record: Record, config: EvolveConfig) -> dict[str, str]:
    """The user's files, which may have moved, that differ from those of the run: path -> present digest."""
    if record.code is None:
        return {path: digest for path, digest in own_files(config).items() if record.files.get(path, digest) != digest}
    code = collect(config)
    own_files(config)  # raises an error for a missing file
    if (now := code.record()) == record.code:
        return {}
    before = record.code["sha256"]
    changed = {path: digest(text) for path, text in code.texts.items() if digest(text) not in before.values()}
    return changed or {path: digest(text) for path, text in code.texts.items() if now["sha256"] != before}


def _progress(folder: RunFolder, config: EvolveConfig) -> str:
    """`interrupted`, `done` or `extended`: whether a run with the cell's totals would have ended where this one has."""
    if not folder.summary.exists():
        return "interrupted"
    summary = read_json(read_text(folder.summary), file=folder.summary)
    if summary.get("reason") not in TOTALS:  # the target was reached
        return "done"
    limits = {
        "generations": config.generations,
        "env_steps": config.max_steps,
        "seconds": None if config.max_minutes is None else 60 * config.max_minutes,
    }
    reached = {name: value if isinstance(value := summary.get(name), int | float) else 0 for name in limits}
    return "done" if any(most is not None and reached[name] >= most for name, most in limits.items()) else "extended"


def _is_larger(name: str, before: EvolveConfig, now: EvolveConfig) -> bool:
    old, new = getattr(before, name), getattr(now, name)
    return old is not None and new is not None and new > old


def _differences(record: Record, now: EvolveConfig) -> dict[str, str]:
    """Option -> its values in the record and in the file, if they differ."""
    old, new = (_each_place(that_matter(settings.to_json())) for settings in (record.settings, now))
    if record.code is not None:  # the code was compared before; its files may have moved
        both = [name for name in code_places(now) if is_place(old.get(name)) and _name(old[name]) == _name(new[name])]
        old, new = ({name: value for name, value in each.items() if name not in both} for each in (old, new))
    hint = " (a total that has become larger continues a run; no other can)"
    return {
        name: f"{name} is {old[name]!r} there and {new[name]!r} in the file{hint if name in TOTALS else ''}"
        for name in new
        if old.get(name) != new[name]
    }


def _each_place(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with each file of a list of places under a name of its own, as in `runs.settings.places.code_places`."""
    apart = dict(settings)
    for option, value in settings.items():
        if isinstance(value, list) and any(map(is_place, value)):
            apart |= {nth(option, k): place for k, place in enumerate(value) if is_place(place)}
            apart[option] = [nth(option, k) if is_place(place) else place for k, place in enumerate(value)]
    return apart


def _name(place: str) -> str:
    """`FILE:NAME` without the folder."""
    return f"{Path(file_of(place)).name}:{place.rpartition(':')[2]}"
