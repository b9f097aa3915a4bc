"""The runs of a study, made with an installed copy of its commit."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from study_cells import bring, clean_environment, keep_finished, keep_unfinished
from study_folder import ROOT, Study, StudyError

LOOK_SECONDS = 20.0


def installed(study: Study, work: Path) -> Path:
    """The folder of the programs of a copy of nchl at the study's commit, installed in `work` where it is not there yet."""
    extras = "vision" if study.of_images else "sim,report"
    place = work.parent / f"nchl-{study.commit[:10]}{'-vision' if study.of_images else ''}"
    if not (place / "whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        pip = [str(place / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for words in (
            ["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(place / "source")],
            ["git", "-C", str(place / "source"), "checkout", "--quiet", "--detach", study.commit],
            [sys.executable, "-m", "venv", str(place / "venv")],
            [*pip, *study.packages],  # torch first and alone: what follows takes the one that is there
            [*pip, f"{place / 'source'}[{extras}]", *study.packages],
        ):
            print("+", " ".join(words), flush=True)
            subprocess.run(words, check=True, cwd=ROOT, env=clean_environment())
        (place / "whole").touch()
    return place / "venv/bin"


def run(study: Study, work: Path, programs: Path, jobs: int, images: str | None = None) -> int:
    """Run the steps in order, and keep what has finished at once.

    Args:
        study: the study.
        work: folder of the runs.
        programs: folder of the program `nchl` at the study's commit.
        jobs: runs side by side; those of `nchl softhebb` take all cores, one after the other.
        images: what these learn from.

    Returns:
        0, the exit code of the first step in which a cell failed, or 128 plus the number of the signal that ended it.

    Raises:
        StudyError: a sweep learns from images, and none are named.
    """
    if images is None and study.of_images:
        raise StudyError(f"{', '.join(study.of_images)} of {study.name} learn from images: name them with --data DATA")
    idle = [*(["chrt", "--idle", "0"] if shutil.which("chrt") else []), *(["nice", "-n", "19"] if shutil.which("nice") else [])]
    failed = 0
    for step in study.steps:
        out = work / step.sweep
        bring(study, step.sweep, work)
        with first_seeds(study.file(step.sweep), step.seeds) as file:
            words = [str(programs / "nchl"), "sweep", str(file), "--out", str(out), "--jobs", str(jobs)]
            if step.sweep in study.of_images:
                words = [sys.executable, str(ROOT / "studies" / "softhebb_runs.py"), str(file), "--data", str(images), "--out", str(out)]
                words += ["--nchl", str(programs / "nchl")]
            code = watched([*idle, *words], lambda sweep=step.sweep: keep_finished(study, sweep, work, programs))  # type: ignore[misc]
        keep_finished(study, step.sweep, work, programs)
        if code >= 128:
            keep_unfinished(study, step.sweep, work)
            return code
        failed = failed or code
    return failed


def watched(words: Sequence[str], look: Callable[[], Any]) -> int:
    """Run a command and look now and then; Ctrl-C and a request to end are passed on. Its exit code."""
    # A session of its own: a signal comes to it through us alone, once.
    process = subprocess.Popen(words, start_new_session=True, env=clean_environment())
    received: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        received.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            try:
                code = process.wait(LOOK_SECONDS)
                return 128 + received[-1] if received else code
            except subprocess.TimeoutExpired:
                look()
    finally:
        if process.poll() is None:  # what we saw stops the study: no run goes on unseen
            process.send_signal(signal.SIGTERM)
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def first_seeds(file: Path, count: int | None) -> Iterator[Path]:
    """A sweep's file with its first so many seeds, in the same folder, for files of one's own are named from there."""
    import yaml

    if count is None:
        yield file
        return
    data = yaml.safe_load(file.read_text())
    seeds = data.get("seeds", 1)
    data["seeds"] = (list(range(seeds)) if isinstance(seeds, int) else seeds)[:count]
    part = file.with_name(f".{file.stem}-part.yaml")
    part.write_text(json.dumps(data))
    try:
        yield part
    finally:
        part.unlink()
