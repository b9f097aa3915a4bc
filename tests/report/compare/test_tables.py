"""Tables of a comparison: all formats have the same numbers, and no name can break one."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from nchl.errors import InvalidArgument, UnknownName
from nchl.evolve import TARGET_EPISODES
from nchl.report.compare import Comparison, compare
from nchl.report.compare.captions import caption, label
from nchl.report.compare.runs import digest
from nchl.report.compare.strategies import summarise
from nchl.report.compare.strategies import table as search_table
from nchl.report.compare.tables import (
    FORMATS,
    PAIR_COLUMNS,
    TABLES,
    Table,
    groups_table,
    improvement,
    latex,
    markdown,
    probability,
    render,
    text,
)
from nchl.runs.files.writing import finite
from nchl.runs.settings.places import own_files
from nchl.runs.store.folder import RunFolder
from reference.comparison import write_evaluation, write_run


def test_csv_holds_every_digit(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render(comparison, "csv", ["groups"]))))
    assert [row["group"] for row in rows] == ["network=wnchl", "network=hl", "network=nchl"]
    assert rows[0]["iqm_low"] == ""  # one run has no interval
    assert float(rows[0]["iqm"]) == 1234567.0
    assert float(rows[2]["iqm_low"]) == comparison.groups[2].iqm.low
    assert rows[1]["evaluations_to_target"] == ""
    assert (rows[1]["reached"], rows[1]["evaluations"]) == ("0", "30.0")
    assert len(list(csv.DictReader(io.StringIO(render(comparison, "csv", ["runs"]))))) == 11
    pairs = list(csv.DictReader(io.StringIO(render(comparison, "csv", ["pairs"]))))
    assert len(pairs) == 3
    assert tuple(pairs[0]) == PAIR_COLUMNS


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_tables_for_people_say_the_same(form: str, comparison: Comparison) -> None:
    drawn = render(comparison, form, ["groups", "pairs"])
    for words in ("network=nchl", "102.0", "0/5", "$>$ 30" if form == "latex" else "> 30", "1,234,567", "1.00"):
        assert words in drawn


@pytest.mark.parametrize(
    ("form", "said"), [("text", "one group: no pairs"), ("latex", "% one group: no pairs"), ("csv", ",".join(PAIR_COLUMNS))]
)
def test_one_group_has_no_pairs(form: str, said: str, tmp_path: Path) -> None:
    write_run(tmp_path / "alone", [10.0, 20.0], network="hl")
    assert render(compare([tmp_path / "alone"]), form, ["pairs"]) == said


def test_labels_name_groups_in_every_table(tmp_path: Path) -> None:
    for network in ("nchl", "hl"):
        write_run(tmp_path / network, [10.0, 20.0], network=network, env={"gravity": 1.0} if network == "hl" else None)
    known = [scored.group.name for scored in compare([tmp_path]).groups]
    assert known == ["env=gravity=1.0 network=hl", "env=none network=nchl"]
    found = compare([tmp_path], labels=[f"{known[0]}=[a] = b", f"{known[1]}=c"], baseline=known[1])
    assert [scored.group.name for scored in found.groups] == ["[a] = b", "c"]
    assert {found.pairs[0].first, found.pairs[0].second} == {"[a] = b", "c"}
    assert "[a] = b has 1, c has 1" in found.warnings[0]
    for form in ("text", "csv", "latex"):
        drawn = render(found, form, TABLES)
        assert "network=" not in drawn
        assert "[a] = b" in drawn
    assert r"{}[a] = b & 1 & 7" in render(found, "latex", ["groups"]), "after a row's end LaTeX reads [a] as a length"
    assert compare([tmp_path], labels=[f"{known[1]}=c"], baseline="c").pairs[0].p == 1
    for labels, said in [
        ([f"{known[1]}l=c"], "unknown group 'env=none network=nchll': did you mean 'env=none network=nchl'"),
        (["env=none network=ncl=lr=3"], "did you mean 'env=none network=nchl'"),
        ([known[0]], "a label is GROUP=TEXT"),
        ([f"{known[0]}= "], "a label is GROUP=TEXT"),
        (["NcHL"], "a label is GROUP=TEXT"),
        ([f"{known[0]}=a", f"{known[0]}=b"], "has two labels"),
        ([f"{known[0]}={known[1]}"], "two groups would have the name 'env=none network=nchl'"),
    ]:
        with pytest.raises(InvalidArgument, match=re.escape(said)):
            compare([tmp_path], labels=labels)


def test_unknown_formats_and_tables(comparison: Comparison) -> None:
    with pytest.raises(UnknownName, match="did you mean 'latex'"):
        render(comparison, "latx", ["groups"])
    with pytest.raises(UnknownName, match="did you mean 'pairs'"):
        render(comparison, "text", ["pair"])
    assert set(FORMATS) == {"text", "markdown", "latex", "csv"}


def test_signs_of_latex_and_markdown_are_escaped() -> None:
    table = Table(("a_b", "95 %"), [("rule=my_own#1 & {x}~^\\$", "1")], 1)
    drawn = latex(table)
    assert r"rule=my\_own\#1 \& \{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}\$ & 1 \\" in drawn
    body = drawn.split("\n", 1)[1]
    assert not re.search(r"(?<!\\)[#%$~^]", body)
    assert len(re.findall(r"(?<!\\)&", body)) == 2  # one between the two cells of each row
    quoted = latex(Table(('a|"b"',), [("1",)], 1), 'of "c|d"')
    assert r"a$|$\texttt{\char34}b\texttt{\char34} \\" in quoted
    assert r"\caption{of \texttt{\char34}c$|$d\texttt{\char34}}" in quoted
    assert markdown(Table(("a|b",), [("x*y",)], 1)).splitlines()[0] == r"| a\|b |"
    assert text(table).splitlines()[0].startswith("a_b")


def test_the_cost_of_a_target_that_half_of_the_runs_missed_is_above_their_budget(tmp_path: Path) -> None:
    for seed, means in enumerate([[5.0, 9.0], [5.0, 9.0, 5.0], [5.0] * 20, [5.0] * 30]):
        write_run(tmp_path / str(seed), means, seed=seed, generations=30, reason="target" if 9.0 in means else "max_minutes")
    (row,) = groups_table(compare([tmp_path], target=9.0)).rows
    assert row[-3:] == ("2/4", "> 200", "> 2,000")  # not the median of all budgets, 115 and 1,150


def test_without_a_group_that_improved_there_is_no_default_target(tmp_path: Path) -> None:
    for seed in range(2):
        for network, end in (("nchl", 11.0), ("hl", 15.0)):
            columns = {"search_seconds": [0.1, 0.1]}
            write_run(tmp_path / f"{network}-{seed}", [15.0, end], seed=seed, network=network, columns=columns)
    found = compare([tmp_path])
    assert found.target_text.startswith("no group improved on the first generation (15; the best group's end is 15, ")
    assert groups_table(found).headings[-3:] == ("reached", "evaluations to it", "steps to it")
    assert {row[-3:] for row in groups_table(found).rows} == {("-", "-", "-")}
    assert "Reached" not in caption(found, "groups")
    assert "-- & -- & --" in render(found, "latex", ["groups"])
    assert [row["reached"] for row in csv.DictReader(io.StringIO(render(found, "csv", ["groups"])))] == ["", ""]
    assert finite(found.to_json())["target"] is None
    assert {row[-3] for row in groups_table(compare([tmp_path], target=15.0)).rows} == {"2/2"}
    result = summarise([run for scored in found.groups for run in scored.group.runs], 100)
    assert result.targets == ()
    assert not [heading for heading in search_table(result).headings if heading.startswith("steps to")]


def test_p_values() -> None:
    assert [probability(p) for p in (0.00001, 0.0079, 0.5238, 0.999, 1.0)] == ["< 0.0001", "0.0079", "0.52", "1", "1"]
    assert [probability(p) for p in (0.0496, 0.0501, 0.01, 0.0999)] == ["0.0496", "0.0501", "0.01", "0.0999"]


def test_only_certain_improvements_are_shown_as_certain() -> None:
    assert [improvement(p) for p in (1.0, 0.9976, 0.994, 0.5, 0.006, 0.0024, 0.0)] == [
        "1.00",
        "> 0.99",
        "0.99",
        "0.50",
        "0.01",
        "< 0.01",
        "0.00",
    ]


def test_the_caption_in_latex_says_score_episodes_and_seeds(comparison: Comparison, tmp_path: Path) -> None:
    said = render(comparison, "latex", ["groups"])
    assert said.splitlines()[1:3] == [r"\begin{table}", r"\centering"]
    assert said.splitlines()[4] == r"\label{tab:cartpole-v1-groups}"
    assert label(replace(comparison, task="my_mod:ALE/Pong-v5"), "pairs") == "tab:my-mod-ale-pong-v5-pairs"
    assert said.endswith(r"\end{table}")
    line = next(line for line in said.splitlines() if line.startswith(r"\caption{CartPole-v1: "))
    assert "mean fitness of the last generation (1 episode of each of 10 individuals)" in line
    assert "network=wnchl: 1 run (seed 0); network=hl: 5 runs (seeds 0 to 4)" in line
    for seed in (3, 9):
        columns = {"validation_centre": [1.0, 2.0]}
        folder = write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed, columns=columns, validation_episodes=6)
        write_evaluation(folder, 4.0, digest=digest(folder / "best.safetensors"), episodes=50)
    assert "runs whose mean fitness of a generation in training reached the target" in said
    assert "2 runs (seeds 3, 9)" in caption(compare([tmp_path]), "pairs")
    assert "over 50 unseen episodes (seed 10000). 2 runs" in caption(compare([tmp_path]), "groups")
    assert "runs whose centre's return on validation starts, in training, reached the target" in caption(compare([tmp_path]), "groups")
    assert "validation episodes (6 episodes)." in caption(compare([tmp_path], score="validation"), "runs")
    write_run(tmp_path / "with a target", [1.0, 2.0], columns={"validation_centre": [1.0, 2.0]}, validation_episodes=6, target=9.0)
    assert f"episodes (6 to {TARGET_EPISODES} episodes)." in caption(compare([tmp_path], score="validation"), "runs")


def test_numbers_in_latex_have_minus_signs_and_comparisons_are_formulas() -> None:
    row = latex(Table(("a-b", "c", "d", "e"), [("x-y", "-1.5", "[-2, 3]", "-"), ("z", "> 600", "< 0.0001", "1")], 1)).splitlines()
    assert row[3] == r"a-b & c & d & e \\"
    assert row[5:7] == [r"x-y & $-$1.5 & [$-$2, 3] & -- \\", r"z & $>$ 600 & $<$ 0.0001 & 1 \\"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-base, texlive-latex-recommended)")
def test_tables_and_figure_fit_a_page_of_a_conference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from nchl.report.plots.comparison import save

    for seed in range(5):
        for network, gain in (("nchl", 2000.0), ("wnchl", 1000.0), ("static", -300.0)):
            scores = [-1234.5, -20.0, gain + 123.4 * seed]
            write_run(tmp_path / "runs" / f"{network}_{seed} & #1", scores, seed=seed, network=network, population=200)
    own = tmp_path / "own_rule.py"
    own.write_text("def steered(pre, post, A_synapse):\n    return A_synapse * pre\n")
    for seed in range(3):
        for network, rule in (("nchl", None), ("hl", None), ("nchl", f"{own}:steered")):
            run = RunFolder(
                write_run(tmp_path / "rules" / f"{network}{rule is None}{seed}", [-1234.5], seed=seed, network=network, rule=rule)
            )
            run.write_record(replace(run.read_record(), files=own_files(run.read_record().settings)))
    monkeypatch.chdir(tmp_path)
    comparison = compare(["runs"])
    save(comparison, tmp_path / "figure.pdf", 5.5)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[10pt]{article}\usepackage[textwidth=5.5in,textheight=9in]{geometry}\usepackage{booktabs,graphicx}\begin{document}"
        + render(comparison, "latex", TABLES)
        + r"\newgeometry{textwidth=345pt}"  # LaTeX's own article
        + render(compare(["rules"]), "latex", ["groups", "pairs"])
        + r"\restoregeometry\begin{figure}\includegraphics{figure.pdf}\caption{The figure}\end{figure}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF-")
