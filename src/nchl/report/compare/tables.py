"""A comparison as tables: text for a terminal, Markdown, LaTeX, CSV.

Text, Markdown and LaTeX show rounded numbers for readers. CSV has every digit, one number in each cell and plain column
names, for programs; a number that there is not (an interval of one run, a target that was never reached) is an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from nchl.errors import UnknownName
from nchl.report.compare.comparison import Comparison, Pair, Scored
from nchl.report.compare.statistics import Interval
from nchl.report.formatting import figure

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
    found = {name: table for name in tables if (table := _TABLES[name](comparison)).rows}
    if form == "latex":
        drawn = [latex(table, caption(comparison, name)) for name, table in found.items()]
    else:
        drawn = [{"text": text, "markdown": markdown}[form](table) for table in found.values()]
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


def latex(table: Table, said: str = "") -> str:
    """A tabular of the package booktabs; with a caption, in a table."""
    columns = "l" * table.words + "r" * (len(table.headings) - table.words)
    lines = [" & ".join(_escaped(cell, _LATEX) for cell in row) + r" \\" for row in (table.headings, *table.rows)]
    body = [lines[0], r"\midrule", *lines[1:]]
    tabular = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
    if said:
        tabular = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(said, _LATEX)}}}", *tabular, r"\end{table}"]
    return "\n".join(["% \\usepackage{booktabs}", *tabular])


def caption(comparison: Comparison, name: str) -> str:
    """What a reader of a table must know: the task, the score, of how many episodes, over how many runs with which seeds."""
    parts = [f"{comparison.task}: {comparison.score_text}{_episodes(comparison)}", _seeds(comparison)]
    if name == "groups":
        parts.append(f"IQM: interquartile mean over the runs; 95 %: percentile bootstrap; target {figure(comparison.target)}")
    if name == "pairs":
        parts.append("P(improvement): a run of the first scores higher than one of the second; p: two-sided Mann-Whitney test")
    return ". ".join(parts) + "."


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
        ends(scored.iqm),
        figure(scored.median.value),
        ends(scored.median),
        f"{scored.reached}/{len(scored.scores)}",
        f"> {scored.evaluations:,.0f}" if budget_end else f"{scored.evaluations_to_target:,.0f}",
        f"> {scored.env_steps:,.0f}" if budget_end else f"{scored.env_steps_to_target:,.0f}",
    )


def _pair_row(pair: Pair) -> tuple[str, ...]:
    chance = f"{pair.improvement.value:.2f}"
    interval = "-" if math.isnan(pair.improvement.low) else f"[{pair.improvement.low:.2f}, {pair.improvement.high:.2f}]"
    return (pair.first, pair.second, chance, interval, f"{pair.u:g}", probability(pair.p), probability(pair.p_holm))


def ends(interval: Interval) -> str:
    """An interval in brackets, or a dash where there is none."""
    return "-" if math.isnan(interval.low) else f"[{figure(interval.low)}, {figure(interval.high)}]"


def _episodes(comparison: Comparison) -> str:
    """How many episodes a run's score is of, where the words of the score do not say it."""
    if comparison.score == "evaluation":
        return ""
    settings = [scored.group.settings for scored in comparison.groups]
    if comparison.score == "validation":
        return f" ({_span({each['validation_episodes'] for each in settings})})"
    episodes, population = ({each[name] for each in settings} for name in ("episodes", "population"))
    if None in episodes:
        return f" (episodes by a schedule, of each of {_span(population, '')} individuals)"
    return f" ({_span(episodes)} of each of {_span(population, '')} individuals)"


def _span(counts: Set[int], of: str = "episode") -> str:
    """`5 episodes`, or `1 to 5 episodes`."""
    low, high = min(counts), max(counts)
    noun = "" if not of else f" {of}" if high == 1 else f" {of}s"
    return (f"{low:,}" if low == high else f"{low:,} to {high:,}") + noun


def _seeds(comparison: Comparison) -> str:
    """How many runs each group has, and their seeds."""
    seeds = {scored.group.name: [run.seed for run in scored.group.runs] for scored in comparison.groups}
    first = next(iter(seeds.values()))
    if all(each == first for each in seeds.values()):
        return f"{'In each group ' if len(seeds) > 1 else ''}{_runs(first)}"
    return "; ".join(f"{name}: {_runs(each)}" for name, each in seeds.items())


def _runs(seeds: Sequence[int]) -> str:
    plain = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    listed = f"{seeds[0]} to {seeds[-1]}" if plain else ", ".join(map(str, seeds))
    return f"{len(seeds)} run{'s' * (len(seeds) > 1)} (seed{'s' * (len(seeds) > 1)} {listed})"


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
