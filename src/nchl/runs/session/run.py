"""A run in its folder: begun, recorded, ended by its limits or by a signal, and continued with the same bits.

Promise: a run that was killed any number of times and resumed ends with the same `centre.safetensors` and the same
metrics (the machine's columns aside) as one that was not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nchl.errors import CheckpointError, RunError
from nchl.evolve import Evolution, Generation
from nchl.runs.provenance import machine
from nchl.runs.provenance.environment import check_environment
from nchl.runs.provenance.sessions import continued, new_record
from nchl.runs.search.evolution import build, initial_run, prepared
from nchl.runs.search.objects import Objects, of_record, taken
from nchl.runs.session.recorder import NOT_RECORDED, Recorder, recorded_constants
from nchl.runs.session.rescore import rescore
from nchl.runs.session.signals import Dropped, Signals
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.sinks import trackers
from nchl.runs.store import trust
from nchl.runs.store.checkpoints import Checkpoint, read_newest
from nchl.runs.store.code_copy import collect, complete, named
from nchl.runs.store.folder import Record, RunFolder, own_files
from nchl.runs.store.lock import locked
from nchl.runs.store.metrics import read_metrics
from nchl.runs.store.paths import default_path, with_absolute_paths
from nchl.strategies import Strategy
from nchl.tasks import Task, fingerprint

OnGeneration = Callable[[Generation], None]
OnNote = Callable[[str], None]


@dataclass(frozen=True)
class RunResult:
    """How a run, or one session of it, has ended.

    Attributes:
        folder: the run folder.
        generations: that are done, those of earlier sessions included.
        reason: generations, target, max_steps or max_minutes; None where a signal ended the session.
        exit_code: 0, or 128 plus the signal's number: 130 after Ctrl-C, 143 after SIGTERM.
        summary: what `summary.json` holds, for a session that was ended by a signal as well.
    """

    folder: Path
    generations: int
    reason: str | None
    exit_code: int
    summary: dict[str, Any]

    @property
    def resume_command(self) -> str | None:
        """What continues the run; None where it has ended by itself."""
        return None if self.reason is not None else f"nchl resume {self.folder}"


def run(
    task: EvolveConfig | Task | str | None = None,
    out: Path | str | None = None,
    *,
    on_generation: OnGeneration | None = None,
    on_note: OnNote | None = None,
    command: list[str] | None = None,
    **options: Any,
) -> RunResult:
    """Evolve, and keep everything in a run folder.

        result = nchl.run("CartPole-v1", hidden=[10], target=475, out="runs/first")
        net, task = nchl.load(result.folder)

    Args:
        task: the task's id, a task of `nchl.tasks.make`, or a whole configuration; None: the preset's.
        out: folder of the run; None: `runs/<task>-<network>-<seed>-<time>`.
        on_generation: called with each generation when it is recorded.
        on_note: called with lines that a user should see.
        command: the words that began the run; None: those of this process.
        **options: the options of `nchl evolve` by field name. `network` may be an object: an `nn.Sequential`, or a network of one
            individual, the template of the population (see `nchl.PlasticNetwork`); `strategy` may be a `Strategy`.

    Raises:
        NchlError: an option, task or network that cannot be used: then there is no folder. Or a folder that exists, a full
            disk: then the last good checkpoint stays.
    """
    if isinstance(task, EvolveConfig):
        _, options, objects = taken(None, options)
        config = task.replace(**options) if options else task
    else:
        name, options, objects = taken(task, options)
        config = EvolveConfig.create(name, **options)
    config = with_absolute_paths(config)
    trackers.check(config)
    code = collect(config)
    objects = prepared(config, objects, code)
    evolution = build(config, code=code, objects=objects)
    with contextlib.closing(evolution.workers):
        trust.remember(trust.chosen(config), code.texts)
        record = new_record(config, _same_bits(evolution), _files(config), evolution.workers, code, command, objects.record)
        folder = RunFolder.create(default_path(config) if out is None else Path(out), record, code)
        with locked(folder.path) as notes:
            _tell(on_note, [f"the run is in {folder.path}", *notes, *evolution.workers.notes])
            return _session(folder, evolution, begun=False, on_generation=on_generation, on_note=on_note)


def resume(
    path: Path | str,
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
    """Continue a run from its newest whole checkpoint.

    Args:
        path: the run folder.
        generations: a new total; None: the run's own.
        max_minutes: a new total, as are `max_steps`; None: the run's own.
        max_steps: of the environment.
        workers: processes on this machine; None, without a cluster: the run's own.
        cluster: address of a Ray cluster.
        allow_other_machine: go on where other digits are to be expected (another torch, instruction set, ...).
        allow_other_environment: go on in a Gymnasium environment whose files, registration or package have changed.
        network: the run's, where it was begun with an object that its folder cannot hold.
        task: likewise.
        strategy: likewise, before its first generation.
        on_generation: called with each generation when it is recorded.
        on_note: called with lines that a user should see.

    Raises:
        RunError: no run folder, an altered one, one that has ended already, one that another process is writing to, a
            machine with other digits, or an environment that has changed.
    """
    folder = RunFolder.open(path, to_write=True)
    with locked(folder.path) as notes:
        _tell(on_note, notes)
        totals = {"generations": generations, "max_minutes": max_minutes, "max_steps": max_steps}
        totals = {name: total for name, total in totals.items() if total is not None}
        allowed = {"machine": allow_other_machine, "environment": allow_other_environment}
        given = Objects(network=network, task=task, strategy=strategy)
        return _resume(folder, totals, (workers, cluster), allowed, given, on_generation, on_note)


def _resume(
    folder: RunFolder,
    totals: dict[str, Any],
    who: tuple[int | None, str | None],
    allowed: dict[str, bool],
    given: Objects,
    on_generation: OnGeneration | None,
    on_note: OnNote | None,
) -> RunResult:
    newest = read_newest(folder.checkpoints)
    if newest[0] is None:
        _tell(on_note, _completed(folder))
    record, code = folder.read_record_to_run()
    config = record.settings.replace(**totals)
    if who != (None, None):
        config = config.replace(workers=who[0], cluster=who[1])
        trust.remember((config.cluster,))
    objects = of_record(record, code, given, folder.path, "nchl.resume")
    _tell(on_note, objects.notes)
    if record.code is None:
        _check_files(folder, record, own_files(config))
    _tell(on_note, folder.notes_on_code(record, code))
    if newest[0] is None:
        _refuse_to_lose(folder)
    # With a checkpoint, the run that this one began with is not needed any more, and may be gone.
    constants = None if newest[0] is None else recorded_constants(newest[0].tensors)
    evolution = build(config if newest[0] is None else config.replace(initial_genome="zeros"), constants, code, objects)
    with contextlib.closing(evolution.workers):
        same_bits = _same_bits(evolution)
        notes = machine.check_same_bits(record.same_bits, same_bits, allow=allowed["machine"])
        environment = fingerprint(evolution.workers.task)
        changed = check_environment(folder, record, environment, allow=allowed["environment"])
        _tell(on_note, [*evolution.workers.notes, *notes, *changed])
        _tell(on_note, _restore(folder, record, evolution, newest))
        _reopen(folder, evolution, totals)
        if changed:
            _tell(on_note, rescore(folder, evolution))
        current, notes = continued(replace(record, settings=config, same_bits=same_bits, plastic=evolution.workers.plastic))
        if record.environment is not None:
            current = replace(current, environment=environment)
        _tell(on_note, notes)
        folder.write_record(current)
        return _session(folder, evolution, begun=True, on_generation=on_generation, on_note=on_note)


def _restore(folder: RunFolder, record: Record, evolution: Evolution, newest: tuple[Checkpoint | None, list[str]]) -> list[str]:
    """Take up the newest whole checkpoint; returns what the user should know."""
    checkpoint, problems = newest
    notes = [f"{problem}; the checkpoint before it is used" for problem in problems]
    if checkpoint is None:
        # Nothing was saved yet: begin anew, which gives the same bits if the run begins with the same genome.
        own = own_files(record.settings) if record.code is not None else {}  # the run has its own copy of these
        _check_files(folder, record, {path: digest for path, digest in _files(record.settings).items() if path not in own})
        return ["there is no checkpoint yet; the run begins anew"]
    if evolution.workers.constants and recorded_constants(checkpoint.tensors) is None:
        notes.append(NOT_RECORDED)
    try:
        evolution.restore(checkpoint.tensors, checkpoint.about)
    except CheckpointError as error:
        raise CheckpointError(f"{folder.checkpoints}, generation {checkpoint.generation}: {error}") from error
    return notes


def _completed(folder: RunFolder) -> list[str]:
    """See to it that the copy of the user's files is whole in a run that was killed before its first checkpoint."""
    record = folder.read_record()
    return [] if record.code is None else complete(folder.path, record.code, named(record.settings))


