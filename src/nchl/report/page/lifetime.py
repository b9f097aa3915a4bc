"""One lifetime of a run's best individual: recorded for the microscope, and the dynamics of its weights with figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nchl.errors import DrawingError, InvalidArgument, NchlError
from nchl.report.microscope.recording import Microscope
from nchl.report.page.inline_svg import svg
from nchl.report.page.snapshot import State
from nchl.report.plots.weights import weight_changes, weight_path
from nchl.rollout.dynamics import Dynamics, WeightPath, plastic_weights
from nchl.rollout.episode import never
from nchl.runs.results.dynamics import static
from nchl.runs.results.scene import open_run
from nchl.tasks.stages.envpool import DRAWN_BY_ENVPOOL

_FRAME = (320, 240)


@dataclass(frozen=True)
class Life:
    """One lifetime.

    Attributes:
        recording: data of the microscope, or None.
        dynamics: dynamics of the weights, or None if no lifetime could be played.
        perturbed: what goes wrong in it; empty where nothing does, or not before it ends.
        moment: the step at which it does, from 0.
    """

    recording: dict[str, Any] | None = None
    dynamics: Dynamics | None = None
    perturbed: str = ""
    moment: int | None = None


def record_life(state: State, seed: int, notes: list[str], played: Mapping[str, Any]) -> Life:
    """Record the first episode of the evaluation, without frames if the task cannot be drawn; adds a note for anything missing."""
    try:
        try:
            return _record(state, seed, notes, played, draw=True)
        except DrawingError as error:
            notes.append(f"The microscope is without pictures of the task: {error}")
            return _record(state, seed, notes, played, draw=False)
    except NchlError as error:
        note_missing(notes, "There is no microscope", error)
        return Life()


def note_missing(notes: list[str], missing: str, error: NchlError) -> None:
    """Add a note that a part of the page is missing; a reason that another note has already is not repeated."""
    known = any(str(error) in note for note in notes)
    notes.append(f"{missing}, for the same reason" if known else f"{missing}: {error}")


def _record(state: State, seed: int, notes: list[str], played: Mapping[str, Any], *, draw: bool) -> Life:
    # EnvPool draws in its own size.
    size = None if not draw or state.record.settings.task in DRAWN_BY_ENVPOOL else _FRAME
    with open_run(state.folder.path, seed, size=size, draw=draw, **played) as scene:
        microscope, failure = None, None
        try:
            microscope = Microscope(scene.network)
        except InvalidArgument as error:  # a network that is too large still has dynamics
            failure = error
        path = WeightPath()
        path.look(plastic_weights(scene.network))
        steps = 0
        for moment in scene.watch(draw=microscope.wants_frame if draw and microscope is not None else never):
            if microscope is not None:
                microscope.look(moment)
            path.look(plastic_weights(scene.network))
            steps += 1
        notes += [note for note in scene.stage.notes if note not in notes]
        dynamics = path.dynamics() if scene.network.plastic else static()
        recording = None
        try:
            recording = None if microscope is None else microscope.recording()
        except InvalidArgument as error:
            failure = error
        if failure is not None:
            note_missing(notes, "There is no microscope", failure)
        begins = scene.moment
        if begins is not None and begins >= steps:
            notes.append(f"The lifetime under the microscope ended after {steps} steps, before the perturbation {scene.perturbed}")
            begins = None
        if recording is not None:
            recording["perturbed"] = begins
        return Life(recording, dynamics, "" if begins is None else scene.perturbed, begins)


def figures(lived: Life, trusted: Callable[[str], Any]) -> list[tuple[str, Any]]:
    """Figures of the path of the weights and of the size of their changes, as (title, SVG); empty if nothing changed."""
    life = lived.dynamics
    if life is None or not life.changes:
        return []
    share = f"{life.explained[0]:.0%} and {life.explained[1]:.0%} of the variance"
    path, changes = partial(weight_path, life=life, moment=lived.moment), partial(weight_changes, life=life)
    found: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
        ("path", path, f"Path of the weights in their first two principal components ({share}). {life.words}."),
        ("change per step", changes, f"Size of each of {life.changes} changes of the weights, log scale. {life.words}."),
    )
    return [(title, trusted(svg(draw, name=f"dynamics-{k}", alt=alt, size=(5.2, 3.6)))) for k, (title, draw, alt) in enumerate(found)]
