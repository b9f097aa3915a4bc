"""A comparison as tables: text for a terminal, Markdown, LaTeX, CSV.

Text, Markdown and LaTeX show rounded numbers for readers. CSV has every digit, one number in each cell and plain column
names, for programs; a number that there is not (an interval of one run, a target that was never reached) is an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nchl.errors import UnknownName
from nchl.report.compare import Comparison, Pair, Scored
from nchl.report.statistics import Interval
from nchl.report.words import figure

FORMATS = ("text", "markdown", "latex", "csv")
TABLES = ("groups", "pairs", "runs")

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", **{c: "\\" + c for c in "&%$#_{}"}}
_MARKDOWN = {c: "\\" + c for c in "\\|*_`<>[]"}


class Table(NamedTuple):
    """Rows of cells under headings; the first `words` columns hold words, the others numbers."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int


def render(comparison: Comparison, form: str, tables: Sequence[str]) -> str:
    """The named tables in one of `FORMATS`, one below the other.

    Raises:
        UnknownName: no such format or table.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    for name in tables:
        if name not in TABLES:
            raise UnknownName("table", name, TABLES)
    if form == "csv":
        return "\n".join(_csv(_RECORDS[name](comparison), PAIR_COLUMNS if name == "pairs" else ()) for name in tables).rstrip("\n")
    draw = {"text": text, "markdown": markdown, "latex": latex}[form]
    drawn = [draw(table) for name in tables if (table := _TABLES[name](comparison)).rows]
    # Only the table of pairs can be empty.
    return "\n\n".join(drawn) or ("% " if form == "latex" else "") + "one group: no pairs"


def groups_table(comparison: Comparison) -> Table:
    """One row for each group."""
    reached = f"reached {figure(comparison.target)}"
    headings = ("group", "runs", "parameters", "IQM", "95 %", "median", "95 %", reached, "evaluations to it", "steps to it")
    return Table(headings, [_group_row(scored) for scored in comparison.groups], 1)


def pairs_table(comparison: Comparison) -> Table:
    """One row for each pair of groups that was tested."""
    headings = ("better", "than", "P(improvement)", "95 %", "U", "p", "p (Holm)")
    return Table(headings, [_pair_row(pair) for pair in comparison.pairs], 2)


def runs_table(comparison: Comparison) -> Table:
    """One row for each run."""
    rows: list[tuple[str, ...]] = [
        (
            str(record["group"]),
            str(record["folder"]),
            str(record["seed"]),
            figure(record["score"]),
            str(record["generations"]),
            str(record["ended"]),
        )
        for record in run_records(comparison)
    ]
    return Table(("group", "run", "seed", "score", "generations", "ended by"), rows, 2)


def group_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The groups with every digit, for programs."""
    return [
        {
            "group": scored.group.name,
            "runs": len(scored.scores),
            "parameters": scored.nparams,
            **_interval_record("iqm", scored.iqm),
            **_interval_record("median", scored.median),
            "evaluations": scored.evaluations,
            "env_steps": scored.env_steps,
            "target": comparison.target,
            "reached": scored.reached,
            "evaluations_to_target": scored.evaluations_to_target,
            "env_steps_to_target": scored.env_steps_to_target,
        }
        for scored in comparison.groups
    ]


PAIR_COLUMNS = ("better", "than", "improvement", "improvement_low", "improvement_high", "u", "p", "p_holm")
"""Of `pair_records`; a comparison of one group has the heading alone."""


def pair_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The pairs with every digit, for programs."""
    return [
        {
            "better": pair.first,
            "than": pair.second,
            **_interval_record("improvement", pair.improvement),
            "u": pair.u,
            "p": pair.p,
            "p_holm": pair.p_holm,
        }
        for pair in comparison.pairs
    ]


def run_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The runs with every digit, for programs."""
    return [
        {
            "group": scored.group.name,
            "folder": str(run.folder),
            "seed": run.seed,
            "score": float(score),
            "generations": run.generations,
            "ended": run.reason or "not ended",
        }
        for scored in comparison.groups
        for run, score in zip(scored.group.runs, scored.scores, strict=True)
    ]


_TABLES = {"groups": groups_table, "pairs": pairs_table, "runs": runs_table}
_RECORDS = {"groups": group_records, "pairs": pair_records, "runs": run_records}


def text(table: Table) -> str:
    """Columns padded with blanks."""
    rows = [table.headings, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < table.words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(table: Table) -> str:
    """A table that GitHub and most other readers of Markdown show."""
    rule = ["---" if place < table.words else "---:" for place in range(len(table.headings))]
    rows = [
        [_escaped(cell, _MARKDOWN) for cell in table.headings],
        rule,
        *([_escaped(cell, _MARKDOWN) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def latex(table: Table) -> str:
    """A tabular of the package booktabs."""
    columns = "l" * table.words + "r" * (len(table.headings) - table.words)
    lines = [" & ".join(_escaped(cell, _LATEX) for cell in row) + r" \\" for row in (table.headings, *table.rows)]
    body = [lines[0], r"\midrule", *lines[1:]]
    return "\n".join(["% \\usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"])


def probability(value: float) -> str:
    """A p-value: two digits, or that it is very small."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.995 else "1"


def _group_row(scored: Scored) -> tuple[str, ...]:
    budget_end = scored.reached * 2 <= len(scored.scores) and not math.isfinite(scored.evaluations_to_target)
    return (
        scored.group.name,
        str(len(scored.scores)),
        "-" if scored.nparams is None else f"{scored.nparams:,}",
        figure(scored.iqm.value),
        _ends(scored.iqm),
        figure(scored.median.value),
        _ends(scored.median),
        f"{scored.reached}/{len(scored.scores)}",
        f"> {scored.evaluations:,.0f}" if budget_end else f"{scored.evaluations_to_target:,.0f}",
        f"> {scored.env_steps:,.0f}" if budget_end else f"{scored.env_steps_to_target:,.0f}",
    )


def _pair_row(pair: Pair) -> tuple[str, ...]:
    chance = f"{pair.improvement.value:.2f}"
    interval = "-" if math.isnan(pair.improvement.low) else f"[{pair.improvement.low:.2f}, {pair.improvement.high:.2f}]"
    return (pair.first, pair.second, chance, interval, f"{pair.u:g}", probability(pair.p), probability(pair.p_holm))


def _ends(interval: Interval) -> str:
    return "-" if math.isnan(interval.low) else f"[{figure(interval.low)}, {figure(interval.high)}]"


def _interval_record(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _csv(records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns or list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()})
    return file.getvalue()


def _escaped(cell: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in cell)
