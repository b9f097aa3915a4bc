"""`nchl.run`: a new run, evolved in its folder."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from nchl.errors import NchlError, RunError, WorkerError
from nchl.runs.files.lock import locked
from nchl.runs.provenance.sessions import new_record
from nchl.runs.search.evolution import build, prepare_objects
from nchl.runs.search.objects import separate_objects
from nchl.runs.search.own_genome import content
from nchl.runs.search.start import notes_on_start, start_of
from nchl.runs.session.loop import OnGeneration, OnNote, RunResult, play, same_bits, tell
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.places import default_path, own_files, with_absolute_paths
from nchl.runs.sinks import trackers
from nchl.runs.store import trust
from nchl.runs.store.code_copy import collect
from nchl.runs.store.folder import RunFolder, remove
from nchl.tasks import Task
from nchl.tasks.trial import notes_on_environment


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

    However often a run is killed and resumed, it ends with the same `centre.safetensors` and the same metrics (apart from columns that
    depend on the machine).

    Args:
        task: the task's id, a task of `nchl.tasks.make`, or a whole configuration; None: the preset's.
        out: folder of the run; None: `runs/<task>-<network>-<seed>-<time>`.
        on_generation: called with each generation when it is recorded.
        on_note: called with lines for the user; None: the logger `nchl` warns.
        command: the words that began the run; None: those of this process.
        **options: the options of `nchl evolve` by field name. `network` may be an object: an `nn.Sequential`, or a network of one
            individual, the template of the population (see `nchl.PlasticNetwork`); `strategy` may be a `Strategy`, and `initial_genome` an
            array or tensor `(nparams,)`.

    Raises:
        NchlError: an option, task or network that cannot be used: then no folder is made. An environment or a network that fails: in the
            first generation, the folder is removed. Or a folder that exists, a full disk: then the last good checkpoint remains.
    """
    if isinstance(task, EvolveConfig):
        _, options, objects = separate_objects(None, options)
        config = task.replace(**options) if options else task
    else:
        name, options, objects = separate_objects(task, options)
        config = EvolveConfig.create(name, **options)
    config = with_absolute_paths(config)
    trackers.check(config)
    code = collect(config)
    objects = prepare_objects(config, objects, code)
    evolution = build(config, code=code, objects=objects)
    with contextlib.closing(evolution.workers):
        trust.remember(trust.chosen(config), code.texts)
        initial, files = content(config, objects.genome), outside_files(config)
        if initial is not None:
            files[RunFolder.INITIAL] = hashlib.sha256(initial).hexdigest()
        record = new_record(config, same_bits(evolution), files, evolution.workers, code, command, objects.record)
        folder = RunFolder.create(default_path(config) if out is None else Path(out), record, code, initial)
        with locked(folder.path) as notes:
            notes += [*evolution.workers.notes, *notes_on_start(config, code), *notes_on_environment(evolution.workers.task)]
            if on_note is not None:  # the result says it too
                on_note(f"the run is in {folder.path}")
            tell(on_note, notes)
            try:
                return play(folder, evolution, begun=False, on_generation=on_generation, on_note=on_note)
            except NchlError as error:
                # A failed write or lost workers do not spoil the run: it can be resumed.
                if evolution.strategy.generation == 0 and not isinstance(error, (RunError, WorkerError)):
                    remove(folder)
                    tell(on_note, [f"{folder.path} is removed, because the run failed in its first generation"])
                raise


def outside_files(config: EvolveConfig) -> dict[str, str]:
    """All files outside of the folder with which the run begins -> SHA-256."""
    start = start_of(config)
    return own_files(config) if start is None else own_files(config, start.file)
