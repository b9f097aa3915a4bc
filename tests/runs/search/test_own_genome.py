"""A search that begins with numbers of the user's: an array in Python, or a safetensors file."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import nchl
from nchl import strategies
from nchl.cli import main
from nchl.errors import InvalidArgument, NchlError, RunError, ShapeError
from nchl.report.compare.runs import read_run
from nchl.report.page.facts import facts
from nchl.report.page.snapshot import snapshot
from nchl.runs.store.folder import RunFolder
from reference.runs import results

SMALL: dict[str, Any] = {"hidden": (4,), "population": 8, "generations": 2, "seed": 3, "max_episode_steps": 20, "simulator": "gymnasium"}
NPARAMS = 44


@pytest.fixture
def genome() -> np.ndarray:
    return np.random.default_rng(0).normal(size=NPARAMS)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that began with an array."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return nchl.run("CartPole-v1", out=folder, initial_genome=np.random.default_rng(0).normal(size=NPARAMS), **SMALL).folder


def as_if_killed(run: Path, place: Path) -> Path:
    """A copy of a run as it was before its first checkpoint."""
    (place / "checkpoints").mkdir(parents=True)
    for name in ("config.json", RunFolder.INITIAL):
        shutil.copy(run / name, place)
    return place


@pytest.mark.parametrize("kind", [np.asarray, lambda numbers: torch.tensor(numbers, requires_grad=True), list])
def test_the_search_begins_at_an_array_a_tensor_or_a_list(genome: np.ndarray, kind: Any) -> None:
    search = nchl.evolution("CartPole-v1", initial_genome=kind(genome), **SMALL)
    np.testing.assert_array_equal(search.centre, genome)
    genome[:] = 0
    assert search.centre.any()


@pytest.mark.parametrize("others", [False, True])
def test_the_search_begins_at_a_file_of_nchl_or_of_another_program(begun: Path, tmp_path: Path, genome: np.ndarray, others: bool) -> None:
    file = tmp_path / "mine.safetensors"
    if others:
        save_file({"genome": genome.astype(np.float32)}, file)
    else:
        shutil.copy(begun / RunFolder.INITIAL, file)
    for name in (file, str(file)):
        search = nchl.evolution("CartPole-v1", initial_genome=name, **SMALL)
        np.testing.assert_allclose(search.centre, genome, atol=1e-6 if others else 0)


def test_the_best_individual_of_a_run_can_be_named_by_its_file(begun: Path, tmp_path: Path) -> None:
    said: list[str] = []
    start = {"initial_genome": str(begun / "best.safetensors"), "normalise": "max"}
    nchl.run("CartPole-v1", out=tmp_path / "next", **{**SMALL, "generations": 1, **start}, on_note=said.append)
    assert any("was evolved with --normalise none, and this run has --normalise max" in line for line in said)


def test_a_run_keeps_the_array_and_needs_it_no_more(begun: Path, tmp_path: Path) -> None:
    again = as_if_killed(begun, tmp_path / "killed")
    nchl.resume(again)
    assert results(again) == results(begun)
    longer = Path(shutil.copytree(begun, tmp_path / "longer"))
    nchl.resume(longer, generations=3)
    record = json.loads((begun / "config.json").read_text())
    nchl.run("CartPole-v1", out=tmp_path / "whole", initial_genome=begun / RunFolder.INITIAL, **{**SMALL, "generations": 3})
    assert results(tmp_path / "whole") == results(longer)
    assert record["settings"]["initial_genome"] == "object:genome"
    assert set(record["files"]) == {"initial.safetensors"}


def test_a_run_keeps_the_file_and_needs_it_no_more(tmp_path: Path, genome: np.ndarray) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({"genome": genome}, file)
    run = nchl.run("CartPole-v1", out=tmp_path / "run", initial_genome=str(file), **SMALL).folder
    assert RunFolder.open(run).read_record().settings.initial_genome == str(file)
    file.unlink()
    again = as_if_killed(run, tmp_path / "killed")
    nchl.resume(again)
    assert results(again) == results(run)


def test_a_copy_that_is_missing_or_altered_is_refused(begun: Path, tmp_path: Path, genome: np.ndarray) -> None:
    killed = as_if_killed(begun, tmp_path / "killed")
    save_file({"genome": genome + 1}, killed / RunFolder.INITIAL)
    with pytest.raises(RunError, match=r"initial\.safetensors has changed since"):
        nchl.resume(killed)
    (killed / RunFolder.INITIAL).unlink()
    with pytest.raises(RunError, match=r"lacks initial\.safetensors.*begin a new run with that array"):
        nchl.resume(killed)


def test_the_command_that_repeats_a_run_names_its_copy(begun: Path, tmp_path: Path) -> None:
    with snapshot(begun) as state:
        command = facts(state, begun, None)["repeat"].replace("--out repeated", f"--out {tmp_path / 'repeated'}")
    assert f"--initial-genome {begun / 'initial.safetensors'}" in command
    assert main(shlex.split(command)[1:]) == 0
    assert results(tmp_path / "repeated") == results(begun)
    # The same experiment, however its numbers were given.
    assert read_run(tmp_path / "repeated").settings == read_run(begun).settings
    assert read_run(begun).settings["initial_genome"].startswith("file (")


def test_a_strategy_with_a_first_centre_of_its_own_is_kept_too(tmp_path: Path, genome: np.ndarray) -> None:
    more = {name: value for name, value in SMALL.items() if name not in ("population", "seed")}
    strategy = strategies.make("openai-es", NPARAMS, 8, 3, centre=genome)
    with pytest.raises(InvalidArgument, match="give it the array, as centre=ARRAY"):
        nchl.run("CartPole-v1", strategy=strategy, initial_genome=genome, out=tmp_path / "run", **more)
    run = nchl.run("CartPole-v1", strategy=strategy, out=tmp_path / "run", **more).folder
    again = as_if_killed(run, tmp_path / "killed")
    nchl.resume(again)
    assert results(again) == results(run)


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        (np.zeros(43), ShapeError, r"the initial genome has shape \(43,\), but this run's network needs \(44,\).*hidden 4.*nchl describe"),
        (np.zeros((8, NPARAMS)), ShapeError, r"expected one vector \(nparams,\).*got shape \(8, 44\); choose a row"),
        ([0.0] * 43 + [np.nan], InvalidArgument, "initial_genome: expected finite numbers, but 1 of 44 are not, the first at 43"),
        (["a"] * 44, InvalidArgument, "initial_genome: expected numbers, got list"),
        (np.zeros(44, complex), InvalidArgument, "expected real numbers"),
    ],
)
def test_an_array_that_is_no_genome_is_refused(given: Any, kind: type[NchlError], says: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=says):
        nchl.run("CartPole-v1", initial_genome=given, out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_genome_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"genome": np.full(NPARAMS, np.inf)}, tmp_path / "infinite.safetensors")
    save_file({"genome": np.zeros(9)}, tmp_path / "short.safetensors")
    save_file({"centre": np.zeros(NPARAMS)}, tmp_path / "other.safetensors")
    np.save(tmp_path / "mine.npy", np.zeros(NPARAMS))
    shutil.copy(tmp_path / "mine.npy", tmp_path / "npy.safetensors")
    torch.save(torch.zeros(NPARAMS), tmp_path / "pickle.safetensors")
    for name, says in (
        ("infinite.safetensors", "expected finite numbers, but 44 of 44 are not"),
        ("short.safetensors", "has shape (9,), but this run's network needs (44,)"),
        ("other.safetensors", "expected a tensor named 'genome', got centre"),
        ("mine.npy", "save_file({'genome': array}, 'mine.safetensors')"),
        ("npy.safetensors", "not safetensors"),
        ("pickle.safetensors", "is a pickle or an archive"),
        ("absent.safetensors", "there is no file"),
    ):
        words = ["evolve", "CartPole-v1", "--hidden", "4", "--initial-genome", str(tmp_path / name), "--out", str(tmp_path / "run")]
        assert main(words) == 2
        error = capsys.readouterr().err
        assert says in error
        assert "Traceback" not in error
        assert not (tmp_path / "run").exists()


def test_a_sweep_tells_a_genome_file_that_has_changed(tmp_path: Path) -> None:
    """Its present content is run in folders of its own; with the former file the runs are those of the sweep again."""
    pytest.importorskip("yaml")
    from nchl.runs.sweep.cell_states import states_of
    from nchl.runs.sweep.grid import read_sweep

    file, sweep, out = tmp_path / "start.safetensors", tmp_path / "sweep.yaml", tmp_path / "out"
    options = {name: value for name, value in SMALL.items() if name != "seed"} | {"hidden": [4]}
    sweep.write_text(json.dumps({"task": "CartPole-v1", "initial_genome": "start.safetensors", "seeds": 2, **options}))

    def states() -> list[tuple[str, str, str]]:
        return [(state.cell.name, state.state, state.note) for state in states_of(read_sweep(sweep), out)[0]]

    save_file({"genome": np.zeros(NPARAMS)}, file)
    nchl.run("CartPole-v1", out=out / "seed-0", initial_genome=str(file), **{**SMALL, "seed": 0})
    assert states() == [("seed-0", "done", ""), ("seed-1", "new", "")]
    before = file.read_bytes()
    save_file({"genome": np.ones(NPARAMS)}, file)
    (name, state, note), _ = states()
    assert (name, state) == (f"seed-0_{hashlib.sha256(file.read_bytes()).hexdigest()[:6]}", "new")
    assert f"{file} changed since runs in {out} were made with it" in note
    file.write_bytes(before)
    assert states() == [("seed-0", "done", ""), ("seed-1", "new", "")]
    file.unlink()
    assert states()[0][:2] == ("seed-0", "done")  # it has its copy
