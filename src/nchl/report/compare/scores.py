"""Scores of runs, their learning curves, and the cost of reaching a target."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nchl.errors import InvalidArgument, UnknownName
from nchl.report.compare.groups import Group
from nchl.report.compare.runs import Run
from nchl.report.compare.statistics import iqm
from nchl.report.formatting import listed

# Ordered by how much they can be trusted; auto takes the first that every run has.
SCORES = {
    "evaluation": "mean return of the best individual over {episodes} unseen episodes (seed {seed})",
    "validation": "mean return of the centre over the last generation's validation episodes",
    "mean": "mean fitness of the last generation",
    "best": "highest fitness of any generation: the luckiest of many episodes",
}
MOST_POINTS = 200  # of a drawn curve


def choose_score(score: str, runs: Sequence[Run]) -> tuple[str, str]:
    """The name and the description of the score to use.

    Raises:
        UnknownName: there is no such score.
        InvalidArgument: some runs do not have it.
    """
    if score != "auto" and score not in SCORES:
        raise UnknownName("score", score, ("auto", *SCORES))
    for kind in SCORES if score == "auto" else (score,):
        lacking = [run for run in runs if not np.isfinite(_score(run, kind))]
        if not lacking and kind == "evaluation":
            text = _of_evaluations(runs)
            if text is not None:
                return kind, text
        elif not lacking:
            return kind, SCORES[kind]
        if score != "auto":
            raise InvalidArgument(_why_not(kind, lacking, runs))
    raise AssertionError("runs without a score are left out before")


def _why_not(kind: str, lacking: Sequence[Run], runs: Sequence[Run]) -> str:
    """The reason why a score cannot be used."""
    failed = [run for run in lacking if run.evaluation is not None]
    if kind == "evaluation" and failed:
        return (
            f"no episode of the evaluation was finite in {len(failed)} of {len(runs)} runs: {listed([run.folder for run in failed])}; "
            "choose --score mean or validation for all, or give the other runs alone and say so: a group without its failures looks better "
            "than it is"
        )
    what = {
        "evaluation": "have no evaluation of their present best individual on the same episodes; add --evaluate",
        "validation": "were made without --validation-episodes, or their last centre was not finite; choose another --score, or --evaluate",
    }.get(kind, "have no such number")
    named = lacking or runs
    return f"{len(named)} of {len(runs)} runs {what}: {listed([run.folder for run in named])}"


def passed_over(kind: str, runs: Sequence[Run]) -> list[str]:
    """Warnings about scores that auto would rather have taken, and that some of the runs have, not all."""
    lines = []
    for better in itertools.takewhile(lambda each: each != kind, SCORES):
        lacking = [run.folder for run in runs if not np.isfinite(_score(run, better))]
        advice = "; --evaluate plays what is missing" if better == "evaluation" else ""
        if lacking and len(lacking) < len(runs):
            lines.append(
                f"the score is {kind} and not {better}, which {len(runs) - len(lacking)} of {len(runs)} runs have, but not: "
                f"{listed(lacking)}{advice}"
            )
        elif not lacking:
            lines.append(f"the score is {kind} and not {better}, because the runs were evaluated on different episodes{advice}")
    return lines


def evaluated_alike(runs: Sequence[Run]) -> bool:
    """Whether all evaluations had the same perturbations, or none."""
    return len({run.evaluated_under for run in runs}) == 1


def _of_evaluations(runs: Sequence[Run]) -> str | None:
    """The description of the score evaluation; None if the runs were evaluated on different episodes."""
    played = {(run.evaluation["episodes"], run.evaluation["seed"]) for run in runs if run.evaluation is not None}
    as_trained = all(run.evaluated_under == run.perturbations for run in runs)
    if len(played) != 1 or not (as_trained or evaluated_alike(runs)):
        return None
    episodes, seed = next(iter(played))
    text = SCORES["evaluation"].format(episodes=episodes, seed=seed)
    if as_trained:
        return text
    under = runs[0].evaluated_under
    return f"{text}, perturbed: {' | '.join(under)}" if under else f"{text}, without perturbations"


def scores_of(runs: Sequence[Run], kind: str) -> Float[np.ndarray, " runs"]:
    """The score of each run."""
    return np.array([_score(run, kind) for run in runs])


def _score(run: Run, kind: str) -> float:
    if kind == "evaluation":
        mean = None if run.evaluation is None else run.evaluation.get("mean")
        return float(mean) if isinstance(mean, int | float) else float("nan")
    return run.last({"validation": "validation_centre", "mean": "mean", "best": "best_so_far"}[kind])


def curve_column(kind: str, runs: Sequence[Run]) -> str:
    """The column of `metrics.csv` for learning curves and the target."""
    if kind == "best":
        return "best_so_far"
    validated = all(np.isfinite(run.last("validation_centre")) for run in runs)
    return "validation_centre" if validated and kind != "mean" else "mean"


def default_target(groups: Sequence[Group], column: str, part: float = 0.9) -> tuple[float, str]:
    """A part of the way from the start of the runs to the end of the best group, and its description; works for negative returns too.

    NaN if no group ends above the start: there is no such way.
    """
    begin = float(np.median([_first(run, column) for group in groups for run in group.runs]))
    ends = [float(iqm(np.array([run.last(column) for run in group.runs]))) for group in groups]
    end = max(ends)
    if end <= begin:
        text = f"no group improved on the first generation ({begin:.4g}; the best group's end is {end:.4g}, {column} of metrics.csv)"
        return float("nan"), text
    way = "nine tenths" if part == 0.9 else f"{part:.0%}"
    text = f"{way} of the way from the first generation ({begin:.4g}) to the best group's end ({end:.4g}), {column} of metrics.csv"
    return begin + part * (end - begin), text


def to_target(runs: Sequence[Run], column: str, target: float) -> tuple[Float[np.ndarray, " runs"], Float[np.ndarray, " runs"]]:
    """Evaluations and environment steps up to each run's first generation at the target; infinite if it was never reached, or is NaN."""
    evaluations, env_steps = np.full(len(runs), np.inf), np.full(len(runs), np.inf)
    for place, run in enumerate(runs):
        there = np.flatnonzero(run.columns[column] >= target)
        if there.size:
            evaluations[place], env_steps[place] = (run.columns[name][there[0]] for name in ("evaluations", "env_steps"))
    return evaluations, env_steps


def curves(group: Group, column: str, along: str = "evaluations") -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "runs points"]]:
    """The learning curves of a group at common x values, at most `MOST_POINTS` of them.

    A run that has ended keeps its last value. The curves stop at the last value of the shortest run that has not ended.

    Args:
        group: the runs.
        column: column of `metrics.csv`.
        along: x axis, `evaluations` or `env_steps`.
    """
    known = []
    for run in group.runs:
        x, y = run.columns[along], run.columns[column]
        finite = np.isfinite(x) & np.isfinite(y)
        known.append((x[finite], y[finite]))
    begin = max(x[0] for x, _ in known)
    open_ends = [x[-1] for run, (x, _) in zip(group.runs, known, strict=True) if run.reason is None]
    end = min(open_ends, default=max(x[-1] for x, _ in known))
    places = np.unique(np.concatenate([x for x, _ in known]))
    places = places[(places >= begin) & (places <= max(begin, end))]
    if len(places) > MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int)]
    return places, np.stack([y[np.searchsorted(x, places, side="right") - 1] for x, y in known])


def _first(run: Run, column: str) -> float:
    values = run.columns[column]
    return float(values[np.isfinite(values)][0])
