"""A comparison as tables: text for a terminal, Markdown, LaTeX, CSV.

Text, Markdown and LaTeX have rounded numbers. CSV has all digits, one number per cell and plain column names; a missing number (the
interval of a single run, the cost of a target that was not reached) is an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nchl.errors import UnknownName
from nchl.report.compare.captions import caption, label
from nchl.report.compare.comparison import Comparison, Pair, Scored
from nchl.report.compare.scores import to_target
from nchl.report.compare.statistics import Interval
from nchl.report.formatting import figure

FORMATS = ("text", "markdown", "latex", "csv")
TABLES = ("groups", "pairs", "runs")
# What of the table of groups fits a page of a conference: column -> heading.
_PAPER = {0: "group", 1: "runs", 2: "parameters", 3: "IQM", 4: "95 %", 7: "reached", 8: "evaluations", 9: "steps"}

# In LaTeX's default encoding "<", ">" and "|" are other characters outside of formulas, and only the typewriter font has a straight quote.
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': r"\texttt{\char34}"}
_LATEX |= {sign: f"${sign}$" for sign in "<>|"}
_LATEX |= {sign: "\\" + sign for sign in "&%$#_{}"}
_MARKDOWN = {c: "\\" + c for c in "\\|*_`<>[]"}


class Table(NamedTuple):
    """Rows of cells under headings; the first `words` columns are left-aligned text, the others numbers."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int


def render(comparison: Comparison, form: str, tables: Sequence[str]) -> str:
    """Tables in one of `FORMATS`, one below the other.

    Raises:
        UnknownName: there is no such format or table.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    for name in tables:
        if name not in TABLES:
            raise UnknownName("table", name, TABLES)
    if form == "csv":
        return "\n".join(csv_of(_RECORDS[name](comparison), PAIR_COLUMNS if name == "pairs" else ()) for name in tables).rstrip("\n")
    found = {name: table for name in tables if (table := _TABLES[name](comparison)).rows}
    if form == "latex":
        if "groups" in found:
            rows = [tuple(row[column] for column in _PAPER) for row in found["groups"].rows]
            found["groups"] = Table(tuple(_PAPER.values()), rows, 1)
        drawn = [latex(table, caption(comparison, name), label(comparison, name)) for name, table in found.items()]
    else:
        drawn = [{"text": text, "markdown": markdown}[form](table) for table in found.values()]
    # Only the table of pairs may be empty.
    return "\n\n".join(drawn) or ("% " if form == "latex" else "") + "one group: no pairs"


def groups_table(comparison: Comparison) -> Table:
    """One row per group."""
    reached = "reached" if math.isnan(comparison.target) else f"reached {figure(comparison.target)}"
    headings = ("group", "runs", "parameters", "IQM", "95 %", "median", "95 %", reached, "evaluations to it", "steps to it")
    return Table(headings, [_group_row(scored, comparison) for scored in comparison.groups], 1)


def pairs_table(comparison: Comparison) -> Table:
    """One row per tested pair."""
    headings = ("first", "second", "P(improvement)", "95 %", "U", "p", "p (Holm)")
    return Table(headings, [_pair_row(pair) for pair in comparison.pairs], 2)


def runs_table(comparison: Comparison) -> Table:
    """One row per run."""
    headings = ("group", "run", "seed", "score", "not finite", "generations", "ended by")
    records = [list(record.items())[: len(headings)] for record in run_records(comparison)]
    rows = [tuple(figure(value) if name == "score" else str(value) for name, value in record) for record in records]
    return Table(headings, rows, 2)


def group_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The groups with all digits."""
    plain = ("evaluations", "env_steps", "reached", "evaluations_to_target", "env_steps_to_target")
    return [
        {
            "group": scored.group.name,
            "runs": len(scored.scores),
            "parameters": scored.nparams,
            **_interval_record("iqm", scored.iqm),
            **_interval_record("median", scored.median),
            "target": comparison.target,
            **{name: getattr(scored, name) for name in plain},
            **_of_what(comparison),
        }
        for scored in comparison.groups
    ]


def _of_what(comparison: Comparison) -> dict[str, Any]:
    """What a record is of; a file of CSV has no heading that says it."""
    return {"task": comparison.task, "score_name": comparison.score}


PAIR_COLUMNS = ("first", "second", "improvement", "improvement_low", "improvement_high", "u", "p", "p_holm", "tests", "task", "score_name")
"""Columns of `pair_records`, which may be empty."""


