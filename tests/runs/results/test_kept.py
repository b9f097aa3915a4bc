"""A run's folder keeps its unseen episodes, and they replace playing only where nothing that determines them differs."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("jinja2")

import nchl
from nchl import rollout
from nchl.cli import main
from nchl.report.compare.evaluations import evaluate_runs
from nchl.report.page import write
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.results.kept import NAME, Kept
from nchl.runs.store.folder import RunFolder

EPISODES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "cartpole"
    nchl.run("CartPole-v1", folder, hidden=(3,), population=8, generations=2, simulator="gymnasium", max_episode_steps=30)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The moments of freezing of the evaluations that were played."""
    found: list[int | None] = []
    evaluate = rollout.evaluate

    def counted(*words: Any, **more: Any) -> Any:
        found.append(more["freeze_after"])
        return evaluate(*words, **more)

    monkeypatch.setattr(rollout, "evaluate", counted)
    return found


def using(run: Path, **options: Any) -> dict[str, Any]:
    """An evaluation that uses what is kept, as a page and a comparison do."""
    return nchl.evaluate(run, controls=True, kept=Kept(RunFolder(run)), **{"episodes": EPISODES, **options})


def evaluate(run: Path | str, *words: str) -> None:
    assert main(["evaluate", str(run), "--episodes", str(EPISODES), *words]) == 0


def test_report_and_comparison_use_the_episodes_of_an_evaluation(run: Path, played: list[int | None]) -> None:
    expected = nchl.evaluate(run, episodes=EPISODES, controls=True)
    assert not (run / NAME).exists()  # the function alone keeps nothing
    evaluate(run)
    played.clear()
    evaluate_runs([run], episodes=EPISODES)
    assert played == []
    kept = json.loads((run / "evaluation.json").read_text())
    assert (kept["returns"], kept["mean"], kept["length"]) == (expected["returns"], expected["mean"], expected["length"])
    told: list[str] = []
    page = write(run, episodes=EPISODES, film=False, microscope=False, on_note=told.append)
    assert played == [0, expected["frozen_half_way"]["after_steps"]]  # the evaluation had no controls
    assert any(str(run / NAME) in line for line in told)
    del expected["returns"]
    assert page["evaluation"] == expected


def test_a_comparison_does_not_use_an_evaluation_of_another_version_of_the_simulator(run: Path, played: list[int | None]) -> None:
    told: list[str] = []
    evaluate_runs([run], episodes=EPISODES)
    file = run / "evaluation.json"
    good = json.loads(file.read_text())
    assert set(good["versions"]) >= {"gymnasium"}
    (run / NAME).unlink()
    played.clear()
    # Those of an earlier build recorded none, and a package that is not installed cannot be asked for another result.
    for versions in (good["versions"], {}, {**good["versions"], "no-such-package": "1"}):
        file.write_text(json.dumps({**good, "versions": versions}))
        evaluate_runs([run], episodes=EPISODES, on_note=told.append)
    assert (played, told) == ([], [])
    file.write_text(json.dumps({**good, "versions": {**good["versions"], "gymnasium": "0.1"}}))
    evaluate_runs([run], episodes=EPISODES, on_note=told.append)
    assert played == [None]
    assert told[0].endswith(f"of {run}; the evaluation that is there is of gymnasium 0.1 (here is {good['versions']['gymnasium']})")
    assert json.loads(file.read_text()) == good


def test_evaluate_always_plays_and_keeps_the_controls(run: Path, played: list[int | None]) -> None:
    first = using(run)
    half = first["frozen_half_way"]["after_steps"]
    played.clear()
    evaluate(run, "--controls")
    assert played == [None, 0, half]
    evaluate(run)
    played.clear()
    assert using(run) == first
    assert played == []


def test_other_episodes_are_played(run: Path) -> None:
    using(run)
    for options in ({"episodes": EPISODES + 1}, {"seed": 3}):
        assert using(run, **options) == nchl.evaluate(run, controls=True, **{"episodes": EPISODES, **options})


def test_an_evaluation_of_something_else_is_not_used(run: Path, played: list[int | None]) -> None:
    for words in (["--which", "centre"], ["--perturb", "lesion:weights=1@2"], ["--seed", "3"]):
        evaluate(run, "--controls", *words)
        played.clear()
        using(run)
        assert len(played) == 3, words


def test_another_individual_is_played(run: Path, played: list[int | None]) -> None:
    using(run)
    best = RunFolder(run).best
    tensors, about = read_tensors(best)
    write_tensors(best, {**tensors, "genome": tensors["genome"] + np.float32(1e-3)}, about)
    played.clear()
    using(run)
    assert len(played) == 3


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path


