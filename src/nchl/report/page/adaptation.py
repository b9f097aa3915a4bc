"""The section of a page that shows what `nchl adapt` has left in the run's folder: pictures, figures, and the weights' path.

The path is of one lifetime with the study's first perturbation, which is played for the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nchl.errors import NchlError, RunError
from nchl.perturbations import plan
from nchl.perturbations.draws import decision_of
from nchl.report.adaptation.written import NAME, read, studies
from nchl.report.page.inline_svg import svg
from nchl.report.plots import adaptation as plots
from nchl.report.plots.weights import weight_path
from nchl.rollout.dynamics import Dynamics
from nchl.runs.results.dynamics import lifetimes
from nchl.runs.results.result import read_result
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


def given(run: Path, folder: Path) -> Mapping[str, Any]:
    """The study in a folder of `nchl adapt --out`, in which the run's individual has played.

    Raises:
        RunError: there is none in the folder, it is of other individuals, or it was altered.
    """
    path = folder / NAME
    if not path.is_file():
        raise RunError(f"{folder} has no {NAME}; give the folder that `nchl adapt {run} --out DIR` has made")
    found = read(RunFolder.open(run), path)
    if found is None:
        raise RunError(f"{path} is not of the individual that {run} has now; make it with: nchl adapt {run} --out {folder}")
    return found


def sections(
    run: Path, copy: Path, notes: list[str], trusted: Callable[[str], Any], study: Mapping[str, Any] | None = None
) -> list[Adaptation]:
    """What a run's page shows: the studies of its present individuals, one for each suite.

    Args:
        run: the run folder, where the studies lie.
        copy: of the run, to play one lifetime with.
        notes: gets a line where something cannot be shown.
        trusted: marks text that is safe in HTML.
        study: the one to show in place of those in the folder, see `given`; or None.
    """
    if study is not None:
        return [_shown(study, copy, "adaptation-0", notes, trusted)]
    folder = RunFolder.open(run)
    found: list[Adaptation] = []
    for path in studies(folder):
        try:
            kept = read(folder, path)
        except NchlError as error:
            notes.append(f"The study of adaptation is not shown: {error}")
            continue
        # A file of `nchl adapt --out` beside them has a study that the folder keeps too.
        if kept is not None and "individuals" not in kept:
            found.append(_shown(kept, copy, f"adaptation-{len(found)}", notes, trusted))
    return found


def _shown(kept: Mapping[str, Any], copy: Path, name: str, notes: list[str], trusted: Callable[[str], Any]) -> Adaptation:
    """One study; `name`: prefix of its pictures."""
    parts: list[Part] = []
    for number, (label, rows) in enumerate(plots.by_perturbation(kept["rows"]).items()):
        told = "; ".join(f"{row['group']}, {row['control']}: {_share(row)}" for row in rows)
        pictures = []
        recovery = partial(plots.recovery, rows=rows, window=plots.window_of(kept))
        for title, draw in (("reward", partial(plots.reward, rows=rows)), ("recovery", recovery)):
            alt = f"{title} around the perturbation {label}. {told}."
            pictures.append((title, trusted(svg(draw, name=f"{name}-{title}-{number}", alt=alt, size=(5.2, 3.2)))))
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
    repeat = read_result(run, which).recipe().action_repeat
    moment = min(decision_of(each, start, repeat) for each in plan(text).of(start))
    alt = f"Path of the weights in their first two principal components, perturbed ({text}) at step {moment}. {lives[0].words}."
    draw = partial(weight_path, life=lives[0], moment=moment)
    return trusted(svg(draw, name=name, alt=alt, size=(5.2, 3.6)))


def _share(row: Mapping[str, Any]) -> str:
    recovered = "cannot be judged" if row["recovered"] is None else f"{100 * row['recovered']:.0f} % recovered"
    return f"mean return {row['mean']:,.4g}, {recovered}"
