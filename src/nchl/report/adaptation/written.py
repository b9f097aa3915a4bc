"""A study as files: where the user wants them, and in the folders of its runs, where their pages take it from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nchl.errors import NchlError, RunError
from nchl.report.adaptation.study import Study
from nchl.report.adaptation.tables import render
from nchl.report.compare.runs import digest
from nchl.report.plots import adaptation as plots
from nchl.runs.adaptation.trials import CONTROLS
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.writing import finite, write_atomically, write_json
from nchl.runs.results.result import WHICH
from nchl.runs.store.folder import RunFolder

NAME = "adaptation.json"
_LARGEST = 1 << 26


def write(study: Study, kept: Mapping[str, Any], folder: Path) -> list[Path]:
    """Text, Markdown, CSV, JSON and the figure, in place of those of an earlier study.

    Raises:
        NchlError: a folder that cannot be written to.
    """
    figure = folder / "adaptation.png"
    # The digests tell a page whether the study is of its individual.
    whole = {"individuals": study.digests, **kept}
    made = {
        "adaptation.txt": render(study, "text"),
        "adaptation.md": render(study, "markdown"),
        "adaptation.csv": render(study, "csv"),
        NAME: json.dumps(finite(whole), indent=1, allow_nan=False),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First, so that a process that is killed now leaves no files of two studies beside each other.
        for file in (figure, *(folder / name for name in made)):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise NchlError(f"cannot write to the folder {folder}: {error.strerror or error}; name another with --out") from error
    for name, text in made.items():
        write_atomically(folder / name, (text + "\n").encode(), of_a_run=False)
    return [*(folder / name for name in made), *plots.save(kept, figure)]


def keep(study: Study, kept: Mapping[str, Any]) -> list[str]:
    """Leave the study in the folder of each of its runs, in place of one with the same suite.

    Returns:
        Lines about folders that cannot be used, and about other studies that were replaced.
    """
    lines = []
    for folder in (folder for folders in study.runs.values() for folder in folders):
        run = RunFolder.open(Path(folder))
        if run.individual is not None:
            lines.append(f"{folder} does not keep the study, because nothing is written into the zoo; --out DIR writes it elsewhere")
            continue
        file = run.path / name_of(study.suite)
        former, now = _played(file), _described(kept)
        try:
            write_json(file, {"individual_sha256": study.digests[folder], **kept}, of_a_run=False)
        except (NchlError, OSError) as error:
            lines.append(f"{folder} does not keep the study, which its report would show: {error}")
            continue
        if former not in (None, now):
            lines.append(
                f"{file}: this study replaces the one that was kept there, {former}; a suite file of your own keeps its studies apart"
            )
    return lines


def _played(file: Path) -> str | None:
    """What a kept study is of; None where there is none that can be read."""
    try:
        return _described(read_json(read_text(file, largest=_LARGEST), file=file)) if file.is_file() else None
    except (NchlError, OSError, KeyError, TypeError):
        return None


def _described(kept: Mapping[str, Any]) -> str:
    texts = dict.fromkeys(str(row["spec"]) for row in kept["rows"])
    return f"of {', '.join(texts)} ({'best individual' if kept['which'] == 'best' else 'centre'})"


def name_of(suite: str) -> str:
    """The file of a suite in a run's folder."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", suite)[:80]
    return f"adaptation-{plain if plain == suite else f'{plain}-{hashlib.sha256(suite.encode()).hexdigest()[:8]}'}.json"


def studies(folder: RunFolder) -> list[Path]:
    """Files of the studies that a run's folder keeps, one for each suite."""
    # Earlier builds kept one study, in the file `NAME`.
    return [path for path in (folder.path / NAME, *sorted(folder.path.glob("adaptation-*.json"))) if path.is_file()]


def read(folder: RunFolder, path: Path) -> dict[str, Any] | None:
    """A study, if the individual that lies in a run's folder now has played in it; else None.

    Args:
        folder: of the run.
        path: a file of `studies`, or the file `NAME` of `write`, which may be of several individuals.

    Raises:
        RunError: the file was altered.
    """
    data: dict[str, Any] = dict(read_json(read_text(path, largest=_LARGEST), file=path))
    several = data.get("individuals")
    which = data.get("which", "best") if "individual_sha256" in data or several is not None else "best"
    if which not in WHICH:
        raise RunError(f"{path} was altered (which: {which!r}); remove it, and `nchl adapt` makes it anew")
    played = folder.result(which)
    stated = [data.get("individual_sha256", data.get("best_sha256"))] if not isinstance(several, dict) else several.values()
    if not played.is_file() or digest(played) not in stated:
        return None
    try:
        for row in data["rows"]:
            curve, survival = row["curve"], row["survival"]
            lengths = {len(curve[name]) for name in ("offset", "mean", "low", "high", "intact")}
            if len(lengths) != 1 or len(survival["steps"]) != len(survival["unrecovered"]):
                raise ValueError("curves of unequal lengths")
            for name in ("group", "perturbation", "control", "mean", "low", "high", "intact_mean", "retained", "recovered"):
                row[name]
            if row["control"] not in CONTROLS:
                raise ValueError(f"a control {row['control']!r}")
        data["task"], data["suite"], data["episodes"], data["which"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} was altered ({type(error).__name__}: {error}); remove it, and `nchl adapt` makes it anew") from error
    return data