def _refuse_to_lose(folder: RunFolder) -> None:
    """Without a checkpoint a run begins anew and writes over what lies there; that must be nothing that was recorded."""
    rows = len(read_metrics(folder.metrics)) if folder.metrics.exists() and folder.metrics.stat().st_size else 0
    results = [file.name for file in (folder.summary, folder.best) if file.exists()]
    if rows or results:
        has = f"{rows} recorded generations" if rows else " and ".join(results)
        raise RunError(f"{folder.path} has {has} but no checkpoint; restore {folder.checkpoints}, or begin again in another folder")


def _reopen(folder: RunFolder, evolution: Evolution, totals: dict[str, Any]) -> None:
    """Refuse to continue what has ended, unless new totals ask for more."""
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


def _session(
    folder: RunFolder, evolution: Evolution, *, begun: bool, on_generation: OnGeneration | None, on_note: OnNote | None
) -> RunResult:
    """Play generations until the run ends, a signal comes, or something fails; leave the folder ready to be continued."""

    def finishing() -> None:
        _tell(on_note, ["finishing this generation (Ctrl-C again drops it)"])

    with Signals(finishing) as signals, contextlib.ExitStack() as stack:
        dropped = False
        told = set(evolution.workers.notes)

        def tell_new() -> None:
            notes = [*evolution.workers.notes, *recorder.notes]
            _tell(on_note, [note for note in notes if note not in told])
            told.update(notes)

        with signals.held():
            recorder = Recorder(folder, evolution, begun=begun, clock=time.monotonic)
            stack.callback(recorder.close)
        tell_new()
        try:
            for generation in evolution:
                with signals.held():
                    recorder.keep(generation)
                if on_generation is not None:
                    on_generation(generation)
                tell_new()
                if signals.received is not None:
                    break
            signals.settle()
        except Dropped:
            dropped = True
        except BaseException:
            signals.settle()
            # The state after the last whole generation. What went wrong is told, not a second failure to write.
            with contextlib.suppress(RunError):
                recorder.checkpoint()
            raise
        reason = None if dropped else evolution.reason
        summary = recorder.finish(reason)
        tell_new()
        return RunResult(folder.path, summary["generations"], reason, 0 if reason else signals.exit_code, summary)


def _same_bits(evolution: Evolution) -> dict[str, str]:
    workers = evolution.workers
    return machine.same_bits(backend=workers.backend, simulator=workers.simulator, strategy=evolution.strategy.name)


def _files(config: EvolveConfig) -> dict[str, str]:
    """Everything outside of the folder that the run begins with -> SHA-256."""
    start = initial_run(config)
    return own_files(config) if start is None else own_files(config, start.start)


def _check_files(folder: RunFolder, record: Record, files: dict[str, str]) -> None:
    for path, digest in files.items():
        if record.files.get(path, digest) != digest:
            raise RunError(f"{path} has changed since {folder.path} was begun with it; restore it, or begin a new run")


def _tell(on_note: OnNote | None, lines: list[str]) -> None:
    if on_note is not None:
        for line in lines:
            on_note(line)
