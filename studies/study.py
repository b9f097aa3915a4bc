"""Run a study, keep what its finished cells gave, and write its page: `python studies/study.py run|status|page NAME`.

    run NAME      run what is not committed yet, with an installed copy of the study's commit, at idle priority
    status NAME   how many cells of each sweep are there
    page NAME     write the tables and pictures of docs/NAME.md anew from the committed cells; --check: only compare

`README.md` beside this file says how the folder of a study is laid out.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from softhebb_runs import read_runs

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("config.json", "metrics.csv", "summary.json", "best.safetensors", "centre.safetensors")
LARGEST_CHECKPOINT = 300_000  # bytes; a larger one is not kept, and the cell begins anew elsewhere
LOOK_SECONDS = 20.0
OF_RULES = ("--controls", "--dynamics")  # options that have no meaning for a network whose weights never change
_BLOCK = re.compile(r"<!-- table ([a-z0-9-]+) -->\n.*?<!-- /table -->", re.S)


class StudyError(Exception):
    """A study that cannot be used as it is; the message says why."""


@dataclass(frozen=True)
class Step:
    """A part of a study: the first so many seeds of a sweep (None: all)."""

    sweep: str
    seeds: int | None


@dataclass(frozen=True)
class Study:
    """The folder of a study.

    Attributes:
        folder: `studies/NAME`.
        commit: of nchl, with which all cells are made.
        packages: requirements of pip that fix the versions of what the bits depend on.
        steps: what is run, in this order.
        continues: sweep -> the sweep with fewer steps whose runs it goes on with.
        afterwards: name of a file -> the command of nchl, without the run's folder, whose JSON of a finished cell is kept under that name.
    """

    folder: Path
    commit: str
    packages: tuple[str, ...]
    steps: tuple[Step, ...]
    continues: dict[str, str] = field(default_factory=dict)
    afterwards: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """That of its folder and of its page."""
        return self.folder.name

    @property
    def sweeps(self) -> list[str]:
        """The sweeps, each once, in the order of the steps."""
        return list(dict.fromkeys(step.sweep for step in self.steps))

    def file(self, sweep: str) -> Path:
        """The sweep's file."""
        return self.folder / f"{sweep}.yaml"

    def cells(self, sweep: str) -> list[Path]:
        """The folders of a sweep's finished cells."""
        return sorted(path.parent for path in (self.folder / "cells" / sweep).glob("*/summary.json"))

    def cell_names(self, sweep: str) -> list[str]:
        """The names of all cells that a sweep's file describes."""
        from nchl.runs.sweep.grid import read_sweep

        if (of_images := read_runs(self.file(sweep))) is not None:
            return list(of_images)
        return [cell.name for cell in read_sweep(self.file(sweep))]

    @property
    def of_images(self) -> list[str]:
        """The sweeps whose cells are runs of `nchl softhebb`."""
        return [sweep for sweep in self.sweeps if read_runs(self.file(sweep)) is not None]

    def missing(self) -> dict[str, list[str]]:
        """Sweep -> the names of its cells that are not there; sweeps that are whole are left out."""
        found = {}
        for sweep in self.sweeps:
            there = {path.name for path in self.cells(sweep)}
            if missing := [name for name in self.cell_names(sweep) if name not in there]:
                found[sweep] = missing
        return found


def read_study(name: str, root: Path = ROOT) -> Study:
    """The study of that name.

    Raises:
        StudyError: there is none, or its `study.yaml` lacks or misspells something.
    """
    import yaml

    folder = root / "studies" / name
    file = folder / "study.yaml"
    if not file.is_file():
        raise StudyError(
            f"there is no {file}; the studies are {', '.join(sorted(p.parent.name for p in folder.parent.glob('*/study.yaml')))}"
        )
    data = yaml.safe_load(file.read_text())
    known = {"commit", "packages", "steps", "continues", "afterwards"}
    if not isinstance(data, dict) or not {"commit", "packages", "steps"} <= set(data) <= known:
        raise StudyError(f"{file}: expected commit, packages, steps, and if need be continues and afterwards; got {list(data or ())}")
    steps = []
    for each in data["steps"]:
        sweep, seeds = next(iter(each.items())) if isinstance(each, dict) else (each, None)
        if not (folder / f"{sweep}.yaml").is_file():
            raise StudyError(f"{file}: there is no sweep {sweep}.yaml beside it")
        steps.append(Step(sweep, seeds))
    afterwards = {}
    for name, command in (data.get("afterwards") or {}).items():
        if not isinstance(command, str) or f"{name}.json" in KEPT:
            raise StudyError(
                f"{file}: afterwards: expected a name and a command such as `evaluation: evaluate --controls`, got {name}: {command}"
            )
        afterwards[f"{name}.json"] = shlex.split(command)
    return Study(folder, str(data["commit"]), tuple(data["packages"]), tuple(steps), data.get("continues") or {}, afterwards)


