"""Reads runs for a comparison: settings, learning curve, reason of the end. Neither torch nor a simulator is imported, so that hundreds of
runs take seconds. A run in progress is read as far as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from nchl import zoo
from nchl.errors import RunError
from nchl.report.formatting import hashable
from nchl.runs import function_run
from nchl.runs.files.lock import in_use
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.provenance import environment
from nchl.runs.provenance.sessions import nchl_of, session
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.network_options import with_rule
from nchl.runs.settings.options import that_matter
from nchl.runs.settings.perturbation_options import sets_of
from nchl.runs.store.code_copy import collect
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import read_metrics
from nchl.runs.store.record import Record

EVALUATION = "evaluation.json"
_COLUMNS = ("evaluations", "env_steps", "mean", "best_so_far", "validation_centre", "search_seconds", "non_finite")
DIGITS = 6  # of a digest beside a name


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: run folder.
        task: id of the task.
        seed: seed of the run.
        settings: the options that results depend on, without task and seed; the rule also where it is the network's own; a user's rule
            and network by name and digest, as in `oja (3f2a1b)`; the simulator that was used.
        columns: name -> column of `metrics.csv`, (generations,); NaN where a cell is empty, and validations are NaN unless each
            generation had some.
        generations: number of finished generations.
        total: number of generations in the settings.
        reason: reason of the end; None if the run has not ended.
        running: whether a process is writing to the folder.
        nparams: length of the genome; None before the first checkpoint.
        evaluation: evaluation of the present best individual, see `evaluate_runs`, or None.
        environment: digest of the Gymnasium environment; None if a package version identifies it, and for older runs.
        perturbations: sets of perturbations of which each episode of its training had one; empty for none.
        versions: name -> the versions of nchl, and of the packages that results depend on, in its sessions; empty where none is known.
    """

    folder: Path
    task: str
    seed: int
    settings: dict[str, Any]
    columns: dict[str, Float[np.ndarray, " generations"]]
    generations: int
    total: int | None
    reason: str | None
    running: bool
    nparams: int | None
    evaluation: Mapping[str, Any] | None
    environment: str | None = None
    perturbations: tuple[str, ...] = ()
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def evaluated_under(self) -> tuple[str, ...]:
        """The sets of perturbations of which each episode of its evaluation had one; without an evaluation those of its training."""
        return self.perturbations if self.evaluation is None else tuple(self.evaluation.get("perturbations", self.perturbations))

    @property
    def non_finite(self) -> int:
        """Episodes of the evaluation that were not finite, and are not in its mean."""
        return 0 if self.evaluation is None else int(self.evaluation.get("non_finite") or 0)

    def last(self, column: str) -> float:
        """A column's value in the last generation; NaN if it is not finite or there is no generation."""
        values = self.columns[column]
        return float(values[-1]) if values.size and np.isfinite(values[-1]) else float("nan")


def one_or_more(places: Any) -> Iterable[Any]:
    """Places, or a single one, which is not an iterable of its letters."""
    return [places] if isinstance(places, str | os.PathLike | Run) else places