def pair_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The pairs with all digits."""
    about = (comparison.tests, *_of_what(comparison).values())
    cells = ((pair.first, pair.second, *pair.improvement, pair.u, pair.p, pair.p_holm, *about) for pair in comparison.pairs)
    return [dict(zip(PAIR_COLUMNS, row, strict=True)) for row in cells]


def run_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The runs with all digits."""
    return [
        {
            "group": scored.group.name,
            "folder": str(run.folder),
            "seed": run.seed,
            "score": float(score),
            "non_finite": run.non_finite,
            "generations": run.generations,
            "ended": run.reason or "not ended",
            **_of_what(comparison),
        }
        for scored in comparison.groups
        for run, score in zip(scored.group.runs, scored.scores, strict=True)
    ]


_TABLES = {"groups": groups_table, "pairs": pairs_table, "runs": runs_table}
_RECORDS = {"groups": group_records, "pairs": pair_records, "runs": run_records}


def text(table: Table) -> str:
    """Columns padded with spaces."""
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
    """A table in GitHub's Markdown."""
    rule = ["---" if place < table.words else "---:" for place in range(len(table.headings))]
    head, *rows = ([_escaped(cell, _MARKDOWN) for cell in row] for row in (table.headings, *table.rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def latex(table: Table, said: str = "", key: str = "") -> str:
    r"""A tabular of the package booktabs; with a caption, and a key for `\ref`, in a table with text small enough for a page's column."""
    columns = "l" * table.words + "r" * (len(table.headings) - table.words)
    head, *rows = (
        ("{}" if row[0].startswith(("[", "*")) else "")  # a row before would take these for its own
        + " & ".join(_latex_cell(cell, place >= table.words) for place, cell in enumerate(row))
        + r" \\"
        for row in (table.headings, *table.rows)
    )
    tabular = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    if said:
        size = r"\footnotesize\setlength{\tabcolsep}{3pt}"
        about = [rf"\caption{{{_escaped(said, _LATEX)}}}", *([rf"\label{{{key}}}"] if key else [])]
        tabular = [r"\begin{table}", r"\centering", *about, size, *tabular, r"\end{table}"]
    return "\n".join(["% \\usepackage{booktabs}", *tabular])


def _latex_cell(cell: str, number: bool) -> str:
    """A cell with special characters escaped; in a number, a hyphen becomes a minus sign or, alone, a dash."""
    return _escaped(cell, _LATEX if not number else {**_LATEX, "-": "--" if cell == "-" else "$-$"})


def probability(value: float) -> str:
    """A p-value in two digits, between 0.01 and 0.1 in three."""
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}" if 0.01 <= value < 0.1 else f"{value:.2g}" if value < 0.995 else "1"


def improvement(value: float) -> str:
    """A probability of improvement in two digits, of which only 0 and 1 are shown as certain."""
    return "< 0.01" if 0 < value < 0.005 else "> 0.99" if 0.995 <= value < 1 else f"{value:.2f}"


def _group_row(scored: Scored, comparison: Comparison) -> tuple[str, ...]:
    return (
        scored.group.name,
        str(len(scored.scores)),
        "-" if scored.nparams is None else f"{scored.nparams:,}",
        figure(scored.iqm.value),
        ends(scored.iqm),
        figure(scored.median.value),
        ends(scored.median),
        "-" if scored.reached is None else f"{scored.reached}/{len(scored.scores)}",
        _cost(scored, comparison, "evaluations", scored.evaluations_to_target),
        _cost(scored, comparison, "env_steps", scored.env_steps_to_target),
    )


def _cost(scored: Scored, comparison: Comparison, column: str, median: float) -> str:
    """The median cost of the target; if it is infinite, `>` the least that a run without the target has used; a dash without a target."""
    if scored.reached is None:
        return "-"
    if math.isfinite(median):
        return f"{median:,.0f}"
    runs = scored.group.runs
    evaluations, _ = to_target(runs, comparison.column, comparison.target)
    return f"> {min(run.last(column) for run, there in zip(runs, evaluations, strict=True) if not math.isfinite(there)):,.0f}"


def _pair_row(pair: Pair) -> tuple[str, ...]:
    interval = "-" if math.isnan(pair.improvement.low) else f"[{pair.improvement.low:.2f}, {pair.improvement.high:.2f}]"
    return (
        pair.first,
        pair.second,
        improvement(pair.improvement.value),
        interval,
        f"{pair.u:g}",
        probability(pair.p),
        probability(pair.p_holm),
    )


def ends(interval: Interval) -> str:
    """An interval in brackets, or a dash if there is none."""
    return "-" if math.isnan(interval.low) else f"[{figure(interval.low)}, {figure(interval.high)}]"


def _interval_record(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def csv_of(records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Records as CSV with every digit, one number in each cell; what is not finite is an empty cell.

    Args:
        records: with equal keys.
        columns: of the table; empty: the keys of the first record.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, columns or list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()})
    return file.getvalue()


def _escaped(cell: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in cell)
