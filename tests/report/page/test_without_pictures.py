"""A user's environment, in a file of its own, that cannot draw itself: the microscope works all the same, and a film says what to write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

import nchl
from nchl.cli import main
from nchl.errors import DrawingError
from nchl.report import page
from nchl.rollout.episode import never
from nchl.runs.results.scene import open_run
from nchl.tasks.stages.open import open_stage
from reference.robot import robot

SMALL: dict[str, Any] = {"hidden": [3], "population": 4, "generations": 1}
LACKING = [
    ({"metadata": "", "init": "", "render": ""}, "it has no render mode"),
    ({"metadata": 'metadata = {"render_modes": ["human"]}'}, "its render modes are human"),
    ({"init": ""}, "cannot be made to be drawn: TypeError"),
    ({"render": ""}, "NotImplementedError"),
    ({"render": "def render(self): pass"}, r"its render\(\) gave nothing \(None\)"),
    ({"render": "def render(self): return self.at"}, r"its render\(\) gave \(2,\) of float32"),
]


@pytest.mark.parametrize(("lacks", "said"), LACKING)
def test_what_an_environment_lacks_for_a_film_is_said(
    lacks: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    with robot(tmp_path, **lacks) as task:
        nchl.run(task, out=run, **SMALL)
        capsys.readouterr()
        assert main(["film", str(run)]) == 2
        told = capsys.readouterr().err
        assert re.search(said, told), told
        for word in ('"render_modes": ["rgb_array"]', "`render_mode=None`", "`render(self)`", "(height, width, 3) of uint8"):
            assert word in told
        assert len(told.strip().splitlines()) == 1
        assert not (run / "film.mp4").exists()

        assert main(["report", str(run), "--episodes", "2"]) == 0
        told = capsys.readouterr().out
        assert "with microscope (12 steps, 12 moments)" in told
        assert re.search(f"The microscope is without pictures of the task: .*{said}", told)
        assert "There is no film, for the same reason" in told
        text = (run / "report.html").read_text()
    assert '"frames":null' in text
    assert '<section id="microscope"' in text


def test_what_it_is_told_to_write_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    with robot(tmp_path) as task:
        nchl.run(task, out=run, **SMALL)
        assert main(["film", str(run), "--width", "64"]) == 0
        assert (run / "film.mp4").stat().st_size > 500
        result = page.write(run, episodes=0)
        assert result["notes"] == []
    assert '"frames":{"width":32,"height":24' in (run / "report.html").read_text()


def test_a_life_without_pictures_is_the_same_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with robot(tmp_path) as task:
        nchl.run(task, out=tmp_path / "run", **SMALL)
        with open_run(tmp_path / "run") as drawn, open_run(tmp_path / "run", draw=False) as plain:
            moments = zip(drawn.watch(), plain.watch(draw=never), strict=True)
            assert all(a.reward == b.reward and a.frame is not None and b.frame is None for a, b in moments)
            with pytest.raises(DrawingError, match="draw=True"):
                plain.stage.frame()


def test_envpool_without_pictures(tmp_path: Path) -> None:
    pytest.importorskip("envpool")
    for task in ("CartPole-v1", "HalfCheetah-v5"):
        stage = open_stage(task, "envpool", 3, draw=False)
        try:
            assert stage.begin().shape[0] == 1
            with pytest.raises(DrawingError, match="draw=True"):
                stage.frame()
        finally:
            stage.close()
