"""A record has the nchl of each session, and whether its network is plastic; records without either still load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nchl
from nchl.cli import main
from nchl.errors import RunError
from nchl.runs.provenance import machine
from nchl.runs.provenance.sessions import nchl_of, session, with_this_one

pytest.importorskip("gymnasium")

SMALL: dict[str, Any] = {"hidden": (3,), "population": 4, "generations": 1}
STILL = "import nchl\n\ndef net(inputs, outputs):\n    return nchl.StaticMLP([inputs[0], 3, outputs])\n"


def record(run: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((run / "config.json").read_text())
    return held


def test_each_session_is_recorded_and_another_nchl_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "commit", lambda: {"nchl_commit": "a" * 40})
    run = nchl.run("CartPole-v1", tmp_path / "run", **SMALL).folder
    (first,) = record(run)["sessions"]
    assert (first["commit"], first["dirty"], first["versions"]["nchl"]) == ("a" * 40, False, nchl.__version__)
    assert first["started"] == record(run)["started"]
    told: list[str] = []
    nchl.resume(run, generations=2, on_note=told.append)
    assert not any("nchl" in line for line in told)
    monkeypatch.setattr(machine, "commit", lambda: {"nchl_commit": "b" * 40 + " (dirty)"})
    nchl.resume(run, generations=3, on_note=told.append)
    (said,) = (line for line in told if "the session before" in line)
    assert f"commit {'a' * 10})" in said
    assert f"commit {'b' * 10} with changes of its own" in said
    held = record(run)
    assert [(each["commit"], each["dirty"]) for each in held["sessions"]] == [("a" * 40, False), ("a" * 40, False), ("b" * 40, True)]
    assert held["versions"]["nchl_commit"] == "a" * 40


def test_a_record_without_sessions_goes_on_with_its_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = nchl.run("CartPole-v1", tmp_path / "run", **SMALL).folder
    held = record(run)
    older = {name: value for name, value in held.items() if name not in ("sessions", "plastic")}
    older["versions"] = {**held["versions"], "nchl_commit": "c" * 40}
    (run / "config.json").write_text(json.dumps(older))
    monkeypatch.setattr(machine, "commit", lambda: {"nchl_commit": "d" * 40})
    told: list[str] = []
    nchl.resume(run, generations=2, on_note=told.append)
    assert any("cccccccccc" in line and "dddddddddd" in line for line in told)
    assert [each["commit"] for each in record(run)["sessions"]] == ["c" * 40, "d" * 40]
    assert record(run)["plastic"] is True
    for wrong in ({"sessions": "two"}, {"sessions": ["two"]}, {"plastic": "yes"}):
        (run / "config.json").write_text(json.dumps(held | wrong))
        with pytest.raises(RunError, match=f"key '{next(iter(wrong))}' must be"):
            nchl.evaluate(run, episodes=1)


def test_an_unknown_nchl_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda: {"nchl": "1"})
    monkeypatch.setattr(machine, "commit", lambda: {"nchl_commit": "a" * 40})
    known = session("now")
    assert session("now", {"nchl_commit": f"{'a' * 40} (dirty or not: git did not say)"})["dirty"] is None
    for before in ({}, {"versions": 3}, known):
        sessions, notes = with_this_one([before], "now", {})
        assert (sessions[0], nchl_of(sessions[1]), notes) == (before, f"1 (commit {'a' * 10})", [])
    _, (note,) = with_this_one([session("now", {"nchl": "1"})], "now", {})
    assert "no commit known" in note


def test_controls_are_offered_for_plastic_networks_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's network that is not plastic, which its name does not tell."""
    file = tmp_path / "still.py"
    file.write_text(STILL)
    words = ["evolve", "CartPole-v1", "--population", "4", "--generations", "1"]
    assert main([*words, "--network", f"{file}:net", "--out", str(tmp_path / "still")]) == 0
    said = capsys.readouterr().out
    assert "nchl evaluate" in said
    assert "--controls" not in said
    assert record(tmp_path / "still")["plastic"] is False
    assert main(["evolve", "CartPole-v1", *words[2:], "--hidden", "3", "--out", str(tmp_path / "rewires")]) == 0
    assert "--controls" in capsys.readouterr().out
    pytest.importorskip("jinja2")
    for name in ("still", "rewires"):
        assert main(["report", str(tmp_path / name), "--episodes", "0", "--no-film", "--no-microscope"]) == 0
        page = (tmp_path / name / "report.html").read_text()
        assert (f"nchl evaluate {tmp_path / name} --controls" in page) is (name == "rewires")