# --- running ---------------------------------------------------------------------------------------------------------------------------


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


def clean_environment() -> dict[str, str]:
    """The environment without PYTHONPATH and the like, which would put another nchl before the installed one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


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


# --- the page --------------------------------------------------------------------------------------------------------------------------


def page_of(study: Study) -> ModuleType:
    """`studies/NAME/page.py`, which has `tables(study)` (name -> Markdown) and may have `pictures(study, folder)`."""
    spec = importlib.util.spec_from_file_location(f"page_of_{study.name}", study.folder / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


def written(study: Study, text: str) -> str:
    """The page's text with its tables made anew.

    Raises:
        StudyError: a table that has no place on the page, or a place without a table.
    """
    tables = {"progress": progress(study), **page_of(study).tables(study)}
    places = _BLOCK.findall(text)
    if sorted(places) != sorted(tables):
        raise StudyError(f"docs/{study.name}.md has places for the tables {sorted(places)}, and there are {sorted(tables)}")
    return _BLOCK.sub(lambda match: f"<!-- table {match[1]} -->\n{tables[match[1]].strip()}\n<!-- /table -->", text)


def progress(study: Study) -> str:
    """Markdown: how many cells of each sweep are there, and a warning as long as some are missing."""
    missing = study.missing()
    rows = [
        f"| `{sweep}` | {len(study.cell_names(sweep)) - len(missing.get(sweep, ()))} | {len(study.cell_names(sweep))} |"
        for sweep in study.sweeps
    ]
    table = "\n".join(["| sweep | cells there | cells in all |", "| --- | ---: | ---: |", *rows])
    left = sum(map(len, missing.values()))
    if not left:
        return f"{table}\n\nAll cells are there."
    return f"**This page is partial: {left} cells are not there yet.** `python studies/study.py run {study.name}` makes them.\n\n{table}"


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "status", "page"))
    parser.add_argument("name", help="of a folder in studies/")
    parser.add_argument("--jobs", type=int, default=2, help="run: runs side by side, each with its share of the cores (default: 2)")
    parser.add_argument("--data", metavar="DATA", help="run: the images of a study of SoftHebb, as `nchl softhebb` takes them")
    parser.add_argument("--work", type=Path, help="run: where the runs are made (default: runs/studies/NAME)")
    parser.add_argument("--programs", type=Path, help="run: the bin folder of an environment that has nchl at the study's commit")
    parser.add_argument("--check", action="store_true", help="page: write nothing, and fail where a table is not as the cells say")
    args = parser.parse_args(words)
    try:
        study = read_study(args.name)
        if args.verb == "status":
            for sweep, missing in study.missing().items():
                print(f"{sweep}: {len(missing)} missing: {', '.join(missing)}")
            return 0
        if args.verb == "run":
            work = (args.work or ROOT / "runs" / "studies" / study.name).absolute()
            work.mkdir(parents=True, exist_ok=True)
            return run(study, work, args.programs or installed(study, work), args.jobs, args.data)
        page = ROOT / "docs" / f"{study.name}.md"
        before = page.read_text()
        after = written(study, before)
        if args.check:
            print("as the cells say" if after == before else f"{page} is not as the cells say: python studies/study.py page {study.name}")
            return int(after != before)
        page.write_text(after)
        if hasattr(module := page_of(study), "pictures"):
            module.pictures(study, ROOT / "docs" / "images")
        return 0
    except StudyError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
