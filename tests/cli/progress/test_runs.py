"""The progress line: its content, its frequency, and the time left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nchl.cli.progress.runs import Pace, RunLines, progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(generation: int, **more: object) -> Any:
    figures = {"best": 200.0, "mean": 12.345, "steps_per_s": 12345.6, "non_finite": 0, "evaluate_seconds": 50.0, "search_seconds": 10.0}
    figures |= {"sent_mb": 0.0, "received_mb": 0.0}
    return SimpleNamespace(**{"generation": generation, "seconds": 60.0 * generation, "reason": None, **figures, **more})


def test_a_line_has_progress_fitness_speed_and_time_left() -> None:
    pace = Pace(10, None, Clock())
    pace.tick(record(1))
    assert pace.line(record(1)) == "generation 1/10 · best 200.0 · mean 12.3 · 12,346 steps/s · 9 min left"
    assert "1.0 MB to workers, 10 kB back" in pace.line(record(1, sent_mb=1.0, received_mb=0.01))
    assert "3 not finite" in pace.line(record(1, non_finite=3))
    assert "left" not in pace.line(record(10, reason="generations"))


def test_time_left_follows_the_pace_and_ends_with_the_limit() -> None:
    clock = Clock()
    pace = Pace(100, 92.5, clock)
    pace.tick(record(90))  # the first of a resumed session: its own seconds count
    assert pace.left_s(record(90)) == pytest.approx(2.5 * 60)
    clock.now += 10
    pace.tick(record(98))
    assert pace.left_s(record(98, seconds=0)) == pytest.approx(2 * (60 + 10) / 2)
    assert Pace(None).left_s(record(1)) is None


def test_plain_progress_prints_the_first_some_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with RunLines(Pace(30, None, clock), clock) as shown:
        for generation in range(1, 31):
            clock.now += 1
            shown.show(record(generation))
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split()[1] for line in said.err.splitlines()] == ["1/30", "11/30", "21/30", "30/30"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(2) as shown:
        shown.show(record(1))
        shown.say("a line [that] stays")
        shown.show(record(2))
    said = capsys.readouterr()
    assert said.out == ""
    assert "a line [that] stays" in said.err
    assert "generation 2/2" in said.err
