"""`nchl report RUN`: one self-contained `report.html`, for any screen, for dark mode and for paper.

The page makes no request, which its Content-Security-Policy enforces. Names from users (tasks, folders, files) are escaped.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nchl import __version__
from nchl.errors import InvalidArgument, NchlError, RunError, require
from nchl.report import formatting
from nchl.report.film.names import in_a_name
from nchl.report.page import adaptation, facts, lifetime
from nchl.report.page.inline_svg import svg
from nchl.report.page.lifetime import Life, note_missing, record_life
from nchl.report.page.snapshot import State, snapshot
from nchl.report.plots import run as plots
from nchl.runs.files.writing import write_atomically
from nchl.runs.provenance.environment import notes_on_environment
from nchl.runs.results.evaluate import evaluate
from nchl.runs.results.kept import Kept
from nchl.runs.results.result import read_result
from nchl.runs.search.objects import Objects
from nchl.runs.settings.perturbation_options import always

OnNote = Callable[[str], None]

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("pictures.js", "save.js")
_MICROSCOPE = ("recording.js", *_SCRIPTS, "microscope.js")
_LARGEST_FILM = 24 << 20


def write(
    run: os.PathLike[str] | str,
    out: Path | str | None = None,
    *,
    episodes: int = 100,
    seed: int = 10000,
    film: bool = True,
    microscope: bool = True,
    rule: str | None = None,
    perturb: Sequence[str] | str | None = None,
    study: Path | str | None = None,
    network: Any = None,
    on_note: OnNote | None = None,
) -> dict[str, Any]:
    """Write the page of a run that has ended or is in progress.

    Args:
        run: the run folder, or "zoo:NAME".
        out: the page; None: `report.html` in the run folder, or `NAME-report.html` in the working directory; with perturbations, in place
            of `report` a name that has them.
        episodes: number of unseen episodes, played again for each control; 0 leaves the evaluation out.
        seed: seed of the evaluation; the film and the microscope show its first episode.
        film: embed `film.mp4` of the run folder, or make one if it does not exist.
        microscope: record one lifetime, embed it, and analyse the dynamics of its weights.
        rule: "FILE.py:NAME" of a rule to use in place of the run's own; requires `out`.
        perturb: perturbations of the unseen episodes, the film and the microscope, in place of those of training: texts, "none" for none;
            None: as in training.
        study: folder of `nchl adapt --out`, whose study is shown in place of those in the run folder; None: those.
        network: the run's, if it was begun with an object that its folder cannot hold.
        on_note: called with lines about the progress.

    Returns:
        A JSON object: report (the path), bytes, task, status, generation, evaluation, microscope (steps and moments, or None),
        dynamics (of the recorded lifetime, or None), film (whether there is one), notes.

    Raises:
        NchlError: the run does not exist or has no best individual yet, or the page cannot be written.
    """
    for name, value in (("episodes", episodes), ("seed", seed)):
        if value < 0:
            raise InvalidArgument(f"{name} must be at least 0, got {value}")
    if rule is not None and out is None:
        raise InvalidArgument("with another rule, the report does not belong in the run folder: name a file with --out")
    if rule is not None and study is not None:
        raise InvalidArgument("the study of adaptation is of the run's own rule; leave out --adaptation, or --rule")
    jinja = require("jinja2", "report")
    tell = on_note or (lambda line: None)
    notes: list[str] = []
    given = {"rule": rule, "network": network}  # in place of the run's own, or not in its folder
    played = {**given, "perturb": perturb}
    with snapshot(run) as state:
        # A missing network is told with the name of the run's own folder, not of the copy.
        read_result(run, "best", with_task=False, rule=rule, given=Objects(network=network), call="nchl.report.page.write")
        name = "report" if perturb is None else f"report-{in_a_name(always(perturb))}"
        path = state.source.output(f"{name}.html") if out is None else Path(out)
        _check_place(path)
        chosen = None if study is None else adaptation.given(Path(run), Path(study))
        config = state.record.settings
        tell(f"{config.task}: {state.status}")
        evaluated = None
        if episodes:
            tell(f"playing {episodes} unseen episodes, and if weights change, again with plasticity off and frozen")
            # The folder keeps one evaluation, which a perturbed one would replace.
            kept = Kept(state.source) if perturb is None else None
            evaluated = evaluate(state.folder.path, episodes=episodes, seed=seed, controls=None, kept=kept, **played)
            if kept is not None and kept.used:
                tell(f"they were played before, and are in {kept.path}")
            notes += evaluated["notes"]
        else:  # an evaluation has these notes already
            notes += _environment_notes(state)
        life = Life()
        if microscope:
            tell("recording one lifetime for the microscope")
            life = record_life(state, seed, notes, played)
        recording = life.recording
        adapted = adaptation.sections(Path(run), state.folder.path, notes, _trusted, chosen) if rule is None else []
        embedded = None
        if film:
            try:
                embedded = _film(state, seed, played, tell)
            except NchlError as error:
                note_missing(notes, "There is no film", error)
        environment = jinja.Environment(
            loader=jinja.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        script = _script(_SCRIPTS if recording is None else _MICROSCOPE)
        page = environment.get_template("report.html").render(
            **facts.facts(state, Path(run), evaluated, perturb),
            **_figures(state, evaluated),
            **_genome(state, given),
            evaluated=evaluated,
            conditions=plots.conditions(evaluated) if evaluated else [],
            recording=None if recording is None else _json(recording),
            life=recording,
            dynamics=life.dynamics,
            perturbed=life.perturbed,
            moment=life.moment,
            adaptations=adapted,
            dynamics_pictures=lifetime.figures(life, _trusted),
            film=embedded,
            notes=notes,
            seed=seed,
            version=__version__,
            style=_trusted((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
            script=_trusted(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            figure=formatting.figure,
        )
        data = page.encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data, of_a_run=False)
    return {
        "report": str(path),
        "bytes": len(data),
        "task": config.task,
        "status": state.status,
        "generation": int(state.rows[-1]["generation"]),
        "evaluation": None if evaluated is None else {k: v for k, v in evaluated.items() if k != "returns"},
        "microscope": None if recording is None else {"steps": recording["steps"], "moments": len(recording["kept"])},
        "dynamics": None if life.dynamics is None else life.dynamics.summary(),
        "film": embedded is not None,
        "notes": notes,
    }


def _environment_notes(state: State) -> list[str]:
    """Notes about changes of the environment since the run."""
    if state.record.environment is None:
        return []
    from nchl.runs.search.recipe import environment_of  # imports torch

    try:
        record, _ = state.folder.read_trusted()
        return notes_on_environment(record, environment_of(record.settings))
    except NchlError as error:
        return [f"It is not known whether the environment has changed since: {error}"]


def _check_place(path: Path) -> None:
    """Raise, before anything is played, if the page could not be written."""
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder; name a file in it, for example {path / 'report.html'}")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"cannot write {path}: {folder} is no folder that can be written to; name another place")


def _film(state: State, seed: int, played: Mapping[str, Any], tell: OnNote) -> dict[str, str]:
    """The film as a data URI, and its description."""
    from nchl.report.film import film

    path = state.source.path / "film.mp4"
    if played["rule"] is None and played["perturb"] is None and path.exists():
        said = "film.mp4 of the run folder; its last line says which individual and seed"
        if path.stat().st_mtime < state.source.best.stat().st_mtime:
            said += ". It was made before the best individual was saved the last time; `nchl film` makes a new one"
    else:
        tell("making the film")
        path = state.folder.path / "film.mp4"
        film(state.folder.path, path, seed=seed, fps=30, seconds=60, **played)
        of = "" if state.best_generation is None else f" (of generation {state.best_generation})"
        said = f"The best individual{of}, one unseen episode, the first of evaluation seed {seed}; the first minute at most"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > _LARGEST_FILM:
        raise InvalidArgument(f"{path} has {len(data) >> 20} MB, which is more than a page should carry ({_LARGEST_FILM >> 20} MB)")
    return {"source": "data:video/mp4;base64," + base64.b64encode(data).decode(), "said": said}


def _figures(state: State, evaluated: dict[str, Any] | None) -> dict[str, Any]:
    """The figures as SVG."""
    task, rows = state.record.settings.task, state.rows
    mean = plots.column(rows, "mean")
    first, last = (f"{v:,.4g}" if math.isfinite(v) else "not finite" for v in (mean[0], mean[-1]))
    alt = f"Learning curve over {len(rows)} generations: the mean fitness goes from {first} to {last}."
    curve = svg(lambda axes: plots.learning_curve(axes, rows), name="curve", alt=alt, size=(5.6, 3.6))
    picture = None
    if evaluated is not None:
        parts = [
            f"{name} {'no finite episode' if figures['mean'] is None else format(figures['mean'], ',.4g')}"
            for name, figures, _ in plots.conditions(evaluated)
        ]
        alt = f"Mean return on {evaluated['episodes']} unseen episodes of {task}: {', '.join(parts)}."
        height = 0.9 + 0.55 * len(parts)
        picture = svg(lambda axes: plots.evaluation(axes, evaluated), name="evaluation", alt=alt, size=(4.6, height))
    return {"curve": _trusted(curve), "evaluation_picture": _trusted(picture or "")}


def _genome(state: State, given: Mapping[str, Any]) -> dict[str, Any]:
    """One figure per parameter: its distribution in each block of the best individual's genome; and whether it needs rewards."""
    from nchl.runs.results.load import load

    agent, task = load(state.folder.path, **given)
    try:
        flat, layout = agent.genome.detach().cpu().numpy().reshape(-1), agent.layout
        needs_reward = agent.needs_reward
    finally:
        task.close()
    # In the order of the block with the most parameters: input neurons have no B, and B would come last.
    richest = max(layout.blocks, key=lambda block: len(block.parameters))
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in richest.parameters}
    for block in layout.blocks:
        for parameter in block.parameters or ("bias" if block.name.startswith("biases") else "weight",):
            part = layout[f"{block.name}.{parameter}"] if block.parameters else layout[block.name]
            found.setdefault(parameter, {})[block.name] = flat[part]
    drawn = []
    for k, (parameter, values) in enumerate(found.items()):
        medians = ", ".join(f"{name} {np.median(v):.3g}" for name, v in values.items())
        alt = f"Distribution of {parameter} in each block of the genome; medians: {medians}."
        height = 0.7 + 0.42 * len(values)
        picture = svg(
            partial(plots.genome_distribution, values=values, parameter=parameter),
            name=f"genome{k}",
            alt=alt,
            size=(3.4, height),
        )
        drawn.append((parameter, _trusted(picture), sum(len(v) for v in values.values())))
    return {"genome": drawn, "needs_reward": needs_reward}


def _script(names: Iterable[str]) -> str:
    parts = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in names]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"


def _json(value: Any) -> Any:
    """JSON for a script element: no character in it can end the element or start another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return _trusted(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _trusted(text: str) -> Any:
    """Markup in which everything from users is already escaped."""
    return require("markupsafe", "report").Markup(text)
