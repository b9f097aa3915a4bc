"""Tables and pictures of a comparison: every format says the same, and nothing in a name can break one."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from nchl.errors import NchlError, UnknownName
from nchl.report.compare import Comparison, compare
from nchl.report.compare.runs import digest
from nchl.report.compare.tables import FORMATS, PAIR_COLUMNS, Table, caption, latex, markdown, probability, render, text
from nchl.report.plots import comparison as comparison_plots
from reference.comparison import write_evaluation, write_run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(5):
        write_run(folder / f"nchl-{seed}", [10.0, 50.0 + seed, 100.0 + seed], seed=seed, network="nchl")
        write_run(folder / f"hl-{seed}", [10.0, 20.0, 30.0 + seed], seed=seed, network="hl")
    write_run(folder / "alone", [10.0, 20.0, 1234567.0], network="wnchl")
    return compare([folder])


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
    for words in ("network=nchl", "102.0", "0/5", "> 30", "1,234,567", "1.00"):
        assert words in drawn


@pytest.mark.parametrize(
    ("form", "said"), [("text", "one group: no pairs"), ("latex", "% one group: no pairs"), ("csv", ",".join(PAIR_COLUMNS))]
)
def test_one_group_has_no_pairs(form: str, said: str, tmp_path: Path) -> None:
    write_run(tmp_path / "alone", [10.0, 20.0], network="hl")
    assert render(compare([tmp_path / "alone"]), form, ["pairs"]) == said


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
    assert markdown(Table(("a|b",), [("x*y",)], 1)).splitlines()[0] == r"| a\|b |"
    assert text(table).splitlines()[0].startswith("a_b")


def test_p_values() -> None:
    assert [probability(p) for p in (0.00001, 0.0079, 0.5238, 0.999, 1.0)] == ["< 0.0001", "0.0079", "0.52", "1", "1"]


@pytest.mark.parametrize("draw", [comparison_plots.learning_curves, comparison_plots.profile, comparison_plots.intervals])
def test_plots_take_axes_return_them_and_say_what_is_drawn(draw: object, comparison: Comparison) -> None:
    axes = Figure().subplots()
    assert draw(axes, comparison) is axes  # type: ignore[operator]
    legend = axes.get_legend()
    said = " ".join([legend.get_title().get_text(), *(line.get_text() for line in legend.get_texts())])
    assert "95 % bootstrap interval" in said
    assert "return" in axes.get_xlabel() + axes.get_ylabel()
    assert axes.get_title()


def test_groups_are_told_apart_beyond_the_colours() -> None:
    styles = {(style["color"], style["linestyle"]) for style in map(comparison_plots._style, range(32))}
    assert len(styles) == 32


def test_the_figure_is_written_as_its_name_says_and_equal_each_time(comparison: Comparison, tmp_path: Path) -> None:
    (png,) = comparison_plots.save(comparison, tmp_path / "new" / "v1.2" / "figure.png")
    picture = imread(png)
    assert picture.shape[1] > 1500
    assert np.ptp(picture[..., :3]) > 0.9
    (svg,) = comparison_plots.save(comparison, tmp_path / "figure.SVG")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    (pdf,) = comparison_plots.save(comparison, tmp_path / "figure.pdf")
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["figure.SVG", "figure.pdf", "new"]
    (again,) = comparison_plots.save(comparison, tmp_path / "again.pdf")
    assert again.read_bytes() == pdf.read_bytes()
    both = comparison_plots.save(comparison, tmp_path / "other")
    assert [file.name for file in both] == ["other.png", "other.svg"]
    assert both[1].read_bytes() == svg.read_bytes()
    with pytest.raises(NchlError, match=r"as \.pdf, \.svg, \.png, not as \.jpg: give .*figure\.pdf"):
        comparison_plots.save(comparison, tmp_path / "figure.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(NchlError, match="cannot write"):
        comparison_plots.save(comparison, tmp_path / "file" / "figure.png")


def test_the_caption_in_latex_says_score_episodes_and_seeds(comparison: Comparison, tmp_path: Path) -> None:
    said = render(comparison, "latex", ["groups"])
    assert said.splitlines()[1:3] == [r"\begin{table}", r"\centering"]
    assert said.endswith(r"\end{table}")
    line = next(line for line in said.splitlines() if line.startswith(r"\caption{CartPole-v1: "))
    assert "mean fitness of the last generation (1 episode of each of 10 individuals)" in line
    assert "network=wnchl: 1 run (seed 0); network=hl: 5 runs (seeds 0 to 4)" in line
    for seed in (3, 9):
        columns = {"validation_centre": [1.0, 2.0]}
        folder = write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed, columns=columns, validation_episodes=6)
        write_evaluation(folder, 4.0, digest=digest(folder / "best.safetensors"), episodes=50)
    assert "2 runs (seeds 3, 9)" in caption(compare([tmp_path]), "pairs")
    assert "over 50 unseen episodes (seed 10000). 2 runs" in caption(compare([tmp_path]), "groups")
    assert "validation episodes (6 episodes)." in caption(compare([tmp_path], score="validation"), "runs")


def test_long_names_leave_the_panels_their_room(tmp_path: Path) -> None:
    for seed in range(3):
        for network in ("nchl", "hl"):
            for weights, sigma in (("uniform1", 0.1), ("kaiming", 0.25)):
                folder = tmp_path / f"{network}-{weights}-{seed}"
                scores = [10.0, 20.0, 30.0 + seed]
                write_run(folder, scores, seed=seed, network=network, initial_weights=weights, sigma=sigma, lr=sigma / 2)
    comparison = compare([tmp_path])
    assert max(len(scored.group.name) for scored in comparison.groups) > 50
    figure = comparison_plots.draw(comparison)
    figure.draw_without_rendering()  # type: ignore[attr-defined]
    for axes in figure.axes:
        assert axes.get_position().width > 0.22
        assert axes.get_position().height > 0.4
        legend = axes.get_legend().get_window_extent()
        assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= legend.y0 < legend.y1 <= figure.bbox.y1
