"""The folder of a study: `study.yaml`, its sweeps, and the cells that are there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from softhebb_runs import read_runs

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("config.json", "metrics.csv", "summary.json", "best.safetensors", "centre.safetensors")


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