def find_runs(places: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The zoo individuals and run folders among the places or up to two levels below them, without repetition; and warnings about others.

    Raises:
        RunError: a place is no folder, or holds no run.
    """
    found: dict[Path, Path] = {}
    left_out: list[str] = []
    for place in places:
        if (name := zoo.name_of(place)) is not None:
            found.setdefault(zoo.checked_folder(name).resolve(), place)
            continue
        if not place.is_dir():
            raise RunError(f"there is no folder {place}; give run folders, or folders that hold some")
        configs = [place / "config.json"] if (place / "config.json").is_file() else []
        configs = configs or sorted([*place.glob("*/config.json"), *place.glob("*/*/config.json")])
        if not configs:
            raise RunError(f"{place} holds no run: there is no config.json in it, nor up to two folders below")
        for config in configs:
            if config.parent != place and _kind(config) == "softhebb":
                left_out.append(f"{config.parent} is a run of `nchl softhebb` and was left out")
                continue
            found.setdefault(config.parent.resolve(), config.parent)
    if not found:
        raise RunError(f"there is no run of `nchl evolve` to compare; {'; '.join(left_out)}")
    return list(found.values()), left_out


def read_run(path: Path) -> Run:
    """Read one run.

    Raises:
        RunError: the folder is no run folder, or a file was altered; names it.
    """
    folder = RunFolder.open(path)
    record = folder.read_record()
    rows = read_metrics(folder.metrics) if folder.metrics.exists() else []
    columns = {name: np.array([_number(row, name, folder.metrics) for row in rows], dtype=np.float64) for name in _COLUMNS}
    for name in ("evaluations", "env_steps"):
        if not (np.isfinite(columns[name]).all() and (np.diff(columns[name], prepend=0) >= 0).all()):
            raise RunError(f"{folder.metrics} was altered: column {name!r} must hold numbers that never fall")
    reason = None
    if folder.summary.exists():
        reason = str(read_json(read_text(folder.summary), file=folder.summary).get("reason"))
    config = record.settings
    if not config.validation_episodes:  # with a target, the generations at it were validated
        columns["validation_centre"][:] = np.nan
    return Run(
        folder=path,
        task=config.task,
        seed=int(config.seed or 0),
        settings=_settings(record),
        columns=columns,
        generations=len(rows),
        total=config.generations,
        reason=reason,
        running=reason is None and in_use(path),
        nparams=_genome_length(folder.start),
        evaluation=read_evaluation(folder),
        environment=environment.digest(record.environment),
        perturbations=sets_of(config),
        versions=versions_of(record),
    )


def read_function_run(config: EvolveConfig, folder: Path) -> Run:
    """Read one run on a test function, from a folder of `runs.function_run.run_function`.

    Raises:
        RunError: a file is damaged.
    """
    data, found = function_run.read_columns(folder), function_run.function_of(config.task)
    assert found is not None
    return Run(
        folder=folder,
        task=config.task,
        seed=int(config.seed or 0),
        settings={name: hashable(value) for name, value in data["settings"].items() if name not in ("task", "seed")},
        columns=data["columns"],
        generations=len(data["columns"]["mean"]),
        total=None,
        reason=str(data["reason"]),
        running=False,
        nparams=found[1],
        evaluation=None,
    )


def read_evaluation(folder: RunFolder) -> Mapping[str, Any] | None:
    """The evaluation in a run folder, if it is of the present best individual and code; else None."""
    path = folder.path / EVALUATION
    if not path.is_file() or not folder.best.is_file():
        return None
    data = read_json(read_text(path), file=path)
    if not all(isinstance(data.get(name), int) for name in ("episodes", "seed")):
        raise RunError(f"{path} was altered: episodes and seed must be whole numbers; remove it, and it is made anew by --evaluate")
    sets, versions = data.get("perturbations", []), data.get("versions", {})
    if (
        not isinstance(sets, list)
        or not isinstance(versions, dict)
        or not all(isinstance(each, str) for each in (*sets, *versions.values()))
    ):
        raise RunError(f"{path} was altered: perturbations and versions must hold texts; remove it, and it is made anew by --evaluate")
    if data.get("best_sha256") != digest(folder.best):
        return None
    record = folder.read_record()
    code = collect(record.settings).digests if record.code is None else record.code.get("sha256")
    return data if data.get("code", {}) == code else None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions_of(record: Record) -> dict[str, tuple[str, ...]]:
    """See `Run.versions`."""
    told = record.sessions or [session(record.started, record.versions)]
    found: dict[str, dict[str, None]] = {}
    for each in told:
        packages = {name: version for name, version in each["versions"].items() if name in record.same_bits}
        for name, version in {"nchl": nchl_of(each), **packages}.items():
            if version is not None:
                found.setdefault(name, {})[str(version)] = None
    return {name: tuple(versions) for name, versions in found.items()}


def _settings(record: Record) -> dict[str, Any]:
    """The settings that make runs the same experiment, whatever the folders of their files and the value of `simulator auto`."""
    settings = that_matter(record.settings.to_json())
    for name in ("task", "seed"):
        del settings[name]
    settings["network"], settings["rule"] = with_rule(str(settings["network"]), settings["rule"])
    settings["simulator"] = record.same_bits.get("simulator", settings["simulator"])
    others = dict(record.files)
    for name in ("network", "rule", "strategy"):
        if settings[name] is not None and ":" in settings[name] and not settings[name].startswith("evosax:"):
            file, _, attribute = settings[name].rpartition(":")
            # Named by content: files of one name may differ, and equal files may have different paths.
            stated = others.pop(file, None) or record.files.get(file)
            settings[name] = attribute if stated is None else f"{attribute} ({stated[:DIGITS]})"
    initial = others.pop(RunFolder.INITIAL, None)
    if initial is not None:
        others.pop(str(settings["initial_genome"]), None)
        settings["initial_genome"] = f"file ({initial[:DIGITS]})"
    if record.code is not None:
        main = {str(place).rpartition(":")[0] for place in record.code["places"].values()}
        others |= {name: stated for name, stated in record.code["sha256"].items() if name not in main}
    if others:
        settings["files"] = " ".join(sorted(stated[:8] for stated in others.values()))
    if record.environment is not None:
        settings["environment"] = str(environment.digest(record.environment))[:8]
    return {name: hashable(value) for name, value in settings.items()}


def _number(row: Mapping[str, str | None], name: str, path: Path) -> float:
    cell = row.get(name)
    try:
        return float(cell) if cell else float("nan")
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} was altered: {cell!r} in column {name!r} is not a number") from error


def _genome_length(path: Path) -> int | None:
    """Length of the genome in a safetensors file, from the header alone."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            return int(file.get_slice("genome").get_shape()[0])
    except (OSError, SafetensorError, IndexError) as error:
        raise RunError(f"{path} is truncated, altered, or not written by nchl ({type(error).__name__})") from error


def _kind(config: Path) -> Any:
    try:
        return json.loads(config.read_text()[: 1 << 20]).get("kind")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None  # `read_run` reports the error
