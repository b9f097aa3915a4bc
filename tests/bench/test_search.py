"""`nchl bench search`: functions and a task at one budget; finished runs are not repeated, and the statistics are those of `compare`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("envpool")
pytest.importorskip("yaml")
pytest.importorskip("matplotlib")

from nchl.bench.search import Plan, search
from nchl.cli import main
from nchl.report.compare import compare
from nchl.runs.settings.places import own_files
from nchl.runs.store.folder import RunFolder
from nchl.runs.sweep.cell_states import states_of
from nchl.runs.sweep.grid import Cell
from nchl.strategies import MatrixPopulation
from nchl.strategies.functions import FUNCTIONS, values
from reference import landscapes
from reference.comparison import write_run


def test_functions_equal_plain_ones_and_take_large_generations_in_parts() -> None:
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    for name in FUNCTIONS:
        np.testing.assert_allclose(values(name, MatrixPopulation(x)), -getattr(landscapes, name)(x), rtol=1e-12)
    large = MatrixPopulation(np.ones((30, 100_000), dtype=np.float32))
    np.testing.assert_array_equal(values("sphere", large), np.full(30, 100_000.0))


@pytest.mark.parametrize(
    ("tasks", "seeds_of_first"), [(["sphere:10"], 1), pytest.param(["sphere:10", "CartPole-v1"], 1, marks=pytest.mark.slow)]
)
def test_it_runs_compares_and_continues(tasks: list[str], seeds_of_first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"

    def bench(budget: int, seeds: int = seeds_of_first) -> dict:
        words = ["--tasks", *tasks, "--strategies", "snes", "openai-es,lr=0.1", "--budget", str(budget), "--seeds", str(seeds)]
        words += ["--set", "population=8", *(["hidden=3", "max_episode_steps=20"] if len(tasks) > 1 else []), "--out", str(out), "--json"]
        assert main(["bench", "search", *words]) == 0
        return json.loads(capsys.readouterr().out)

    first = bench(320)
    shown = first["tasks"][tasks[-1]]
    names = [group["name"] for group in shown["comparison"]["groups"]]
    assert names == ["snes", "openai-es,lr=0.1"] == [group["name"] for group in first["tasks"]["sphere:10"]["comparison"]["groups"]]
    assert [len(steps) for steps in shown["steps"]] == [3, 3]
    assert all(seconds > 0 for seconds in [*shown["seconds"], *shown["per_generation"]])
    assert [Path(file).suffix for file in first["figures"] if Path(file).stat().st_size > 1000] == [".png", ".svg"]
    if "CartPole-v1" in tasks:  # the same numbers as the verb that compares run folders has
        plain = compare([out / "CartPole-v1"], score="mean").to_json()
        iqms = [sorted(group["iqm"]["value"] for group in each["groups"]) for each in (plain, shown["comparison"])]
        assert iqms[0] == iqms[1]
        assert plain["target"] == shown["targets"][2]

    def times(runs: int = 2 * seeds_of_first) -> dict[str, int]:
        files = [*out.glob("*/*/columns.json"), *out.glob("*/*/centre.safetensors")]
        assert len(files) == runs * len(tasks)
        return {str(file): file.stat().st_mtime_ns for file in files}

    before = times()
    assert bench(320)["tasks"]["sphere:10"]["steps"] == first["tasks"]["sphere:10"]["steps"]
    assert times() == before
    longer = bench(640)
    assert all(times()[name] > before[name] for name in before)
    at_end = [group["evaluations"] for group in longer["tasks"]["sphere:10"]["comparison"]["groups"]]
    assert at_end == [640, 640]
    # A smaller budget again: the longer runs are cut, new ones end at it, and a seed more is one more of the same group.
    before = times()
    shorter = bench(320, seeds=seeds_of_first + 1)["tasks"]
    for task, shown in shorter.items():
        groups = shown["comparison"]["groups"]
        assert [group["n"] for group in groups] == [seeds_of_first + 1] * 2, task
        for group, of_first in zip(groups, first["tasks"][task]["comparison"]["groups"], strict=True):
            assert group["runs"][:seeds_of_first] == of_first["runs"]
    assert {name: when for name, when in times(2 * (seeds_of_first + 1)).items() if f"seed-{seeds_of_first}" not in name} == before


def test_text_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "search", "--tasks", "rosenbrock:10", "--budget", "200", "--seeds", "1", "--out", str(tmp_path)]
    assert main([*words, "--strategies", "elite,mu=2", "--set", "population=10"]) == 0
    shown = capsys.readouterr().out
    assert "rosenbrock:10, 200 steps a run" in shown
    assert "elite,mu=2" in shown
    assert " ms  " in next(line for line in shown.splitlines() if line.startswith("elite,mu=2"))  # in the strategy
    assert "P(improvement)" not in shown.split("IQM:")[0]  # nothing to compare with
    three = ["--strategies", "elite,mu=2", "elite", "snes", "--set", "population=10"]
    for more, pairs in [([], 3), (["--baseline", "snes"], 2)]:
        assert main([*words, *three, *more]) == 0
        rows = capsys.readouterr().out.split("p (Holm)")[1].split("\n\n")[0].strip().splitlines()
        tested = [row for row in rows if "elite" in row and not row.startswith("warning")]
        assert len(tested) == pairs
        assert all("snes" in row for row in tested) == bool(more)
    for more, message in [
        (["--strategies", "snes,lr=0.1"], "--lr does not apply to the strategy snes"),
        (["--strategies", "snes,sigma"], "expected NAME=VALUE, as in lr=0.05, got 'sigma'"),
        (["--strategies", "snes,sigma=x"], "sigma: expected a number, got 'x'"),
        (["--strategies", "snes,sgma=1"], "did you mean 'sigma'"),
        (["--strategies", "elite,foo=1"], "known; the settings of elite are sigma, sigma_decay, sigma_schedule, mu"),
        (["--strategies", "sness"], "did you mean 'snes'"),
        (["--set", "hidden=3"], "--set hidden does not apply to functions"),
        (["--set", "max_steps=3"], "max_steps does not apply in --set: use --budget"),
        (["--set", "seed=3"], "seed does not apply in --set: use --seeds"),
        (["--set", "generations=3"], "generations does not apply in --set: the budget alone ends a run; use --budget"),
        (["--set", "max_minutes=0.1"], "max_minutes does not apply in --set: the budget alone ends a run; use --budget"),
        (["--set", "target=1"], "target does not apply in --set: the budget alone ends a run; --targets shows the steps"),
        (["--strategies", "snes,generations=3"], "generations does not apply in --strategies snes,generations=3: the budget alone"),
        (["--strategies", "snes", "--baseline", "openai-es"], "unknown strategy 'openai-es'"),
        (["--tasks", "spere:10"], "did you mean 'sphere'"),
        (["--tasks", "sphere:1"], "from 2 to"),
        (["--tasks", "sphere:10", "sphere:10"], "given twice"),
        (["--budget", "0"], "at least 1"),
        (["--strategies", "openai-es", "openai-es,optimizer=sgd"], "openai-es and openai-es,optimizer=sgd are the same runs"),
        (["--strategies", "openai-es,lr_schedule=cosine"], "write lr_schedule=cosine:100"),
        (["--strategies", "openai-es", "--set", "sigma-schedule=cosine"], "write sigma_schedule=cosine:100"),
        (["--strategies", "openai-es", "--set", "lr=0.1", "lr=0.2"], "lr is given twice"),
        (["--set", "env=frame_skip"], "env: expected a setting of the environment, as in env=frame_skip=2, got 'frame_skip'"),
        (["--set", "perturb="], "perturb: expected a perturbation"),
        (["--tasks", "CartPole-v1", "--set", "perturb=motr:3=0"], "did you mean 'motor'"),
    ]:
        assert main([*words, *more]) == 2, more
        assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_search_that_diverges_is_the_worst(tmp_path: Path) -> None:
    plan = Plan(["sphere:10"], ["openai-es,lr=1e38", "snes"], 400, 2, ["population=20"], tmp_path)
    (result,), code = search(plan, [], run_sweep=lambda *_: {}, on_note=lambda _: None)
    assert code == 0
    lost, kept = result.comparison.groups
    assert lost.scores.tolist() == [-300, -300]
    assert [(run.reason, run.generations, run.last("evaluations")) for run in lost.group.runs] == [("diverged", 2, 40)] * 2
    assert {run.reason for run in kept.group.runs} == {"max_steps"}
    assert any("the search diverged" in line and "lr-1e+38_seed-1" in line for line in result.comparison.warnings)
    # A budget that was used up before says nothing of it.
    (shorter,), _ = search(plan._replace(budget=20), [], run_sweep=lambda *_: {}, on_note=lambda _: None)
    assert not any("diverged" in line for line in shorter.comparison.warnings)
    assert shorter.comparison.groups[0].scores.min() > -300


def test_what_has_failed_is_said_and_taken_as_far_as_it_is(tmp_path: Path) -> None:
    """The cells of snes fail: the first before its first generation, the second after two."""

    def run_sweep(file: Path, cells: list[Cell], out: Path) -> dict:
        runs = []
        for cell in cells:
            lost = {"strategy-snes_seed-0": 0, "strategy-snes_seed-1": 2}.get(cell.name)
            means = [1.0, 2.0, 3.0][:lost]
            if means:
                reason, seconds = "max_steps" if lost is None else None, {"search_seconds": [0.1] * len(means)}
                write_run(out / cell.name, means, reason=reason, columns=seconds, **cell.given)
            state = "done" if lost is None else "failed"
            runs.append({"name": cell.name, "state": state, "generations": len(means), "error": "no finite score"})
        return {"runs": runs, "exit_code": 1}

    plan = Plan(["CartPole-v1"], ["snes", "pgpe"], 300, 3, ["population=10"], tmp_path)
    notes: list[str] = []
    (result,), code = search(plan, [], run_sweep=run_sweep, on_note=notes.append)
    assert code == 1
    assert {each.group.name: each.scores.tolist() for each in result.comparison.groups} == {"snes": [2, 3], "pgpe": [3, 3, 3]}
    said = ["seed-0 failed and is left out: no finite score", "seed-1 failed and is taken as far as it is: no finite score"]
    assert notes == [f"strategy-snes_{line}" for line in said]
    assert list(result.comparison.warnings[:2]) == notes


def test_runs_of_a_changed_file_are_compared_not_those_of_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "own.py"

    def run_sweep(_: Path, cells: list[Cell], out: Path) -> dict:
        states = states_of(cells, out)[0]
        for state in states:
            if state.state == "new":
                mean, seconds = 1.0 if "* post" in file.read_text() else 7.0, {"search_seconds": [0.1]}
                run = RunFolder(write_run(state.folder, [mean], reason="max_steps", columns=seconds, **state.cell.given))
                run.write_record(replace(run.read_record(), files=own_files(state.cell.config)))
        return {"runs": [{"name": each.cell.name, "state": "done", "generations": 1} for each in states], "exit_code": 0}

    def bench(budget: int) -> dict[str, list[float]]:
        plan = Plan(["CartPole-v1"], ["snes", f"pgpe,rule={file}:mine"], budget, 2, ["population=10", "hidden=4"], tmp_path / "out")
        (result,), _ = search(plan, [], run_sweep=run_sweep, on_note=notes.append)
        return {each.group.name.partition(",")[0]: each.scores.tolist() for each in result.comparison.groups}

    notes: list[str] = []
    file.write_text("def mine(pre, post, A_synapse):\n    return A_synapse * post\n")
    assert bench(100) == {"snes": [1, 1], "pgpe": [1, 1]}
    assert not notes
    file.write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    for budget in (100, 50):  # the smaller one cuts the runs, of the present file too
        assert bench(budget) == {"snes": [1, 1], "pgpe": [7, 7]}
        assert "own.py changed since runs in" in notes.pop()


def test_a_task_is_perturbed_and_set_up_as_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tasks", "CartPole-v1", "--strategies", "snes,hidden=3", "--budget", "60", "--seeds", "1", "--out", str(tmp_path), "--json"]
    assert main(["bench", "search", *words, "--set", "population=4", "perturb=lesion:weights=1@3", "max_episode_steps=5"]) == 0
    groups = json.loads(capsys.readouterr().out)["tasks"]["CartPole-v1"]["comparison"]["groups"]
    assert [group["name"] for group in groups] == ["snes,hidden=3"]
    (record,) = tmp_path.glob("CartPole-v1/*/config.json")
    settings = json.loads(record.read_text())["settings"]
    assert (settings["perturb"], settings["hidden"]) == (["lesion:weights=1@3"], [3])
