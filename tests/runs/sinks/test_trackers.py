"""Weights & Biases offline, and MLflow in a folder: their figures, their records after a resume, and unchanged results."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nchl
from nchl.errors import MissingExtra
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.sinks import mlflow_tracker, trackers, wandb_tracker
from nchl.runs.store.folder import RunFolder
from reference.runs import SMALL, results

pytest.importorskip("gymnasium")


class Told:
    """A tracker that keeps what it is told, and fails when it is asked to."""

    def __init__(self, state: Mapping[str, str], fail_at: int | None = None) -> None:
        self.state = {"id": state.get("id", "first")}
        self.where = "in memory"
        self.fail_at = fail_at
        self.steps: dict[int, tuple[dict[str, float], dict[str, np.ndarray]]] = {}
        self.films: list[tuple[int, Path]] = []
        self.ends: list[Any] = []

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        if step == self.fail_at:
            raise OSError("the connection is lost\nand more")
        self.steps[step] = dict(scalars), dict(histograms)

    def film(self, step: int, path: Path) -> None:
        self.films.append((step, path))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        self.ends.append(summary)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """The trackers of all sessions, in order; `Module.fail_at` is the step at which the next one fails."""
    made: list[Told] = []

    class Module:
        fail_at: int | None = None

        @staticmethod
        def begin(folder: Path, state: Mapping[str, str], about: Mapping[str, Any]) -> Told:
            assert about["task"] == "CartPole-v1"
            assert "torch" in about
            made.append(Told(state, Module.fail_at))
            return made[-1]

    monkeypatch.setattr(trackers, "KNOWN", {"wandb": ("json", "the_tracker_of_this_test")})
    monkeypatch.setitem(sys.modules, "the_tracker_of_this_test", Module)
    return made


def test_a_tracker_receives_figures_and_settings(sessions: list[Told], tmp_path: Path) -> None:
    settings = {**SMALL, "generations": 12}
    notes: list[str] = []
    nchl.run("CartPole-v1", out=tmp_path / "with", wandb=True, on_note=notes.append, **settings)
    nchl.run("CartPole-v1", out=tmp_path / "without", **settings)
    assert results(tmp_path / "with") == results(tmp_path / "without")
    (told,) = sessions
    assert list(told.steps) == list(range(1, 13))
    scalars, histograms = told.steps[1]
    assert scalars["fitness/best"] > 0
    assert "validation/validation_best" not in scalars  # it is NaN here
    assert set(histograms) == {"fitness/all", "search/centre"} | {
        f"genome/{block}.{name}" for block, names in (("input", "ACD"), ("hidden0", "ABCD"), ("output", "BCD")) for name in [*names, "eta"]
    }
    assert histograms["genome/hidden0.B"].shape == (4,)
    assert [step for step, (_, found) in told.steps.items() if len(found) > 2] == [1, 10]
    assert [end["reason"] for end in told.ends] == ["generations"]
    assert notes.count("wandb: in memory") == 1
    assert json.loads((tmp_path / "with" / "tracking.json").read_text()) == {"wandb": {"id": "first"}}


def test_a_resume_goes_on_with_the_same_record(sessions: list[Told], tmp_path: Path) -> None:
    nchl.run("CartPole-v1", out=tmp_path / "run", wandb=True, **SMALL)
    (tmp_path / "run" / "tracking.json").write_text('{"wandb": {"id": "kept"}}')
    nchl.resume(tmp_path / "run", generations=8)
    assert sessions[1].state == {"id": "kept"}
    assert list(sessions[1].steps) == [7, 8]
    (tmp_path / "run" / "tracking.json").write_text("damaged")
    nchl.resume(tmp_path / "run", generations=9)
    assert sessions[2].state == {"id": "first"}
    assert trackers.show_film(RunFolder(tmp_path / "run"), 3, tmp_path / "film.mp4") == ["wandb: in memory"]
    assert sessions[3].films == [(3, tmp_path / "film.mp4")]
    assert sessions[3].ends == [None]


def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(sessions: list[Told], tmp_path: Path) -> None:
    sys.modules["the_tracker_of_this_test"].fail_at = 3
    notes: list[str] = []
    done = nchl.run("CartPole-v1", out=tmp_path / "run", wandb=True, on_note=notes.append, **SMALL)
    assert done.reason == "generations"
    assert list(sessions[0].steps) == [1, 2]
    assert [note for note in notes if "failed" in note] == [
        "wandb failed and gets nothing more in this session (the connection is lost); the run goes on, its folder has everything"
    ]


def test_without_the_package_no_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtra, match=rf"'{name}'.*pip install .*\[tracking\]"):
            nchl.run("CartPole-v1", out=tmp_path / "run", **SMALL, **{name: True})
    assert not (tmp_path / "run").exists()


def test_runs_from_before_these_options_are_read(tmp_path: Path) -> None:
    data = EvolveConfig.create("CartPole-v1").to_json()
    assert (data.pop("wandb"), data.pop("mlflow")) == (False, False)
    assert EvolveConfig.from_json(data) == EvolveConfig.create("CartPole-v1")


def test_a_film_goes_only_to_trackers_that_the_run_asks_for(sessions: list[Told], tmp_path: Path) -> None:
    nchl.run("CartPole-v1", out=tmp_path / "run", **{**SMALL, "generations": 1})
    (tmp_path / "run" / "tracking.json").write_text('{"wandb": {"id": "somebody-elses"}}')
    assert trackers.show_film(RunFolder(tmp_path / "run"), 1, tmp_path / "film.mp4") == []
    assert sessions == []


class Entity:
    """An object of MLflow's client."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values, self.info, self.experiment_id = values, self, "7"
        self.run_id = "new"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In the place of MLflow: the addresses that it was told to connect to, and the runs there that it was told to go on with."""
    told: list[str] = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            told.append(tracking_uri)

        def update_run(self, run: str, status: str) -> None:
            told.append(f"{run} is {status}")

        def __getattr__(self, name: str) -> Any:
            return Entity

    names = {"mlflow.tracking": {"MlflowClient": Client}, "mlflow.entities": {"Param": Entity}}
    monkeypatch.setattr(mlflow_tracker, "require", lambda name, extra: SimpleNamespace(**names[name]))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    return told


def test_a_folder_does_not_choose_the_server(servers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = (tmp_path / "mlruns").as_uri()
    foreign = {"run": "0" * 32, "uri": "http://elsewhere.example"}
    assert mlflow_tracker.begin(tmp_path / "run", foreign, {}).state == {"run": "new", "uri": here}
    assert servers == [here]
    mlflow_tracker.begin(tmp_path / "run", {"run": "mine", "uri": here}, {})
    assert servers[1:] == [here, "mine is RUNNING"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    mlflow_tracker.begin(tmp_path / "run", {"run": "mine", "uri": here}, {})
    assert servers[3:] == ["http://localhost:5000"]


def test_a_folder_does_not_choose_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    class Run:
        url, dir = "here", ""

        def define_metric(self, *_: Any, **__: Any) -> None: ...

    def init(*, id: str, project: str, **_: Any) -> Run:
        asked.append({"id": id, "project": project})
        return Run()

    monkeypatch.setattr(wandb_tracker, "require", lambda *_: SimpleNamespace(init=init, Settings=dict))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    mine = {"id": "0123456789ab", "project": "nchl"}
    for state in (mine, {**mine, "project": "theirs/secret"}, {**mine, "id": "../elsewhere"}, {}):
        assert wandb_tracker.begin(tmp_path, state, {}).state == asked[-1]
    assert asked[0] == mine
    assert {each["project"] for each in asked} == {"nchl"}
    assert len({each["id"] for each in asked}) == 4


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its service holds a socket to the end
        nchl.run("CartPole-v1", out=tmp_path / "run", wandb=True, on_note=notes.append, **SMALL)
        first = json.loads((tmp_path / "run" / "tracking.json").read_text())["wandb"]
        nchl.resume(tmp_path / "run", generations=8, on_note=notes.append)
    assert [note for note in notes if "failed" in note] == []
    assert sum(note.startswith("wandb: offline in") for note in notes) == 2
    assert json.loads((tmp_path / "run" / "tracking.json").read_text())["wandb"] == first
    records = list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(records) == 2
    assert {record.name for record in records} == {f"run-{first['id']}.wandb"}
    assert all(b"fitness/mean" in record.read_bytes() for record in records)
    nchl.run("CartPole-v1", out=tmp_path / "plain", **{**SMALL, "generations": 8})
    assert results(tmp_path / "run") == results(tmp_path / "plain")


@pytest.mark.slow
def test_mlflow_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_module = pytest.importorskip("mlflow.tracking")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    notes: list[str] = []
    nchl.run("CartPole-v1", out=tmp_path / "runs" / "a", mlflow=True, on_note=notes.append, **SMALL)
    nchl.resume(tmp_path / "runs" / "a", generations=12, on_note=notes.append)
    assert [note for note in notes if "failed" in note] == []
    state = json.loads((tmp_path / "runs" / "a" / "tracking.json").read_text())["mlflow"]
    assert state["uri"] == (tmp_path / "runs" / "mlruns").as_uri()
    client = client_module.MlflowClient(tracking_uri=state["uri"])
    run = client.get_run(state["run"])
    assert run.info.run_name == "a"
    assert run.info.status == "FINISHED"
    assert (run.data.params["task"], run.data.params["population"]) == ("CartPole-v1", "8")
    assert run.data.tags["summary.reason"] == "generations"
    rows = results(tmp_path / "runs" / "a")[2]
    history = client.get_metric_history(state["run"], "fitness/best")
    assert [(point.step, point.value) for point in history] == [(int(row["generation"]), float(row["best"])) for row in rows]
    assert [point.step for point in client.get_metric_history(state["run"], "genome/hidden0.A/p50")] == [1, 10]
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    assert trackers.show_film(RunFolder(tmp_path / "runs" / "a"), 3, film) == [f"mlflow: run {state['run']} at {state['uri']}"]
    assert [artifact.path for artifact in client.list_artifacts(state["run"], "film/generation-000003")]