def test_nothing_that_determines_the_episodes_may_differ(run: Path) -> None:
    using(run)
    good = json.loads((run / NAME).read_text())
    found = set(_leaves(good["conditions"]))
    assert {("individual",), ("which",), ("episodes",), ("seed",), ("perturbations",), ("environment",)} <= found
    assert {("machine", "simulator"), ("machine", "torch"), ("installed", "nchl"), ("installed", "packages")} <= found
    assert {("settings", "hidden"), ("settings", "max_episode_steps"), ("settings", "rule")} <= found
    kept = Kept(RunFolder(run))
    kept.begin(good["conditions"])
    assert kept.episodes(None) is not None
    for path in found:
        other = copy.deepcopy(good["conditions"])
        place = other
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = "another"
        kept = Kept(RunFolder(run))
        kept.begin(other)
        assert kept.episodes(None) is None, path


def test_sources_and_packages_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from nchl.runs.provenance import machine

    now, sources = machine.installed.__wrapped__(), machine._sources
    monkeypatch.setattr(machine, "_sources", lambda package: {**sources(package), "rollout/play.py": b"changed"})
    assert machine.installed.__wrapped__()["nchl"] != now["nchl"]
    assert machine.installed.__wrapped__()["packages"] == now["packages"]
    monkeypatch.setattr(machine.platform, "python_version", lambda: "3.99")
    assert machine.installed.__wrapped__()["packages"] != now["packages"]


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return edit


DAMAGES: list[Callable[[str], str]] = [
    lambda text: text[: len(text) // 2],
    lambda text: "[]",
    lambda text: "",
    _edited(lambda data: data.pop("episodes")),
    _edited(lambda data: data["episodes"]["None"]["returns"].pop()),
    _edited(lambda data: data["episodes"]["None"].update(lengths=["a"] * EPISODES)),
    _edited(lambda data: data["episodes"].update({"0": 3})),
]


def test_a_damaged_file_is_replaced(run: Path, played: list[int | None]) -> None:
    found = using(run)
    good = (run / NAME).read_text()
    for damage in DAMAGES:
        (run / NAME).write_text(damage(good))
        played.clear()
        assert using(run) == found
        assert len(played) == 3
        assert (run / NAME).read_text() == good


def test_returns_that_are_not_finite_are_kept_as_such(run: Path) -> None:
    using(run)
    good = json.loads((run / NAME).read_text())
    good["episodes"]["None"]["returns"][1] = None
    (run / NAME).write_text(json.dumps(good))
    found = using(run)
    assert found["non_finite"] == 1
    assert np.isfinite(found["mean"])


def test_where_nothing_can_be_written_all_is_played(run: Path, played: list[int | None], capsys: pytest.CaptureFixture[str]) -> None:
    (run / NAME).mkdir()
    evaluate(run)
    using(run)
    assert len(played) == 4
    assert NAME not in "".join(capsys.readouterr())


def test_nothing_is_kept_in_the_zoo() -> None:
    folder = RunFolder.open("zoo:cartpole-nchl")
    assert nchl.evaluate("zoo:cartpole-nchl", episodes=1, kept=Kept(folder))["returns"] == [500]
    assert not (folder.path / NAME).exists()


RULE = "def rule(pre, post, A_synapse):\n    return A_synapse * pre * post\n"


@pytest.mark.parametrize(
    "options",
    [{"rule": "RULE"}, {"env": {"sutton_barto_reward": True}}, {"network": nchl.PlasticGraph}],
    ids=["own rule", "settings of the environment", "object"],
)
def test_what_has_no_digest_or_version_is_not_kept(options: dict[str, Any], tmp_path: Path, played: list[int | None]) -> None:
    (tmp_path / "own.py").write_text(RULE)
    if "rule" in options:
        options = {"rule": f"{tmp_path / 'own.py'}:rule"}
    if "network" in options:
        options = {"network": nchl.PlasticGraph({"in": 4, "out": 2}, [("in", "out")])}
    small = {} if "network" in options else {"hidden": (3,)}
    nchl.run("CartPole-v1", tmp_path / "run", population=4, generations=1, simulator="gymnasium", max_episode_steps=9, **small, **options)
    evaluate(tmp_path / "run")
    using(tmp_path / "run")
    assert len(played) == 4
    assert not (tmp_path / "run" / NAME).exists()


def test_another_rule_is_not_kept(run: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from nchl.rules.neuronal import nchl as rule\n")
    evaluate(run, "--rule", f"{tmp_path / 'own.py'}:rule")
    evaluate(run, "--rule", "nchl")
    assert not (run / NAME).exists()
