"""A study as tables: text for a terminal, Markdown, CSV. Text and Markdown are rounded for readers; CSV has every digit, one number in
each cell; a number that there is not is an empty cell, or a dash."""

from __future__ import annotations

import math

from nchl.errors import UnknownName
from nchl.report.adaptation.results import Pair, Row
from nchl.report.adaptation.study import Study
from nchl.report.compare.tables import Table, csv_of, ends, markdown, probability, text
from nchl.report.formatting import figure

FORMATS = ("text", "markdown", "csv")

_HEADINGS = (
    *("group", "perturbation", "control", "return", "95 %", "intact", "retained", "before", "after", "late"),
    *("recovered", "steps to recover"),
)
_PAIRS = ("perturbation", "first", "second", "P(higher)", "95 %", "p", "p (Holm)", "recovery p", "(Holm)")


def render(study: Study, form: str) -> str:
    """The rows, and for readers the pairs below them.

    Raises:
        UnknownName: no such format.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    if form == "csv":
        return csv_of([row.to_json() for row in study.rows]).rstrip("\n")
    draw = {"text": text, "markdown": markdown}[form]
    parts = [draw(rows_table(study))]
    if study.pairs:
        parts.append(draw(pairs_table(study)))
    return "\n\n".join(parts)


def rows_table(study: Study) -> Table:
    """One row for each group, perturbation and control."""
    return Table(_HEADINGS, [_row(row) for row in study.rows], 3)


def pairs_table(study: Study) -> Table:
    """One row for each pair that was tested."""
    return Table(_PAIRS, [_pair(pair, len({row.group for row in study.rows}) > 1) for pair in study.pairs], 3)


def _row(row: Row) -> tuple[str, ...]:
    kept, share = row.retained, row.recovery.share
    before, after, late = (None if each is None else each.value for each in (row.before, row.after, row.late))
    return (
        row.group,
        row.perturbation,
        row.control,
        figure(row.mean.value),
        ends(row.mean),
        figure(row.intact.value),
        "-" if kept is None else f"{100 * kept.value:.0f} %",
        figure(before),
        figure(after),
        figure(late),
        "-" if share is None else f"{100 * share:.0f} % of {len(row.recovery.steps)}",
        "-" if row.recovery.median is None else f"{row.recovery.median:g}",
    )


def _pair(pair: Pair, named: bool) -> tuple[str, ...]:
    sides = [f"{group}, {control}" if named else control for group, control in (pair.first, pair.second)]
    interval = pair.improvement
    ranks = ["-" if p is None else probability(p) for p in (pair.recovery_p, pair.recovery_p_holm)]
    chance = "-" if math.isnan(interval.low) else f"[{interval.low:.2f}, {interval.high:.2f}]"
    return (pair.perturbation, *sides, f"{interval.value:.2f}", chance, probability(pair.p), probability(pair.p_holm), *ranks)
