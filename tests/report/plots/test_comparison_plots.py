"""Figures of a comparison: what they show, their formats, and their layout on a screen and in a paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from nchl.errors import NchlError
from nchl.report.compare import Comparison, compare
from nchl.report.plots import comparison as comparison_plots
from reference.comparison import write_run


@pytest.mark.parametrize("draw", [comparison_plots.learning_curves, comparison_plots.profile, comparison_plots.intervals])
def test_plots_take_axes_return_them_and_say_what_is_drawn(draw: object, comparison: Comparison) -> None:
    axes = Figure().subplots()
    assert draw(axes, comparison) is axes  # type: ignore[operator]
    legend = axes.get_legend()
    said = " ".join([legend.get_title().get_text(), *(line.get_text() for line in legend.get_texts())])
    assert "95 % bootstrap interval" in said
    assert "return" in axes.get_xlabel() + axes.get_ylabel()
    assert axes.get_title()


def test_without_a_target_none_is_drawn(comparison: Comparison) -> None:
    said = []
    for target in (comparison.target, float("nan")):
        axes = comparison_plots.learning_curves(Figure().subplots(), replace(comparison, target=target))
        said.append([text.get_text() for text in axes.get_legend().get_texts()])  # type: ignore[union-attr]
    assert said[1] == said[0][:-1]


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


@pytest.mark.parametrize(("width", "columns"), [(5.5, 3), (3.3, 1)])
def test_a_figure_for_a_paper_has_its_width_readable_text_and_one_legend(width: float, columns: int, comparison: Comparison) -> None:
    figure = comparison_plots.draw(comparison, width)
    figure.draw_without_rendering()  # type: ignore[attr-defined]
    assert figure.get_figwidth() == width
    assert figure.get_figheight() < 7
    assert len({round(axes.get_position().x0, 2) for axes in figure.axes}) == columns
    assert all(axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:3] == ["network=wnchl", "network=hl", "network=nchl"]
    for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in figure.axes)]:
        assert box is not None
        assert figure.bbox.x0 - 1 <= box.x0 < box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 - 1 <= box.y0 < box.y1 <= figure.bbox.y1 + 1


def test_a_pdf_has_no_fonts_that_conferences_refuse(comparison: Comparison, tmp_path: Path) -> None:
    (pdf,) = comparison_plots.save(comparison, tmp_path / "figure.pdf", 5.5)
    data = pdf.read_bytes()
    assert b"/FontFile2" in data  # TrueType, embedded
    assert b"/Type3" not in data
