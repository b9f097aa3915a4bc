"""The section of a page that shows what `nchl adapt` has left in the run's folder: pictures, figures, and the weights' path.

The path is of one lifetime with the study's first perturbation, which is played for the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nchl.errors import NchlError
from nchl.perturbations import plan
from nchl.perturbations.draws import moment_of
from nchl.report.adaptation.written import read, studies
from nchl.report.page.inline_svg import svg
from nchl.report.plots import adaptation as plots
from nchl.report.plots.weights import weight_path
from nchl.rollout.dynamics import Dynamics
from nchl.runs.results.dynamics import lifetimes
from nchl.runs.store.folder import RunFolder
from nchl.seeds import Purpose, environment_seed


class Part(NamedTuple):
    """One perturbation.

    Attributes:
        label: its name.
        spec: its text.
        pictures: (title, SVG).
        rows: of the study.
    """

    label: str
    spec: str
    pictures: list[tuple[str, Any]]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Adaptation:
    """What the section shows of one study.

    Attributes:
        about: the study, as `report.adaptation.written.read` gives it.
        parts: one for each perturbation.
        path: the weights over one perturbed lifetime as SVG, or None.
        path_text: what was wrong in it.
    """

    about: Mapping[str, Any]
    parts: list[Part] = field(default_factory=list)
    path: Any = None
    path_text: str = ""


def sections(run: Path, copy: Path, notes: list[str], trusted: Callable[[str], Any]) -> list[Adaptation]:
    """What a run's page shows: the studies of its present individuals, one for each suite.

    Args:
        run: the run folder, where the studies lie.
        copy: of the run, to play one lifetime with.
        notes: gets a line where something cannot be shown.
        trusted: marks text that is safe in HTML.
    """
    folder = RunFolder.open(run)
    found: list[Adaptation] = []
    for path in studies(folder):
        try:
            kept = read(folder, path)
        except NchlError as error:
            notes.append(f"The study of adaptation is not shown: {error}")
            continue
        if kept is not None:
            found.append(_shown(kept, copy, f"adaptation-{len(found)}", notes, trusted))
    return found


def _shown(kept: Mapping[str, Any], copy: Path, name: str, notes: list[str], trusted: Callable[[str], Any]) -> Adaptation:
    """One study; `name`: prefix of its pictures."""
    parts: list[Part] = []
    for number, (label, rows) in enumerate(plots.by_perturbation(kept["rows"]).items()):
        told = "; ".join(f"{row['group']}, {row['control']}: {_share(row)}" for row in rows)
        pictures = []
        for title, draw in (("reward", plots.reward), ("recovery", plots.recovery)):
            alt = f"{title} around the perturbation {label}. {told}."
            pictures.append((title, trusted(svg(partial(draw, rows=rows), name=f"{name}-{title}-{number}", alt=alt, size=(5.2, 3.2)))))
        parts.append(Part(label, str(rows[0]["spec"]), pictures, rows))
    text = str(kept["rows"][0]["spec"])
    drawn = None
    try:
        drawn = _path(copy, text, int(kept["seed"]), str(kept["which"]), f"{name}-path", trusted)
    except (NchlError, KeyError, TypeError, ValueError) as error:
        notes.append(f"The path of the weights under a perturbation is not shown: {error}")
    return Adaptation(kept, parts, drawn, text)


def _path(run: Path, text: str, seed: int, which: str, name: str, trusted: Callable[[str], Any]) -> Any:
    lives: list[Dynamics] = lifetimes(run, episodes=1, seed=seed, which=which, perturb=[text])
    if not lives or not lives[0].changes:
        return None
    start = environment_seed(seed, Purpose.EVALUATION, 0, 0)
    moment = min(moment_of(each, start) for each in plan(text).of(start))
    alt = f"Path of the weights in their first two principal components, perturbed ({text}) at step {moment}. {lives[0].words}."
    draw = partial(weight_path, life=lives[0], moment=moment)
    return trusted(svg(draw, name=name, alt=alt, size=(5.2, 3.6)))


def _share(row: Mapping[str, Any]) -> str:
    recovered = "cannot be judged" if row["recovered"] is None else f"{100 * row['recovered']:.0f} % recovered"
    return f"mean return {row['mean']:,.4g}, {recovered}"
