"""How far the cells of a sweep are, from what lies in its folder.

A folder that was made with other settings is refused, with two exceptions: a total (`generations`, `max_steps`, `max_minutes`) that has
become larger since continues the run, and what its name does not tell (the file of a rule or network, a Gymnasium environment) is run in
a folder of its own where it has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nchl.errors import NchlError, RunError
from nchl.runs.provenance import environment
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import TOTALS, that_matter
from nchl.runs.store.code_copy import collect, digest, named, nth
from nchl.runs.store.files import read_json, read_text
from nchl.runs.store.folder import Record, RunFolder, own_files
from nchl.runs.store.lock import locked
from nchl.runs.sweep.grid import Cell
from nchl.user_code import is_place

DIGITS = 6  # of the digest that names a changed file or environment


@dataclass(frozen=True)
class CellState:
    """A cell and how far its folder is.

    Attributes:
        cell: the cell.
        folder: where its run is or will be.
        state: `new`, `interrupted`, `extended` (it had ended, and the file now asks for more) or `done`.
        totals: new totals by option, for a run that was made with smaller ones.
        note: what the user should know, equal for cells that it concerns alike; empty: nothing.
    """

    cell: Cell
    folder: Path
    state: str
    totals: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def look(cells: list[Cell], out: Path) -> tuple[list[CellState], list[str]]:
    """How far each cell is, and the names of other runs in the folder.

    Raises:
        RunError: a folder is no run, or was made with other settings; names all of these and what differs.
        InvalidArgument: a rule's or network's file cannot be read.
    """
    states, wrong, environments = [], [], _Environments()
    for each in cells:
        cell, notes = each, []
        try:
            for has_changed in (_changed_code, environments.changed):
                record = _record(RunFolder(out / cell.name))
                ending, note = ("", "") if record is None else has_changed(record, cell.config, out)
                cell = replace(cell, name=f"{cell.name}{ending}")
                notes += [note] if note else []
            folder, note = RunFolder(out / cell.name), "; ".join(notes)
            record = _record(folder)
            if record is None:
                states.append(CellState(cell, folder.path, "new", note=note))
                continue
            differences = _differences(record, cell.config)
            totals = {name: getattr(cell.config, name) for name in TOTALS if _larger(name, record.settings, cell.config)}
            differing = [text for name, text in differences.items() if name not in totals]
            if differing:
                wrong.append(f"{folder.path}: {', '.join(differing)}")
            states.append(CellState(cell, folder.path, _state(folder, cell.config), totals, note))
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


def keep_totals(states: list[CellState]) -> None:
    """Write larger totals into the records of runs that would have ended where they did with these as well (at their target, say).

    So a comparison sees runs of equal settings.

    Raises:
        RunError: a record cannot be written, or another process works on that run.
    """
    for state in states:
        if state.state == "done" and state.totals:
            folder = RunFolder(state.folder)
            with locked(folder.path):
                record = folder.read_record()
                folder.write_record(replace(record, settings=record.settings.replace(**state.totals)))


def _record(folder: RunFolder) -> Record | None:
    """The record of a run, None where there is no run yet.

    Raises:
        RunError: a folder with something else in it, or an altered record.
    """
    if folder.config.exists():
        return folder.read_record()
    if folder.path.exists() and any(not entry.name.endswith(".tmp") for entry in folder.path.iterdir()):
        raise RunError(f"{folder.path} is not a run folder")
    return None


def _changed_code(record: Record, config: EvolveConfig, out: Path) -> tuple[str, str]:
    """What the name of a cell ends in whose rule or network is another one than that of a run, and a line for the user; else empty."""
    changed = _changed_files(record, config)
    if not changed:
        return "", ""
    ending = "_" + "-".join(digest[:DIGITS] for digest in changed.values())
    return ending, (
        f"{', '.join(changed)} changed since runs in {out} were made with it; what it holds now is run in folders of its own, "
        f"whose names end in {ending}"
    )


class _Environments:
    """The Gymnasium environments of the cells as they are now, each made once, and only where a run has recorded what it was made of."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Mapping[str, Any] | NchlError | None] = {}

    def changed(self, record: Record, config: EvolveConfig, out: Path) -> tuple[str, str]:
        """As `_changed_code`, of the environment."""
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
            f"{config.task} changed since runs in {out} were made in it ({'; '.join(changed)}); what it is now is run in folders "
            f"of its own, whose names end in {ending}"
        )

    def _now(self, config: EvolveConfig) -> Mapping[str, Any] | NchlError | None:
        key = (config.task, config.simulator, config.image_size, config.max_episode_steps)
        if key not in self._known:
            try:
                self._known[key] = environment.of_settings(config)
            except NchlError as error:
                self._known[key] = error
        return self._known[key]


def _changed_files(record: Record, config: EvolveConfig) -> dict[str, str]:
    """Path of each of the user's own files that is not what the run was made with -> its digest now; it may have moved."""
    if record.code is None:
        return {path: digest for path, digest in own_files(config).items() if record.files.get(path, digest) != digest}
    code = collect(config)
    own_files(config)  # names what is not there
    if (now := code.record()) == record.code:
        return {}
    before = record.code["sha256"]
    changed = {path: digest(text) for path, text in code.texts.items() if digest(text) not in before.values()}
    return changed or {path: digest(text) for path, text in code.texts.items() if now["sha256"] != before}


def _state(folder: RunFolder, config: EvolveConfig) -> str:
    """Whether a run with these totals would have ended where this one has."""
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
    return "done" if any(most is not None and _number(summary.get(name)) >= most for name, most in limits.items()) else "extended"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _larger(name: str, before: EvolveConfig, now: EvolveConfig) -> bool:
    old, new = getattr(before, name), getattr(now, name)
    return old is not None and new is not None and new > old


def _differences(record: Record, now: EvolveConfig) -> dict[str, str]:
    old, new = (_each_place(that_matter(settings.to_json())) for settings in (record.settings, now))
    if record.code is not None:  # the same code, as was seen before: wherever its files lie now
        both = [name for name in named(now) if is_place(old.get(name)) and _name(old[name]) == _name(new[name])]
        old, new = ({name: value for name, value in each.items() if name not in both} for each in (old, new))
    hint = " (a total that has become larger continues a run; no other can)"
    return {
        name: f"{name} is {old[name]!r} there and {new[name]!r} in the file{hint if name in TOTALS else ''}"
        for name in new
        if old.get(name) != new[name]
    }


def _each_place(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with each file of a list of places under a name of its own, as `runs.store.code_copy.named` gives them."""
    apart = dict(settings)
    for option, value in settings.items():
        if isinstance(value, list) and any(map(is_place, value)):
            apart |= {nth(option, k): place for k, place in enumerate(value) if is_place(place)}
            apart[option] = [nth(option, k) if is_place(place) else place for k, place in enumerate(value)]
    return apart


def _name(place: str) -> str:
    """The name of the function in a place, with that of its file."""
    file, _, name = place.rpartition(":")
    return f"{Path(file).name}:{name}"
