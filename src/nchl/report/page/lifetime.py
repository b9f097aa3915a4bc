"""One lifetime of a run's best individual for its page: under the microscope, and what its weights did, with their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nchl.errors import DrawingError, InvalidArgument, NchlError
from nchl.report.microscope.recording import Microscope
from nchl.report.page.inline_svg import svg
from nchl.report.page.snapshot import State
from nchl.report.plots.weights import weight_changes, weight_path
from nchl.rollout.dynamics import Dynamics, WeightPath, plastic_weights
from nchl.rollout.watch import never
from nchl.runs.dynamics import static
from nchl.runs.watch import open_run

_FRAME = (320, 240)


@dataclass(frozen=True)
class Life:
    """What there is to tell of a lifetime.

    Attributes:
        recording: of the microscope, or None where there is none.
        dynamics: what the weights did, or None where no lifetime could be played.
    """

    recording: dict[str, Any] | None = None
    dynamics: Dynamics | None = None


def record_life(state: State, seed: int, notes: list[str], rule: str | None) -> Life:
    """Play the first episode of the evaluation and look at it; what there cannot be is told by a line in `notes`.

    A task that has no pictures is played without.
    """
    try:
        try:
            return _look(state, seed, notes, rule, draw=True)
        except DrawingError as error:
            notes.append(f"The microscope is without pictures of the task: {error}")
            return _look(state, seed, notes, rule, draw=False)
    except NchlError as error:
        _without(notes, error)
        return Life()


def _without(notes: list[str], error: NchlError) -> None:
    known = any(str(error) in note for note in notes)
    notes.append("There is no microscope, for the same reason" if known else f"There is no microscope: {error}")


def _look(state: State, seed: int, notes: list[str], rule: str | None, *, draw: bool) -> Life:
    with open_run(state.folder.path, seed, size=_size(state) if draw else None, draw=draw, rule=rule) as scene:
        scope, failed = None, None
        try:
            scope = Microscope(scene.network)
        except InvalidArgument as error:  # the weights can be followed all the same
            failed = error
        path = WeightPath()
        path.look(plastic_weights(scene.network))
        for moment in scene.watch(draw=scope.wants_frame if draw and scope is not None else never):
            if scope is not None:
                scope.look(moment)
            path.look(plastic_weights(scene.network))
        notes += [note for note in scene.stage.notes if note not in notes]
        did = path.dynamics() if scene.network.plastic else static()
        recording = None
        try:
            recording = None if scope is None else scope.recording()
        except InvalidArgument as error:
            failed = error
        if failed is not None:
            _without(notes, failed)
        return Life(recording, did)


def _size(state: State) -> tuple[int, int] | None:
    from nchl.tasks.render import DRAWN_BY_ENVPOOL

    return None if state.record.settings.task in DRAWN_BY_ENVPOOL else _FRAME


def pictures(life: Dynamics | None, trusted: Callable[[str], Any]) -> list[tuple[str, Any]]:
    """The path of the weights and the size of their changes as (title, SVG); none where nothing changed."""
    if life is None or not life.changes:
        return []
    shown = f"{life.explained[0]:.0%} and {life.explained[1]:.0%} of the variance"
    drawn = (
        ("path", weight_path, f"Path of the weights in their first two principal components ({shown}). {life.words}."),
        ("change per step", weight_changes, f"Size of each of {life.changes} changes of the weights, log scale. {life.words}."),
    )
    return [
        (title, trusted(svg(partial(draw, life=life), name=f"dynamics-{k}", alt=alt, size=(5.2, 3.6))))
        for k, (title, draw, alt) in enumerate(drawn)
    ]
