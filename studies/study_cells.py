"""What a study keeps of its cells: copied into its folder as they finish, and back when a run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from study_folder import KEPT, Study, StudyError

LARGEST_CHECKPOINT = 300_000  # bytes; a larger one is not kept, and the cell begins anew elsewhere
OF_RULES = ("--controls", "--dynamics")  # options that have no meaning for a network whose weights never change


def bring(study: Study, sweep: str, work: Path) -> None:
    """Put into the folder of a sweep's runs what is kept of them, and of the shorter runs that it goes on with."""
    sources = [study.folder / kind / sweep for kind in ("cells", "unfinished")]
    if shorter := study.continues.get(sweep):
        sources += [work / shorter, study.folder / "cells" / shorter]
    names = set(study.cell_names(sweep))
    for source in sources:
        for cell in sorted(source.glob("*/config.json")):
            place = work / sweep / cell.parent.name
            whole = (source.parent.name != work.name and source.name == sweep) or any(cell.parent.glob("checkpoints/*"))
            if cell.parent.name in names and whole and not place.exists():
                shutil.copytree(cell.parent, place)


def keep_finished(study: Study, sweep: str, work: Path, programs: Path | None = None) -> list[str]:
    """Copy what the finished cells have given into the study's folder; returns their names.

    Raises:
        StudyError: a cell was made with another commit.
    """
    kept = []
    for summary in sorted((work / sweep).glob("*/summary.json")):
        run, place = summary.parent, study.folder / "cells" / sweep / summary.parent.name
        # What was brought of a shorter run ends as that one did, until it goes on.
        shorter = study.folder / "cells" / study.continues.get(sweep, sweep) / run.name
        if any(same_end(each / "summary.json", summary) for each in (place, shorter)):
            continue
        if wrong := foreign(run, study.commit):
            raise StudyError(f"{run} was made with {', '.join(sorted(wrong))}, not with the study's commit {study.commit}")
        if programs is not None:
            for name, command in study.afterwards.items():
                play(run, programs, name, command)
        copy_cell(run, place, checkpoint=sweep in study.continues.values(), more=study.afterwards)
        shutil.rmtree(study.folder / "unfinished" / sweep / run.name, ignore_errors=True)
        kept.append(run.name)
        print(f"kept {sweep}/{run.name}", flush=True)
    return kept


def same_end(kept: Path, summary: Path) -> bool:
    """Whether a kept summary is that of a run."""
    return kept.exists() and kept.read_bytes() == summary.read_bytes()


def foreign(run: Path, commit: str) -> set[str]:
    """The commits other than the study's, or with changes beside it, with which a run was made."""
    sessions = json.loads((run / "config.json").read_text())["sessions"]
    told = {f"{session.get('commit')}{' (changed)' if session.get('dirty') else ''}" for session in sessions}
    return told - {commit}


def play(run: Path, programs: Path, name: str, command: Sequence[str]) -> None:
    """Let the best individual play by a command of nchl; the JSON that it prints is kept in the run's folder.

    Raises:
        StudyError: the command fails.
    """
    plastic = json.loads((run / "config.json").read_text())["plastic"]
    options = [word for word in command[1:] if plastic or word not in OF_RULES]
    words = [str(programs / "nchl"), command[0], str(run), *options, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        raise StudyError(f"{shlex.join(words)} failed: {done.stderr.strip()}")
    about = {"best_sha256": hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest(), **json.loads(done.stdout)}
    (run / name).write_text(json.dumps(about, indent=1))


def keep_unfinished(study: Study, sweep: str, work: Path) -> None:
    """Copy cells that were interrupted, with their newest checkpoint, so that they go on elsewhere."""
    for config in sorted((work / sweep).glob("*/config.json")):
        run = config.parent
        if not (run / "summary.json").exists() and any(run.glob("checkpoints/*.safetensors")):
            place = study.folder / "unfinished" / sweep / run.name
            shutil.rmtree(place, ignore_errors=True)
            if copy_cell(run, place, checkpoint=True):
                print(f"kept {sweep}/{run.name}, which is not finished", flush=True)
            else:
                shutil.rmtree(place)


def copy_cell(run: Path, place: Path, *, checkpoint: bool, more: Iterable[str] = ()) -> bool:
    """Copy the small files of a run, `summary.json` last, for it says that the run is whole; returns whether a checkpoint is among them."""
    place.mkdir(parents=True, exist_ok=True)
    for name in sorted((*KEPT, *more), key=lambda name: name == "summary.json"):
        if (run / name).exists():
            shutil.copyfile(run / name, place / name)
    newest = max(run.glob("checkpoints/*.safetensors"), default=None)
    if not checkpoint or newest is None or newest.stat().st_size > LARGEST_CHECKPOINT:
        return False
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    (place / "checkpoints").mkdir()
    shutil.copyfile(newest, place / "checkpoints" / newest.name)
    return True


def clean_environment() -> dict[str, str]:
    """The environment without PYTHONPATH and the like, which would put another nchl before the installed one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
