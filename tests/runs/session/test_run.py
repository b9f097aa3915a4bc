"""A run in its folder: begun, stopped, continued with the same bits, refused where it must be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl.errors import CheckpointError, InvalidArgument, NchlError, RunError, ShapeError, UnknownName
from nchl.runs.files.tensors import read_tensors
from nchl.runs.provenance import machine
from nchl.runs.results.evaluate import evaluate
from nchl.runs.search import evolution
from nchl.runs.session import recorder
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.places import default_path
from nchl.runs.store import trust
from nchl.runs.store.checkpoints import read_newest
from nchl.runs.store.folder import RunFolder
from reference.runs import SMALL, results

CARTPOLE = "CartPole-v1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended; copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(CARTPOLE, folder, **SMALL)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_run_leaves_everything_that_is_promised(tmp_path: Path) -> None:
    seen = []
    result = run(CARTPOLE, tmp_path / "a", **SMALL, on_generation=seen.append, command=["nchl", "evolve"])
    assert (result.reason, result.exit_code, result.generations, result.resume_command) == ("generations", 0, 6, None)
    names = {"config.json", "metrics.csv", "checkpoints", "best.safetensors", "centre.safetensors", "summary.json", "tensorboard"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    assert len(list((tmp_path / "a" / "checkpoints").iterdir())) == 2
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["command"] == ["nchl", "evolve"]
    assert config["versions"]["torch"]
    assert config["settings"]["hidden"] == [4]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["evaluations"] == 48
    assert summary["env_steps"] == seen[-1].env_steps
    assert summary["best_so_far"] == max(generation.best for generation in seen)
    _, _, metrics = results(tmp_path / "a")
    assert [int(row["generation"]) for row in metrics] == [1, 2, 3, 4, 5, 6]
    assert [float(row["mean"]) for row in metrics] == [generation.mean for generation in seen]


def test_two_equal_runs_end_alike_wherever_they_are(finished: Path, tmp_path: Path) -> None:
    run(CARTPOLE, tmp_path / "another-name", **SMALL)
    assert results(tmp_path / "another-name") == results(finished)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "openai-es", "normalise_observations": True, "validation_episodes": 2},
        {"strategy": "cma-es", "sigma": 1.0, "network": "hl"},
        {"strategy": "lm-ma-es", "network": "wnchl", "window": 3},
        {"strategy": "elite", "network": "static", "episodes": 2},
        {"strategy": "openai-es", "task": "Hopper-v5", "generations": 24, "population": 4},
    ],
    ids=lambda options: f"{options['strategy']}-{options.get('task', CARTPOLE)}",
)
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    settings = {**SMALL, "task": CARTPOLE, **options}
    task, generations = settings.pop("task"), settings.pop("generations")
    run(task, tmp_path / "whole", **settings, generations=generations)
    run(task, tmp_path / "parts", **settings, generations=1)
    resume(tmp_path / "parts", generations=generations // 2)
    result = resume(tmp_path / "parts", generations=generations)
    assert result.generations == generations
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_rows_of_lost_generations_are_cut_back(finished: Path, copy: Path) -> None:
    """As after a kill: the checkpoint is older than the metrics, and the newest checkpoint is torn."""
    newest = sorted((copy / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:500])
    (copy / "summary.json").unlink()
    notes: list[str] = []
    result = resume(copy, on_note=notes.append)
    assert any(newest.name in note and "checkpoint before it is used" in note for note in notes)
    assert result.generations == 6
    assert results(copy) == results(finished)


def test_without_anything_recorded_the_run_begins_anew(finished: Path, copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    for name in ("summary.json", "best.safetensors"):
        (copy / name).unlink()
    (copy / "metrics.csv").write_text((copy / "metrics.csv").read_text().partition("\n")[0] + "\n")
    resume(copy)
    assert results(copy) == results(finished)


@pytest.mark.parametrize("lost", [(), ("summary.json",), ("summary.json", "best.safetensors"), ("metrics.csv", "summary.json")])
def test_recorded_results_without_checkpoints_are_not_overwritten(copy: Path, lost: tuple[str, ...]) -> None:
    shutil.rmtree(copy / "checkpoints")
    for name in lost:
        (copy / name).unlink()
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != ".lock"}
    has = "best.safetensors" if "metrics.csv" in lost else "6 recorded generations"
    with pytest.raises(RunError, match=f"has {has} but no checkpoint; restore .*checkpoints, or begin again in another folder"):
        resume(copy, generations=9)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != ".lock"} == before


def test_a_finished_run_needs_a_new_total(copy: Path) -> None:
    with pytest.raises(RunError, match="has ended after 6 generations"):
        resume(copy)
    with pytest.raises(RunError, match="has 6 generations already"):
        resume(copy, generations=3)
    kept = json.loads((copy / "summary.json").read_text())
    assert (kept["reason"], kept["generations"]) == ("generations", 6)
    assert resume(copy, generations=7).generations == 7
    assert RunFolder.open(copy).read_record().settings.generations == 7


@pytest.mark.parametrize("limit", [{"max_steps": 200}, {"max_minutes": 1e-9}])
def test_a_run_ends_at_its_other_limits(tmp_path: Path, limit: dict[str, Any]) -> None:
    result = run(CARTPOLE, tmp_path / "a", **{**SMALL, "generations": 1000}, **limit)
    assert result.reason == next(iter(limit))
    assert result.generations < 1000


def test_folders_that_exist_or_are_no_runs_are_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="exists already"):
        run(CARTPOLE, tmp_path / "empty", **SMALL)
    with pytest.raises(RunError, match="nchl resume"):
        run(CARTPOLE, finished, **SMALL)
    with pytest.raises(RunError, match="not a run folder"):
        resume(tmp_path / "empty")
    with pytest.raises(RunError, match="there is no run folder"):
        resume(tmp_path / "absent")
    with pytest.raises(RunError, match="there can be no run folder"):
        resume(tmp_path / ("a" * 300))


def test_a_mistake_makes_no_folder(tmp_path: Path) -> None:
    for task, options, error in [
        ("CartPole-v11", {}, UnknownName),
        (CARTPOLE, {"initial_weights": "zero"}, UnknownName),
        (CARTPOLE, {"device": "nowhere"}, InvalidArgument),
        (CARTPOLE, {"network": "conv-thesis"}, NchlError),
        (CARTPOLE, {"initial_genome": "nrmal"}, InvalidArgument),
        (CARTPOLE, {"rule": "absent.py:rule"}, NchlError),
    ]:
        with pytest.raises(error):
            run(task, tmp_path / "a", **{**SMALL, **options})
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:100], "not readable JSON"),
        (lambda text: text.replace('"sigma"', '"sigmo"'), "sigmo"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "99"),
        (lambda text: text.replace('"started"', '"begun"'), "started"),
        (lambda text: text.replace('"population": 8', '"population": "8"'), "population"),
    ],
)
def test_an_altered_config_is_refused(copy: Path, change: Any, words: str) -> None:
    path = copy / "config.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(RunError, match=words) as caught:
        resume(copy, generations=9)
    assert "config.json" in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused_with_both_shapes(copy: Path) -> None:
    path = copy / "config.json"
    path.write_text(path.read_text().replace("4\n    ]", "5\n    ]"))
    with pytest.raises(CheckpointError, match=r"\(44,\).*\(49,\)"):
        resume(copy, generations=9)


def test_another_machine_is_told_and_needs_a_flag(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.same_bits
    monkeypatch.setattr(machine, "same_bits", lambda **about: {**real(**about), "torch": "1.0"})
    with pytest.raises(RunError, match=r"torch was .* and is 1\.0.*--allow-other-machine"):
        resume(copy, generations=7)
    notes: list[str] = []
    assert resume(copy, generations=7, allow_other_machine=True, on_note=notes.append).generations == 7
    assert any("torch was" in note for note in notes)
    assert resume(copy, generations=8).generations == 8


def test_a_full_disk_ends_the_run_with_its_last_checkpoint_whole(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_SECONDS", 0.0)
    real = recorder.write_checkpoint

    def fill(folder: Path, generation: int, *rest: Any) -> Path:
        if generation >= 3:
            raise RunError("cannot write: No space left on device")
        return real(folder, generation, *rest)

    monkeypatch.setattr(recorder, "write_checkpoint", fill)
    with pytest.raises(RunError, match="No space left"):
        run(CARTPOLE, tmp_path / "a", **SMALL)
    checkpoint, problems = read_newest(tmp_path / "a" / "checkpoints")
    assert checkpoint is not None
    assert (checkpoint.generation, problems) == (2, [])
    monkeypatch.undo()
    resume(tmp_path / "a")
    assert results(tmp_path / "a") == results(finished)


def test_a_file_that_cannot_grow_ends_the_run_ready_to_be_continued(tmp_path: Path) -> None:
    """A real refusal by the system, in the middle of a line or a record, as on a full disk."""
    resource = pytest.importorskip("resource")
    settings = {**SMALL, "generations": 20}
    run(CARTPOLE, tmp_path / "whole", **settings)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        with pytest.raises(RunError, match="cannot write"):
            run(CARTPOLE, tmp_path / "a", **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "a").rglob("*.tmp"))
    resume(tmp_path / "a")
    assert results(tmp_path / "a") == results(tmp_path / "whole")


def test_a_run_can_begin_where_another_one_ended(finished: Path, tmp_path: Path) -> None:
    centre = read_tensors(finished / "centre.safetensors")[0]["genome"]
    said: list[str] = []
    start = {"initial_genome": str(finished), "lr": 1e-9, "normalise": "max"}
    run(CARTPOLE, tmp_path / "a", **{**SMALL, "generations": 1, **start}, on_note=said.append)
    assert any("was evolved with --normalise none, and this run has --normalise max" in line for line in said)
    np.testing.assert_allclose(read_tensors(tmp_path / "a" / "centre.safetensors")[0]["genome"], centre, atol=1e-6)
    with pytest.raises(ShapeError, match=r"\(44,\).*hidden 4.*\(54,\).*hidden 6"):
        run(CARTPOLE, tmp_path / "b", **{**SMALL, "hidden": (6,), "initial_genome": str(finished)})
    assert not (tmp_path / "b").exists()


def test_a_run_goes_on_without_the_one_it_began_with(copy: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "generations": 2, "initial_genome": str(copy)}
    run(CARTPOLE, tmp_path / "whole", **{**settings, "generations": 3})
    run(CARTPOLE, tmp_path / "a", **settings)
    shutil.rmtree(copy)
    resume(tmp_path / "a", generations=3)
    assert results(tmp_path / "a") == results(tmp_path / "whole")
    assert RunFolder.open(tmp_path / "a").read_record().settings.initial_genome == str(copy)


class Staff:
    """Workers that only record that they were closed."""

    nparams, observation_shape, closed = 44, (4,), 0

    def close(self) -> None:
        self.closed += 1


def test_workers_do_not_outlive_a_loop_that_cannot_be_built(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staff = Staff()
    monkeypatch.setattr(evolution, "make_workers", lambda *_: staff)
    settings = {**SMALL, "initial_genome": str(finished), "normalise_observations": False}
    for broken in ("first_centre", "first_statistics", "limits"):
        with monkeypatch.context() as patched:
            patched.setattr(evolution, broken, interrupt)
            with pytest.raises(KeyboardInterrupt):
                evolution.build(EvolveConfig.create(CARTPOLE, **settings))
    assert staff.closed == 3


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_without_a_copy_of_its_rule_refuses_a_changed_one(tmp_path: Path) -> None:
    rule = tmp_path / "mine.py"
    rule.write_text("def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n")
    run(CARTPOLE, tmp_path / "a", **{**SMALL, "generations": 1, "rule": f"{rule}:oja"})
    assert resume(tmp_path / "a", generations=2).generations == 2
    rule.write_text(rule.read_text() + "\n")
    record = json.loads((tmp_path / "a" / "config.json").read_text())
    del record["code"]  # as earlier versions wrote it
    (tmp_path / "a" / "config.json").write_text(json.dumps(record))
    trust.remember((f"{rule}:oja",))
    with pytest.raises(RunError, match="has changed"):
        resume(tmp_path / "a", generations=3)
    assert "kept no copy" in evaluate(tmp_path / "a", episodes=1)["notes"][0]


def test_default_folders_have_plain_names() -> None:
    path = default_path(EvolveConfig.create("my_module:My/Task-v0", network="nets/big.py:Net", seed=5))
    assert path.parent == Path("runs")
    assert path.name.startswith("My_Task-v0-Net-5-")


def test_results_hold_nothing_of_time_or_place(finished: Path) -> None:
    for name in ("best", "centre"):
        data = (finished / f"{name}.safetensors").read_bytes()
        assert str(finished.parent).encode() not in data
        _, about = read_tensors(finished / f"{name}.safetensors")
        assert about["kind"] == name
        assert "seconds" not in about


def test_a_run_that_a_limit_has_ended_goes_on_with_more(tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden": (4,), "population": 4, "generations": 3}
    short = run(CARTPOLE, tmp_path / "run", max_steps=1, max_minutes=600.0, **small)
    assert (short.reason, short.generations) == ("max_steps", 1)
    with pytest.raises(RunError, match="nchl resume RUN --max-steps N"):
        resume(tmp_path / "run", max_minutes=700.0)
    longer = resume(tmp_path / "run", max_steps=10**6)
    assert (longer.reason, longer.generations) == ("generations", 3)
    whole = run(CARTPOLE, tmp_path / "whole", **small)
    assert (longer.folder / "centre.safetensors").read_bytes() == (whole.folder / "centre.safetensors").read_bytes()
