"""Texts and numbers of the page: settings, versions, the last generation, and the commands that repeat the run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl import zoo
from nchl.report.formatting import duration, setting
from nchl.report.page.snapshot import State
from nchl.report.plots.run import column
from nchl.runs.provenance.sessions import nchl_of
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.perturbation_options import always
from nchl.runs.store.metrics import COLUMNS


def facts(state: State, run: Path, evaluated: Mapping[str, Any] | None, perturb: Sequence[str] | str | None = None) -> dict[str, Any]:
    """Texts for the template.

    Args:
        state: copy of the run.
        run: the run folder.
        evaluated: result of `evaluate`, with controls if the network has any, or None.
        perturb: perturbations of the page, in place of those of training.
    """
    record, last = state.record, state.rows[-1]
    config = record.settings
    controls = record.has_controls if evaluated is None else "plasticity_off" in evaluated
    headings: dict[str, list[tuple[str, str, str]]] = {}
    for option in options():
        value = getattr(config, option.name)
        if option.name != "task" and value is not None:
            headings.setdefault(option.group, []).append((option.flag, setting(value), option.help))
    best = column(state.rows, "best_so_far")
    finite = best[np.isfinite(best)]
    steps, seconds = (float(column([last], name)[0]) for name in ("env_steps", "seconds"))
    numbers = [
        ("generations", f"{int(last['generation']):,}"),
        ("environment steps", f"{steps:,.0f}" if math.isfinite(steps) else "-"),
        ("search time", duration(seconds)),
        ("highest fitness", f"{finite[-1]:,.5g}" if len(finite) else "none is finite"),
    ]
    folder = shlex.quote(str(run))
    words = [word for text in always(perturb or ()) or (["none"] if perturb else []) for word in ("--perturb", text)]
    # When each session after the first started, and its version of nchl.
    sessions = [(str(each.get("started")), nchl_of(each) or "not known") for each in (record.sessions or [])[1:]]
    return {
        "title": f"{config.task} · {config.network}",
        "headings_network": _network(config),
        "task": config.task,
        "name": run.resolve().name,
        "folder": str(run),
        "status": state.status,
        "running": state.running,
        "facts": numbers,
        "best_generation": state.best_generation,
        "headings": headings,
        "versions": record.versions,
        "sessions": sessions,
        "same_bits": record.same_bits,
        "files": record.files,
        "started": record.started,
        "command": shlex.join(record.command),
        "repeat": evolve_command(state.source.to_repeat(config), "--out", "repeated"),
        "evaluate_again": shlex.join(["nchl", "evaluate", str(run), *(["--controls"] if controls else []), *words]),
        "resume": f"nchl resume {folder}" if zoo.name_of(run) is None else evolve_command(config.replace(initial_genome=str(run))),
        "load": f"net, task = nchl.load({str(run)!r})",
        "last": [(name, _cell(last.get(name)), COLUMNS.get(name, "")) for name in last if name is not None],
    }


def _cell(cell: str | None) -> str:
    try:
        return f"{float(cell):,.6g}" if cell else "-"
    except ValueError:
        return str(cell)


def _network(config: EvolveConfig) -> str:
    """The network with its hidden layers."""
    hidden = "" if not config.hidden else f" {'-'.join(map(str, config.hidden))}"
    return f"{'recurrent ' if config.recurrent else ''}{config.network}{hidden}"
