"""The tables and the pictures of docs/parameters.md, from the committed cells alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl.report.compare.comparison import Comparison, compare
from nchl.report.compare.groups import Group
from nchl.report.compare.runs import read_run
from nchl.report.compare.tables import Table, groups_table, markdown, pairs_table, probability

MARGIN = 250.0  # points of return on HalfCheetah; written down before any run of this study was made
NOTHING = "No cell of this table is there yet."
NAMES = {"nchl": "NcHL", "hl": "HL", "wnchl": "WNcHL", "static": "static"}


def tables(study: Any) -> dict[str, str]:
    """Name of each place on the page -> its Markdown."""
    cheetah, bullet = compared(study, "cheetah"), compared(study, "bullet")
    return {
        "cheetah": shown(cheetah),
        "equivalence": NOTHING if cheetah is None else equivalence(cheetah),
        "controls": NOTHING if cheetah is None else controls(cheetah),
        "bullet": shown(bullet),
    }


def pictures(study: Any, folder: Path) -> None:
    """Learning curves by steps, and returns against the number of evolved parameters."""
    comparison = compared(study, "cheetah")
    if comparison is not None:
        from matplotlib.figure import Figure

        from nchl.report.plots.comparison import learning_curves
        from nchl.report.plots.style import legend_of_all, save_figure, tidy

        def draw() -> Figure:
            figure = Figure(figsize=(11, 4.6), layout="constrained")
            left, right = figure.subplots(1, 2, sharey=True)
            learning_curves(left, comparison, along="env_steps")
            lines = left.get_lines()
            left.get_legend().remove()  # one for both, below
            left.set(title="the centre on validation starts, interquartile mean of the runs", ylabel="return")
            drawn: Counter[int] = Counter()
            for scored, line in zip(comparison.groups, lines, strict=False):  # the lines of the groups come first
                x = scored.nparams * 1.15 ** drawn[scored.nparams]  # groups of equal number stand beside each other
                drawn[scored.nparams] += 1
                right.plot([x] * len(scored.scores), scored.scores, "o", alpha=0.8, color=line.get_color())
            right.set_xscale("log")
            right.set(title="best individuals on unseen starts, a point for each run", xlabel="evolved parameters")
            tidy(right)
            legend_of_all(figure, lines)
            return figure

        for file in save_figure(draw, folder / "parameters"):
            if file.suffix == ".svg":  # ten times as large, and no page shows it
                file.unlink()


def compared(study: Any, sweep: str) -> Comparison | None:
    """The finished cells of a sweep, by their returns on unseen starts; all pairs on HalfCheetah are those with HL."""
    cells = sorted(study.cells(sweep), key=lambda cell: study.cell_names(sweep).index(cell.name))
    if not cells:
        return None
    runs = [read_run(cell) for cell in cells]
    there = {run.settings["network"] for run in runs}
    return compare(runs, score="evaluation", names=name_of, baseline="HL 128-64" if "hl" in there else None)


def name_of(group: Group) -> str:
    """`NcHL 128-64`, `WNcHL 128-64, window 5`."""
    settings: Mapping[str, Any] = group.settings
    name = f"{NAMES[settings['network']]} {'-'.join(map(str, settings['hidden']))}"
    name += ", recurrent" if settings.get("recurrent") else ""
    return name + (f", window {settings['window']}" if settings["network"] == "wnchl" else "")


def shown(comparison: Comparison | None) -> str:
    """The groups, and the tests against HL."""
    if comparison is None:
        return NOTHING
    parts = [markdown(groups_table(comparison))]
    parts += [markdown(pairs_table(comparison))] if comparison.pairs else []
    return "\n\n".join(parts)


def equivalence(comparison: Comparison) -> str:
    """Whether each group lies within the margin of HL: two one-sided tests of Welch, the larger p-value of both."""
    scores = {scored.group.name: scored.scores for scored in comparison.groups}
    base = scores.get("HL 128-64")
    if base is None or len(base) < 2:
        return NOTHING
    rows = []
    for name, values in scores.items():
        if name == "HL 128-64" or len(values) < 2:
            continue
        low, high = welch_interval(values, base)
        p = two_one_sided(values, base, MARGIN)
        within = "equivalent" if p < 0.05 else "better" if low > MARGIN else "worse" if high < -MARGIN else "open"
        rows.append((name, f"{values.mean() - base.mean():+,.0f}", f"[{low:+,.0f}, {high:+,.0f}]", probability(p), within))
    return markdown(Table(("group", "mean less that of HL", "90 %", "p of equivalence", "verdict"), rows, 1)) if rows else NOTHING


def two_one_sided(first: Sequence[float], second: Sequence[float], margin: float) -> float:
    """p-value of the claim that the means differ by less than the margin (Schuirmann 1987), variances not assumed equal."""
    from scipy.stats import ttest_ind

    a, b = np.asarray(first), np.asarray(second)
    above = ttest_ind(a, b - margin, equal_var=False, alternative="greater").pvalue
    below = ttest_ind(a, b + margin, equal_var=False, alternative="less").pvalue
    return float(max(above, below))


def welch_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """90 % interval of the difference of the means, which lies within the margin where the two tests above both say so."""
    from scipy.stats import ttest_ind

    interval = ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    return float(interval.low), float(interval.high)


def controls(comparison: Comparison) -> str:
    """The same individuals with their rule switched off, and frozen half-way."""
    rows = []
    for scored in comparison.groups:
        played = [run.evaluation or {} for run in scored.group.runs]
        means = [[about[name]["mean"] for about in played if name in about] for name in ("plasticity_off", "frozen_half_way")]
        if all(means):
            rows.append((scored.group.name, f"{scored.scores.mean():,.0f}", *(f"{np.mean(values):,.0f}" for values in means)))
    return markdown(Table(("group", "as evolved", "plasticity off", "frozen half-way"), rows, 1)) if rows else NOTHING
