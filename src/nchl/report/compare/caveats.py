"""Warnings about a comparison: few runs, unequal budgets, unfinished runs, different simulators or environments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nchl.report.compare.groups import Group
from nchl.report.compare.runs import Run
from nchl.report.compare.scores import evaluated_alike
from nchl.report.formatting import listed

FEWEST_RUNS = 5
# Budgets within these are equal: the last generation of a run goes beyond its limit of steps.
_TOLERANCE = {"evaluations": 1.01, "env_steps": 1.05}
_PERTURBED = ("perturb", "perturb_training")
_OF_THE_NOISE = ("strategy", "sigma", "sigma_decay", "sigma_schedule")
_OF_EPISODES = ("max_episode_steps", "env", "wrap", "action_repeat", *_PERTURBED)  # settings that make other episodes


def warnings_about(groups: Sequence[Group], score: str) -> list[str]:
    """One line per problem."""
    made = [*_made_with(groups), *_versions(groups, score)]
    played_on = [*_simulators(groups), *_tasks(groups, score), *_environments(groups, score), *made]
    return [*_few(groups), *_budgets(groups), *_unfinished(groups), *played_on, *_diverged(groups, score), *_noise(groups, score)]


def budget(runs: Sequence[Run], column: str) -> float:
    """Median over the runs of their evaluations or environment steps."""
    return float(np.median([run.last(column) for run in runs]))


def _few(groups: Sequence[Group]) -> list[str]:
    few = [f"{group.name} has {len(group.runs)}" for group in groups if len(group.runs) < FEWEST_RUNS]
    if not few:
        return []
    return [
        f"fewer than {FEWEST_RUNS} runs ({listed(few)}): the intervals of so few contain the true value in much less than 95 % of cases"
    ]


def _budgets(groups: Sequence[Group]) -> list[str]:
    """Warnings about unequal numbers of evaluations; of environment steps, if these end all runs, or evaluations have unequal episodes."""
    ends = {(run.reason, group.settings.get("max_steps")) for group in groups for run in group.runs}
    by_steps = len(ends) == 1 and next(iter(ends))[0] == "max_steps"
    column = "env_steps" if by_steps or _differ(groups, "episodes") or _differ(groups, "episodes_schedule") else "evaluations"
    sizes = {group.name: budget(group.runs, column) for group in groups}
    if max(sizes.values()) <= _TOLERANCE[column] * min(sizes.values()):
        return []
    told = [f"{name} {size:,.0f}" for name, size in sizes.items()]
    ended = " (some runs ended at their target)" if any(run.reason == "target" for group in groups for run in group.runs) else ""
    return [
        f"the groups had unequal budgets{ended}; {'environment steps' if column == 'env_steps' else 'evaluations'} of a run: {listed(told)}"
    ]


def _unfinished(groups: Sequence[Group]) -> list[str]:
    found = [
        f"{run.folder} ({'is running' if run.running else 'stopped'}, {run.generations} of {run.total} generations)"
        for group in groups
        for run in group.runs
        if run.reason is None
    ]
    return [f"not ended, taken as far as they are (--finished-only leaves them out): {listed(found)}"] if found else []


def _simulators(groups: Sequence[Group]) -> list[str]:
    used = sorted({str(group.settings["simulator"]) for group in groups})
    if len(used) < 2:
        return []
    return [f"the runs were played on different simulators ({', '.join(used)}), whose versions of a task may differ in difficulty"]


def _tasks(groups: Sequence[Group], score: str) -> list[str]:
    """Warnings about settings that make the episodes of one group others than those of another, in training and in `--evaluate`."""
    differing = [name for name in _OF_EPISODES if _differ(groups, name)]
    trained = [name for name in differing if name in _PERTURBED]
    lines = []
    if score == "evaluation" and trained and evaluated_alike([run for group in groups for run in group.runs]):
        differing = [name for name in differing if name not in trained]
        lines = [
            f"the groups were trained under different perturbations ({', '.join(trained)}) and evaluated under the same: their learning "
            "curves and the cost of the target may not be comparable"
        ]
    if differing:
        advice = "; --evaluate --perturb none plays all without perturbations" if set(differing) & set(_PERTURBED) else ""
        lines.append(f"the groups played different episodes ({', '.join(differing)}), whose returns may not be comparable{advice}")
    return lines


def _differ(groups: Sequence[Group], name: str) -> bool:
    return len({group.settings.get(name) for group in groups}) > 1


def _environments(groups: Sequence[Group], score: str) -> list[str]:
    """Warnings about an environment whose files changed between runs, or between a run and its evaluation."""
    runs = [run for group in groups for run in group.runs]
    lines = []
    if len({run.environment for run in runs} - {None}) > 1:
        lines.append("the environment was changed between the runs (setting environment), so that their scores may not be comparable")
    edited = [
        str(run.folder)
        for run in runs
        if score == "evaluation" and run.evaluation is not None and run.evaluation.get("environment", run.environment) != run.environment
    ]
    if edited:
        lines.append(f"evaluated in an environment that has changed since the run: {listed(edited)}")
    return lines


def _made_with(groups: Sequence[Group]) -> list[str]:
    """A warning about runs by different versions of nchl, or of packages that results depend on."""
    names = dict.fromkeys(name for group in groups for run in group.runs for name in run.versions)
    told, told_apart = [], False
    for name in names:
        of_groups = [Counter(run.versions[name] for run in group.runs if name in run.versions) for group in groups]
        counts = sum(of_groups, Counter())
        if len(counts) > 1:
            told.append(f"{name}: {', '.join(f'{count} with {_in_turn(versions)}' for versions, count in counts.items())}")
            told_apart |= all(len(each) == 1 for each in of_groups)
    if not told:
        return []
    alone = "; each group has one version alone, so that a difference between groups may be one between versions" if told_apart else ""
    return [f"the runs were made with different versions, by which results may differ too ({'; '.join(told)}){alone}"]


def _in_turn(versions: Sequence[str]) -> str:
    return ", then ".join(versions)


def _versions(groups: Sequence[Group], score: str) -> list[str]:
    """Warnings about evaluations by different versions of a simulator, of those that recorded them."""
    found: dict[str, set[str]] = {}
    evaluations = [run.evaluation or {} for group in groups for run in group.runs] if score == "evaluation" else []
    for evaluation in evaluations:
        for package, version in evaluation.get("versions", {}).items():
            found.setdefault(package, set()).add(version)
    several = [f"{package} {', '.join(sorted(versions))}" for package, versions in found.items() if len(versions) > 1]
    if not several:
        return []
    return [
        f"the runs were evaluated with different versions ({'; '.join(several)}), whose tasks may differ in difficulty; --evaluate plays "
        "anew what was played with another version than the one here"
    ]


def _diverged(groups: Sequence[Group], score: str) -> list[str]:
    """Warnings about centres, and about episodes of an evaluation, that were not finite."""
    runs = [run for group in groups for run in group.runs]
    validated = [run for run in runs if np.isfinite(run.columns["validation_centre"]).any()]
    lost = [run.folder for run in validated if not np.isfinite(run.last("validation_centre"))]
    lines = []
    if ended := [run.folder for run in runs if run.reason == "diverged"]:
        lines.append(f"the search diverged, and has the score of its last generation: {listed(ended)}")
    if lost:
        lines.append(f"the last centre was not finite on its validation starts, so that no run has the score validation: {listed(lost)}")
    episodes = [
        f"{run.folder} ({run.non_finite} of {run.evaluation['episodes']})"
        for run in runs
        if score == "evaluation" and run.evaluation is not None and run.non_finite
    ]
    if episodes:
        lines.append(f"episodes that were not finite are left out of the scores: {listed(episodes)}")
    individuals = [
        f"{run.folder} ({run.last('non_finite'):.0f} of {group.settings['population']})"
        for group in groups
        for run in group.runs
        if score == "mean" and "non_finite" in run.columns and run.last("non_finite") > 0
    ]
    if individuals:
        lines.append(
            "individuals of the last generation that were not finite are left out of its mean, so that the score is of the others alone: "
            f"{listed(individuals)}"
        )
    return lines


def _noise(groups: Sequence[Group], score: str) -> list[str]:
    """Warnings about scores that depend on how the search draws its individuals, where the groups differ in that."""
    if score == "best" and (_differ(groups, "population") or _differ(groups, "episodes")):
        return ["the score best favours large populations and few episodes, and the groups differ in these; --evaluate is fair"]
    differing = [name for name in _OF_THE_NOISE if _differ(groups, name)]
    if score == "mean" and differing:
        return [
            f"the score mean is of individuals that are drawn around the centre, and falls with their spread; the groups differ in "
            f"{', '.join(differing)}; --evaluate is fair"
        ]
    return []
