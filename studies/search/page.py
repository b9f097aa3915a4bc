"""The tables and pictures of docs/search.md, from the committed cells alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import combine_pvalues

from nchl.report.compare import strategies as search
from nchl.report.compare import tables as shown
from nchl.report.compare.groups import Group, group_runs
from nchl.report.compare.runs import Run, read_run
from nchl.report.compare.scores import scores_of
from nchl.report.compare.statistics import estimate, holm, improvement, iqm, mann_whitney, tested
from nchl.report.compare.tables import Table, markdown

LAST = 5  # generations over which the centre is averaged
BUDGET = 4_000_000  # steps of a run
MANY = 1e12  # evaluations, more than any run has
BASELINE = "openai-es sgd, lr 0.2, sigma 0.1"  # plain steps, the default of `nchl evolve` when the study was laid out
OVERALL = {"cartpole": "CartPole", "halfcheetah": "HalfCheetah", "swimmer": "Swimmer", "hopper": "Hopper"}  # the tasks that decide
NOTHING = "No cell of this table is there yet."
WAITS = "This table waits until all runs of the four tasks are there, so that no result decides when to test."


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    return {
        "tuning": tuning(runs_of(study, "tuning")),
        "overall": WAITS if set(OVERALL) & set(study.missing()) else overall({sweep: runs_of(study, sweep) for sweep in OVERALL}),
        **{sweep: cartpole(runs_of(study, sweep)) for sweep in ("cartpole", "cartpole-hl")},
        **{sweep: at_budget(runs_of(study, sweep)) for sweep in ("halfcheetah", "swimmer", "hopper")},
        "halfcheetah-long": long(runs_of(study, "halfcheetah-long")),
    }


def pictures(study: Any, folder: Path) -> None:
    """Learning curves and intervals on HalfCheetah."""
    if runs := runs_of(study, "halfcheetah"):
        search.save([search.summarise(runs, BUDGET, (), name_of, BASELINE)], folder / "search-halfcheetah")
        (folder / "search-halfcheetah.svg").unlink()  # ten times as large, and no page shows it


def runs_of(study: Any, sweep: str) -> list[Run]:
    """The finished runs of a sweep."""
    return [read_run(path) for path in study.cells(sweep)]


def name_of(group: Group) -> str:
    """`openai-es adam, lr 0.15, sigma 0.1`: the strategy with what this study sets."""
    settings = group.settings
    return ", ".join([strategy_of(group), *(f"{name} {settings[name]:g}" for name in ("lr", "sigma") if settings[name] is not None)])


def strategy_of(group: Group) -> str:
    """`openai-es adam`: the strategy with its optimizer, if it has one."""
    return f"{group.settings['strategy']} {group.settings['optimizer'] or ''}".rstrip()


def settled(run: Run) -> float:
    """Mean return of the centre on its validation starts, over the last generations."""
    return float(np.mean(run.columns["validation_centre"][-LAST:]))


def tuning(runs: Sequence[Run]) -> str:
    """The settings of each strategy; in bold the best by the seed that all have, the first one."""
    if not runs:
        return NOTHING
    groups, _, _ = group_runs(runs)
    kinds: dict[tuple[str, str], list[tuple[Group, list[float]]]] = {}
    for group in groups:
        kind = (group.settings["strategy"], group.settings["optimizer"] or "")
        kinds.setdefault(kind, []).append((group, [settled(run) for run in group.runs]))
    lines = ["| strategy and settings | runs | centre over the last 5 generations, mean | of each seed |", "| --- | ---: | ---: | ---: |"]
    for of_kind in sorted(kinds.values(), key=lambda of_kind: -max(scores[0] for _, scores in of_kind)):
        ranked = sorted(of_kind, key=lambda each: -each[1][0])
        for group, scores in ranked:
            name = f"**{name_of(group)}**" if group is ranked[0][0] else name_of(group)
            each = ", ".join(f"{score:.0f}" for score in scores)
            lines.append(f"| {name} | {len(scores)} | {np.mean(scores):.0f} | {each} |")
    return "\n".join(lines)


def cartpole(runs: Sequence[Run]) -> str:
    """Evaluations until CartPole is solved."""
    if not runs:
        return NOTHING
    groups, _, _ = group_runs(runs)
    needed = {name_of(group): evaluations_of(group) for group in groups}
    today = next(name_of(group) for group in groups if is_default(group))
    ranked = dict(sorted(needed.items(), key=lambda item: float(np.median(item[1]))))
    others = [name for name in ranked if name != today]
    tests = [mann_whitney(*(np.minimum(needed[either], MANY) for either in (name, today)))[1] for name in others]
    p = {name: tuple(map(shown.probability, both)) for name, *both in zip(others, tests, holm(tests), strict=True)}
    rows = []
    for name, each in ranked.items():
        interval = estimate(each, np.median, 0) if np.isfinite(each).all() else None
        between = "-" if interval is None else f"[{interval.low:,.0f}, {interval.high:,.0f}]"
        median = f"{np.median(each):,.0f}" if np.isfinite(np.median(each)) else "not solved"
        rows.append((name, str(len(each)), f"{np.isfinite(each).sum()}/{len(each)}", median, between, *p.get(name, ("-", "-"))))
    return markdown(Table(("strategy", "runs", "solved", "evaluations, median", "95 %", "p, against plain steps", "p (Holm)"), rows, 1))


def evaluations_of(group: Group) -> np.ndarray:
    """Evaluations until CartPole is solved.

    A run that ends without having solved it needs more than any other: medians and ranks can be taken all the same.
    """
    return np.array([run.columns["evaluations"][-1] if run.reason == "target" else np.inf for run in group.runs])


def overall(tasks: Mapping[str, Sequence[Run]]) -> str:
    """Each strategy against plain steps on all tasks together, each task with the same weight."""
    scores: dict[str, dict[str, np.ndarray]] = {}
    for task, runs in tasks.items():
        for group in group_runs(runs)[0]:
            each = -np.minimum(evaluations_of(group), MANY) if task == "cartpole" else scores_of(group.runs, "validation")
            scores.setdefault(BASELINE if is_default(group) else strategy_of(group), {})[task] = each
    plain = scores.pop(BASELINE)
    rows, combined = [], []
    for name, of_tasks in scores.items():
        better = [improvement(of_tasks[task], plain[task], 0).value for task in tasks]
        p = [mann_whitney(of_tasks[task], plain[task])[1] / 2 for task in tasks]
        one_sided = [small if more >= 0.5 else 1 - small for small, more in zip(p, better, strict=True)]
        least = float(combine_pvalues(one_sided, "stouffer").pvalue)
        combined.append(2 * min(least, 1 - least))
        rows.append((float(np.mean(better)), name, better))
    found = zip(rows, combined, holm(combined), strict=True)
    lines = [
        (name, *(f"{each:.2f}" for each in (*better, mean)), shown.probability(p), shown.probability(adjusted))
        for (mean, name, better), p, adjusted in sorted(found, key=lambda row: -row[0][0])
    ]
    return markdown(Table(("against plain steps", *OVERALL.values(), "mean", "p", "p (Holm)"), lines, 1))


def is_default(group: Group) -> bool:
    """Whether it is OpenAI-ES with plain steps."""
    return name_of(group) == BASELINE


def at_budget(runs: Sequence[Run]) -> str:
    """The groups at the budget, and how sure their differences are."""
    if not runs:
        return NOTHING
    result = search.summarise(runs, BUDGET, (), name_of, BASELINE)
    parts = [markdown(search.table(result))]
    if result.comparison.pairs:
        parts.append(markdown(shown.pairs_table(result.comparison)))
    if said := (*result.comparison.warnings, *result.comparison.notes):
        parts.append("\n".join(f"- {line}" for line in said))
    return "\n\n".join(parts)


def long(runs: Sequence[Run]) -> str:
    """At 10 million steps, and the steps until the mean over some generations is what plain steps end with."""
    groups = group_runs(runs)[0] if runs else []
    ends = {name_of(group): np.array([settled(run) for run in group.runs]) for group in groups}
    if BASELINE not in ends:
        return NOTHING
    target = float(np.median(ends[BASELINE]))
    reached = {name_of(group): np.array([steps_until(run, target) for run in group.runs]) for group in groups}
    others = sorted(set(ends) - {BASELINE}, key=lambda name: -float(iqm(ends[name])))
    tests = dict(zip(others, tested([(ends[name], ends[BASELINE]) for name in others], 0), strict=True))
    rows = []
    for name in sorted(ends, key=lambda name: -float(iqm(ends[name]))):
        end, steps = estimate(ends[name], iqm, 0), reached[name]
        there = f"{np.median(steps):,.0f}" if np.isfinite(np.median(steps)) else "-"
        test = (f"{tests[name].improvement.value:.2f}", *map(shown.probability, tests[name][2:])) if name in tests else ("-", "-", "-")
        values = (f"{end.value:,.0f}", f"[{end.low:,.0f}, {end.high:,.0f}]", f"{np.median(ends[name]):,.0f}")
        rows.append((name, str(len(steps)), *values, f"{there} ({np.isfinite(steps).sum()}/{len(steps)})", *test))
    of_steps = f"steps to {target:,.0f}, median"
    headings = ("strategy", "runs", "IQM", "95 %", "median", of_steps, "P(improvement)", "p, against plain steps", "p (Holm)")
    return markdown(Table(headings, rows, 1))


def steps_until(run: Run, target: float) -> float:
    """Environment steps until the mean over the last generations is at the target; infinite if it never is."""
    means = np.convolve(run.columns["validation_centre"], np.full(LAST, 1 / LAST), mode="valid")
    there = np.flatnonzero(means >= target)
    return float(run.columns["env_steps"][there[0] + LAST - 1]) if there.size else np.inf
