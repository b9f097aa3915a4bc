"""`nchl.resume`: a run continued from its newest readable checkpoint, with the same bits."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any

from nchl.errors import CheckpointError, RunError
from nchl.evolve import Evolution
from nchl.runs.files.lock import locked
from nchl.runs.provenance import machine
from nchl.runs.provenance.environment import check_environment
from nchl.runs.provenance.sessions import with_this_one
from nchl.runs.search.evolution import build
from nchl.runs.search.objects import Objects, objects_of_record
from nchl.runs.search.own_genome import kept
from nchl.runs.session.loop import OnGeneration, OnNote, RunResult, play, same_bits, tell
from nchl.runs.session.rescore import rescore
from nchl.runs.session.run import outside_files
from nchl.runs.settings.places import code_places, own_files
from nchl.runs.store import trust
from nchl.runs.store.checkpoints import Checkpoint, read_newest
from nchl.runs.store.code_copy import complete
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import read_metrics
from nchl.runs.store.record import Record
from nchl.runs.store.results import NOT_RECORDED, recorded_constants
from nchl.strategies import Strategy
from nchl.tasks import Task, fingerprint
from nchl.tasks.trial import notes_on_environment


def resume(
    path: os.PathLike[str] | str,
    *,
    generations: int | None = None,
    max_minutes: float | None = None,
    max_steps: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    allow_other_machine: bool = False,
    allow_other_environment: bool = False,
    network: Any = None,
    task: Task | None = None,
    strategy: Strategy | None = None,
    on_generation: OnGeneration | None = None,
    on_note: OnNote | None = None,
) -> RunResult:
    """Continue a run from its newest readable checkpoint.

    Args:
        path: the run folder, or a result of `nchl.run` or `nchl.resume`.
        generations: a new total; None: the run's own.
        max_minutes: likewise.
        max_steps: likewise, of the environment.
        workers: processes on this machine; None, without a cluster: the run's own.
        cluster: address of a Ray cluster.
        allow_other_machine: continue even if the results will not be bit-identical (another torch, instruction set, ...).
        allow_other_environment: continue in a Gymnasium environment whose files, registration or package have changed.
        network: the run's, if it was begun with an object that its folder cannot hold.
        task: likewise.
        strategy: likewise, before its first generation.
        on_generation: called with each generation when it is recorded.
        on_note: called with lines for the user; None: the logger `nchl` warns.

    Raises:
        RunError: no run folder, an altered one, a run that has ended, one that another process is writing to, a machine on which it would
            not be bit-identical, or a changed environment.
    """
    folder = RunFolder.open(path, to_write=True)
    totals = {"generations": generations, "max_minutes": max_minutes, "max_steps": max_steps}
    totals = {name: total for name, total in totals.items() if total is not None}
    with locked(folder.path) as notes:
        tell(on_note, notes)
        checkpoint, problems = read_newest(folder.checkpoints)
        if checkpoint is None:
            tell(on_note, _complete_code(folder))
        record, code = folder.read_trusted()
        config = record.settings.replace(**totals)
        if workers is not None or cluster is not None:
            config = config.replace(workers=workers, cluster=cluster)
            trust.remember((config.cluster,))
        objects = objects_of_record(record, code, Objects(network=network, task=task, strategy=strategy), folder.path, "nchl.resume")
        tell(on_note, objects.notes)
        if record.code is None:
            _check_files(folder, record, own_files(config))
        tell(on_note, folder.notes_on_code(record, code))
        if checkpoint is None:
            _refuse_to_overwrite(folder)
            evolution = build(config.replace(initial_genome=kept(folder, record)), None, code, objects)
        else:  # the run with which this one began is no longer needed, and may be gone
            evolution = build(config.replace(initial_genome="zeros"), recorded_constants(checkpoint.tensors), code, objects)
        with contextlib.closing(evolution.workers):
            now, environment = same_bits(evolution), fingerprint(evolution.workers.task)
            differences = machine.check_same_bits(record.same_bits, now, allow=allow_other_machine)
            changed = check_environment(folder, record, environment, allow=allow_other_environment)
            tell(on_note, [*evolution.workers.notes, *differences, *changed])
            tell(on_note, (f"{problem}; the checkpoint before it is used" for problem in problems))
            tell(on_note, _restore(folder, record, evolution, checkpoint))
            _reopen(folder, evolution, totals)
            tell(on_note, notes_on_environment(evolution.workers.task))
            if changed:
                tell(on_note, rescore(folder, evolution))
            sessions, notes = with_this_one(record.sessions, record.started, record.versions)
            tell(on_note, notes)
            current = replace(record, settings=config, same_bits=now, plastic=evolution.workers.plastic, sessions=sessions)
            folder.write_record(current if record.environment is None else replace(current, environment=environment))
            return play(folder, evolution, begun=True, on_generation=on_generation, on_note=on_note)


def _restore(folder: RunFolder, record: Record, evolution: Evolution, checkpoint: Checkpoint | None) -> list[str]:
    """Restore the state of a checkpoint; returns lines for the user."""
    if checkpoint is None:
        # The run begins again, which gives the same bits if its initial genome is the same.
        begun = record.settings.replace(initial_genome=kept(folder, record))
        own = own_files(begun) if record.code is not None else {}  # the run has its own copy of these
        _check_files(folder, record, {path: digest for path, digest in outside_files(begun).items() if path not in own})
        return ["there is no checkpoint yet; the run begins anew"]
    try:
        evolution.restore(checkpoint.tensors, checkpoint.about)
    except CheckpointError as error:
        raise CheckpointError(f"{folder.checkpoints}, generation {checkpoint.generation}: {error}") from error
    return [NOT_RECORDED] if evolution.workers.constants and recorded_constants(checkpoint.tensors) is None else []


def _complete_code(folder: RunFolder) -> list[str]:
    """Complete the copy of the user's files in a run that was killed before its first checkpoint."""
    record = folder.read_record()
    return [] if record.code is None else complete(folder.path, record.code, code_places(record.settings))


def _refuse_to_overwrite(folder: RunFolder) -> None:
    """Refuse to begin again without a checkpoint if there are recorded results."""
    rows = len(read_metrics(folder.metrics)) if folder.metrics.exists() and folder.metrics.stat().st_size else 0
    results = [file.name for file in (folder.summary, folder.best) if file.exists()]
    if rows or results:
        has = f"{rows} recorded generations" if rows else " and ".join(results)
        raise RunError(f"{folder.path} has {has} but no checkpoint; restore {folder.checkpoints}, or begin again in another folder")


def _reopen(folder: RunFolder, evolution: Evolution, totals: dict[str, Any]) -> None:
    """Refuse to continue a run that has ended, unless new totals ask for more."""
    generations = totals.get("generations")
    if generations is not None and generations < evolution.generation:
        raise RunError(f"{folder.path} has {evolution.generation} generations already; --generations is the new total, got {generations}")
    ended = evolution.reason
    if totals:
        evolution.reason = None
        ended = evolution.limit_reached()
    if ended is not None and folder.summary.exists():
        option = "--" + ended.replace("_", "-") if ended != "target" else "--generations"
        raise RunError(
            f"{folder.path} has ended after {evolution.generation} generations (reason: {ended}); "
            f"to go on, give a new total: nchl resume RUN {option} N"
        )


def _check_files(folder: RunFolder, record: Record, files: dict[str, str]) -> None:
    for path, digest in files.items():
        if record.files.get(path, digest) != digest:
            raise RunError(f"{path} has changed since {folder.path} was begun with it; restore it, or begin a new run")
