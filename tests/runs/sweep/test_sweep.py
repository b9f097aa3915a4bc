"""Sweeps: their files, and their runs when processes fail, are stopped, or are killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("yaml")

from nchl.cli import main
from nchl.errors import InvalidArgument, NchlError, RunError
from nchl.runs.files.tensors import read_tensors
from nchl.runs.search.recipe import environment_of
from nchl.runs.settings.places import own_files
from nchl.runs.store.checkpoints import read_newest
from nchl.runs.store.folder import RunFolder
from nchl.runs.sweep.cell_states import CellState, keep_totals, states_of
from nchl.runs.sweep.grid import read_sweep
from nchl.runs.sweep.processes import generations_done, only_sweep, run_cells, share_of_cores
from reference.comparison import write_run
from reference.runs import results, wait_for

SWEEP = "task: CartPole-v1\nhidden: [4]\npopulation: 8\ngenerations: 3\ngrid:\n  network: [nchl, hl]\nseeds: 2\n"
NAMES = ["network-nchl_seed-0", "network-nchl_seed-1", "network-hl_seed-0", "network-hl_seed-1"]


def written(folder: Path, text: str = SWEEP, name: str = "sweep.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_combination_is_a_cell(tmp_path: Path) -> None:
    cells = read_sweep(written(tmp_path))
    assert [cell.name for cell in cells] == NAMES
    assert [(cell.config.network, cell.config.seed) for cell in cells] == [("nchl", 0), ("nchl", 1), ("hl", 0), ("hl", 1)]
    assert {(cell.config.hidden, cell.config.population, cell.config.generations) for cell in cells} == {((4,), 8, 3)}
    assert cells[0].given == {"task": "CartPole-v1", "hidden": (4,), "population": 8, "generations": 3, "network": "nchl", "seed": 0}


def test_several_grids_and_all_kinds_of_values(tmp_path: Path) -> None:
    text = """
    preset: cartpole
    normalise-observations: yes
    grid:
      - strategy: [openai-es]
        lr: [1e-3, 0.5]
      - network: [wnchl]
        window: [2]
        hidden: [[], 7, [6, 5]]
    seeds: [3, 9]
    """
    cells = read_sweep(written(tmp_path, text))
    assert [cell.name for cell in cells if cell.config.seed == 9] == [
        "strategy-openai-es_lr-0.001_seed-9",
        "strategy-openai-es_lr-0.5_seed-9",
        "network-wnchl_window-2_hidden-none_seed-9",
        "network-wnchl_window-2_hidden-7_seed-9",
        "network-wnchl_window-2_hidden-6x5_seed-9",
    ]
    assert cells[0].config.lr == 1e-3
    assert cells[-1].config.hidden == (6, 5)
    assert all(cell.config.normalise_observations for cell in cells)


def test_files_are_named_from_where_the_sweep_lies(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    text = "task: CartPole-v1\ngrid: {rule: [own.py:mine, ~]}\ninitial_genome: earlier\n"
    cells = read_sweep(written(tmp_path, text))
    assert [cell.name for cell in cells] == ["rule-mine_seed-0", "rule-default_seed-0"]
    assert cells[0].config.rule == f"{tmp_path / 'own.py'}:mine"
    assert cells[0].config.initial_genome == str(tmp_path / "earlier")


BOMB = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\ntask: CartPole-v1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold options"),
        ("- a", "must hold options"),
        ("task: [", "not readable YAML"),
        ("task: CartPole-v1\n---\ntask: Acrobot-v1", "not readable YAML"),
        ("task: CartPole-v1\ntask: Acrobot-v1", "line 2: 'task' is given twice"),
        ("task: CartPole-v1\n? [a]\n: 1", "must be plain text"),
        (BOMB, "line 1: anchors and aliases"),
        ("task: !!python/object/apply:os.system ['true']", "line 1: tags"),
        ("task: !!str CartPole-v1", "tags"),
        ("task: CartPole-v1\nx: " + "[" * 5000, "deep"),
        ("task: CartPole-v1\nx: 2020-99-99", "cannot be read"),
        ("task: CartPole-v1\npopulatoin: 3", "did you mean 'population'"),
        ("task: CartPole-v1\ngrid: {netwrk: [nchl]}", "did you mean 'network'"),
        ("task: CartPole-v1\ngrid: {network: nchl}", "needs a list"),
        ("task: CartPole-v1\ngrid: {network: []}", "needs a list"),
        ("task: CartPole-v1\ngrid: []", "`grid` is an empty list, which describes no run; name options and the values of each"),
        ("task: CartPole-v1\ngrid: 3", "`grid` must name options"),
        ("task: CartPole-v1\ngrid: {seed: [1]}", "seeds"),
        ("task: CartPole-v1\nseed: 1", "seeds"),
        ("task: CartPole-v1\nseed: [1, 2]", "write `seeds`"),
        ("task: CartPole-v1\nseeds: 0", "seeds"),
        ("task: CartPole-v1\nseeds: [1, 1]", "appears twice"),
        ("task: CartPole-v1\nseeds: [a]", "seeds"),
        ("task: CartPole-v1\npopulation: 8\ngrid: {population: [4]}", "given twice"),
        ("task: CartPole-v1\ninitial-weights: zeros\ninitial_weights: zeros", "given twice"),
        ("task: CartPole-v1\ngrid: {lr: [0.2, 0.2]}", "are the same run"),
        ("task: CartPole-v1\ngrid: {population: [8, 7]}", "population-7_seed-0: population must be even"),
        ("task: CartPole-v1\ngrid: {network: [nchl, wnchl], window: [3]}", "grid of their own"),
        ("task: CartPole-v1\ngrid: {normalise: [off, max]}", "normalise must be text, got False; YAML reads off, on, yes and no as"),
        ("task: CartPole-v1\nperturb: [on]", "perturb must be text, got [True]; YAML reads"),
        ("task: CartPole-v1\nmax_steps: 1.5", "max_steps must be a whole number, got 1.5"),
        ("task: CartPole-v1\nmax_steps: 1e400", "max_steps must be a whole number, got '1e400'"),
        ("task: CartPole-v1\nmax_steps: many", "max_steps must be a whole number, got 'many'"),
        ("task: CartPole-v1\npopulation: yes", "population must be a whole number, got True"),
        ("task: CartPole-v1\nnetwork: [nchl]", "network must be text"),
        ("task: CartPole-v1\nnetwork: [nchl, hl]", "network has several values, ['nchl', 'hl']: put it under `grid`"),
        ("task: CartPole-v1\nhidden: [[4], [8]]", "hidden has several values, [[4], [8]]: put it under `grid`"),
        ("task: [CartPole-v1, Acrobot-v1]", "task has several values, ['CartPole-v1', 'Acrobot-v1']: put it under `grid`"),
        ("task: CartPole-v1\nseeds: 10001", "seeds"),
        (f"task: CartPole-v1\nseeds: 200\ngrid:\n  population: {list(range(2, 300, 2))}", "10,000 are the most"),
        ("population: 8", "no task given"),
    ],
)
def test_refused_content_of_a_file(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(NchlError, match="sweep\\.yaml") as caught:
        read_sweep(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="at most"):
        read_sweep(written(tmp_path, "# " + "x" * (2 << 20)))
    with pytest.raises(InvalidArgument, match="cannot read"):
        read_sweep(tmp_path / "nowhere.yaml")


def finish(folder: Path, **options: Any) -> None:
    write_run(folder, [1.0, 2.0, 3.0], population=8, **options)


def test_how_far_a_folder_is(tmp_path: Path) -> None:
    cells, out = read_sweep(written(tmp_path)), tmp_path / "out"
    assert [state.state for state in states_of(cells, out)[0]] == ["new"] * 4
    finish(out / NAMES[0], network="nchl", seed=0)
    finish(out / NAMES[2], network="hl", seed=0, reason=None)
    finish(out / "another", network="hl", seed=9)
    states, others = states_of(cells, out)
    assert [state.state for state in states] == ["done", "new", "interrupted", "new"]
    assert others == ["another"]
    assert generations_done(out / NAMES[0]) == 3
    assert generations_done(out / NAMES[1]) == 0


def test_the_environments_of_two_wrappers_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("wrapped_once", "wrapped_otherwise"):
        (tmp_path / f"{module}.py").write_text(f"def wrap(environment):\n    return environment  # {module}\n")
    grid = "grid: {wrap: [['wrapped_once:wrap'], ['wrapped_otherwise:wrap']]}"
    cells, out = read_sweep(written(tmp_path, f"task: CartPole-v1\nsimulator: gymnasium\n{grid}")), tmp_path / "out"
    for cell in cells:
        run = RunFolder(write_run(out / cell.name, [1.0]))
        run.write_record(replace(run.read_record(), settings=cell.config, environment=environment_of(cell.config)))
    states, _ = states_of(cells, out)
    assert [state.note for state in states] == ["", ""]
    assert [state.cell.name for state in states] == [cell.name for cell in cells]


def test_a_changed_file_is_refused_with_the_runs_that_disagree(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out / NAMES[0], network="nchl", seed=0)
    finish(out / NAMES[3], network="hl", seed=1)
    changed = read_sweep(written(tmp_path, SWEEP.replace("hidden: [4]", "hidden: [5]\nsigma: 0.3")))
    with pytest.raises(RunError, match=r"nchl_seed-0: hidden is \[4\] there and \[5\] in the file, sigma is 0.1.*hl_seed-1: hidden"):
        states_of(changed, out)
    (out / NAMES[1]).mkdir()
    (out / NAMES[1] / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="nchl_seed-1 is not a run folder"):
        states_of(read_sweep(written(tmp_path)), out)


def test_a_value_that_equals_a_default_names_the_same_run(tmp_path: Path) -> None:
    text = "task: CartPole-v1\ngrid:\n  - lr: [0.2, ~, 0.4]\n  - network: [nchl, hl]\nseeds: 2\n"
    cells = read_sweep(written(tmp_path, text))
    assert [cell.name for cell in cells if cell.config.seed == 0] == ["lr-0.2_seed-0", "lr-0.4_seed-0", "network-hl_seed-0"]
    assert cells[1].also == ("lr-default_seed-1", "network-nchl_seed-1")
    assert len({json.dumps(cell.config.to_json()) for cell in cells}) == len(cells) == 6
    assert {cell.reasons for cell in cells if cell.also} == {("a value equals a default",)}


def test_the_note_on_equal_runs_names_the_options_that_change_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "task: CartPole-v1\ngrid: [{workers: [1, 2]}, {lr: [0.2, ~], workers: [2]}]\n")
    cells = read_sweep(path)
    assert [cell.name for cell in cells] == ["workers-1_seed-0"]
    assert cells[0].reasons == ("they differ in workers alone, which changes no result",)
    assert main(["sweep", str(path), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    assert (
        "workers-1_seed-0 is workers-2_seed-0 and lr-0.2_workers-2_seed-0 and lr-default_workers-2_seed-0 too (they differ in workers "
        "alone, which changes no result), and is run once"
    ) in capsys.readouterr().out


def test_whole_numbers_may_have_an_exponent(tmp_path: Path) -> None:
    """YAML reads 1e4 as text and 1.0e+1 as a fraction."""
    text = "task: CartPole-v1\nmax_steps: 1e4\nhidden: [1e1, 2.0]\ngrid: {population: [8.0, 1.0e+1]}\n"
    cells = read_sweep(written(tmp_path, text))
    assert [cell.name for cell in cells] == ["population-8_seed-0", "population-10_seed-0"]
    assert {(cell.config.max_steps, cell.config.hidden) for cell in cells} == {(10_000, (10, 2))}
    assert all(type(cell.given[name]) is int for cell in cells for name in ("max_steps", "population"))


def extended(folder: Path, **totals: Any) -> list[CellState]:
    """The states of a sweep of one setting and two seeds, with more totals in its file."""
    text = "task: CartPole-v1\nhidden: [4]\npopulation: 8\nseeds: 2\n" + "".join(f"{name}: {value}\n" for name, value in totals.items())
    return states_of(read_sweep(written(folder, text)), folder / "out")[0]


def test_larger_totals_continue_finished_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out / "seed-0", seed=0, hidden=(4,))
    finish(out / "seed-1", seed=1, hidden=(4,), reason=None)
    states = extended(tmp_path, generations=5)
    assert [(state.state, state.totals) for state in states] == [("extended", {"generations": 5}), ("interrupted", {"generations": 5})]
    with pytest.raises(RunError, match=r"seed-0: generations is 3 there and 2 in the file \(a total that has become larger"):
        extended(tmp_path, generations=2)
    # A limit where there was none would end the run earlier.
    with pytest.raises(RunError, match="max_steps is None there and 7 in the file"):
        extended(tmp_path, generations=3, max_steps=7)
    # A process that was killed between the new record and the first new generation.
    record = RunFolder(out / "seed-0").read_record()
    RunFolder(out / "seed-0").write_record(replace(record, settings=record.settings.replace(generations=5)))
    assert [(state.state, state.totals) for state in extended(tmp_path, generations=5)] == [
        ("extended", {}),
        ("interrupted", {"generations": 5}),
    ]


def test_a_run_that_would_have_ended_there_anyway_stays_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out / "seed-0", seed=0, hidden=(4,), reason="target", generations=9)
    finish(out / "seed-1", seed=1, hidden=(4,), reason="max_steps", generations=9, max_steps=100)
    (out / "seed-1" / "summary.json").write_text(json.dumps({"reason": "max_steps", "generations": 3, "env_steps": 104}))
    record = RunFolder(out / "seed-0").read_record()
    RunFolder(out / "seed-0").write_record(replace(record, settings=record.settings.replace(max_steps=100)))
    states = extended(tmp_path, generations=20, max_steps=100)
    assert [state.state for state in states] == ["done", "done"]
    keep_totals(states)
    assert [RunFolder(state.folder).read_record().settings.generations for state in states] == [20, 20]
    assert [state.state for state in extended(tmp_path, generations=20, max_steps=200)] == ["done", "extended"]


def test_a_changed_rule_makes_runs_of_its_own(tmp_path: Path) -> None:
    rule, out = tmp_path / "own.py", tmp_path / "out"
    text = "task: CartPole-v1\nhidden: [4]\npopulation: 8\ngenerations: 3\nrule: own.py:mine\nseeds: 2\n"

    def states() -> list[CellState]:
        return states_of(read_sweep(written(tmp_path, text)), out)[0]

    def made(folder: Path) -> None:
        finish(folder, seed=0, hidden=(4,), rule=f"{rule}:mine")
        record = RunFolder(folder).read_record()
        RunFolder(folder).write_record(replace(record, files=own_files(record.settings)))

    rule.write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    made(out / "seed-0")
    assert [(state.cell.name, state.state, state.note) for state in states()] == [("seed-0", "done", ""), ("seed-1", "new", "")]
    before = rule.read_bytes()
    rule.write_text("def mine(pre, post, A_synapse):\n    return A_synapse * post\n")
    name = f"seed-0_{hashlib.sha256(rule.read_bytes()).hexdigest()[:6]}"
    changed = states()
    assert [(state.cell.name, state.folder, state.state) for state in changed] == [
        (name, out / name, "new"),
        ("seed-1", out / "seed-1", "new"),
    ]
    assert f"{rule} changed since runs in {out} were made with it" in changed[0].note
    made(out / name)
    assert [state.state for state in states()] == ["done", "new"]
    rule.write_bytes(before)
    assert [(state.cell.name, state.state) for state in states()] == [("seed-0", "done"), ("seed-1", "new")]
    rule.unlink()
    with pytest.raises(InvalidArgument, match=r"cannot read .*own\.py"):
        states()


class Heard:
    """A watcher that keeps its events."""

    def __init__(self, on_start: Any = None) -> None:
        self.lines: list[str] = []
        self.most_at_once = 0
        self._on_start = on_start

    def started(self, state: CellState) -> None:
        self.lines.append(f"{state.cell.name} {state.state}")
        if self._on_start is not None:
            self._on_start(state)

    def ended(self, state: CellState, outcome: str, message: str) -> None:
        self.lines.append(f"{state.cell.name} {outcome} {message}".strip())

    def tick(self, generations: dict[str, int]) -> None:
        self.most_at_once = max(self.most_at_once, len(generations))

    def say(self, line: str) -> None:
        self.lines.append(line)


# A small stand-in for a run: writes its summary, fails, or runs until a signal or the end of the sweep; ends by signals as a run does.
CELL = """
import json, os, signal, sys
from pathlib import Path
folder, how = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
folder.mkdir(parents=True, exist_ok=True)
(folder / "ready").write_text("")
if how == "fail":
    sys.exit("nchl: no such thing")
if how == "raise":
    print("nchl: a note", flush=True)
    raise ValueError("too few hands")
if how == "raise and fail":
    import traceback
    try:
        1 / 0
    except ZeroDivisionError:
        traceback.print_exc()
    sys.exit("nchl: it was not finite")
if how == "silent":
    sys.exit(3)
if how == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "wait":
    sys.stdin.read()
(folder / "summary.json").write_text("{}")
"""


def run_small(tmp_path: Path, how: dict[str, str], jobs: int, heard: Heard) -> tuple[dict[str, str], int]:
    cells, out = read_sweep(written(tmp_path)), tmp_path / "out"

    def command(state: CellState, cores: Sequence[int]) -> list[str]:
        assert len(cores) >= 1
        return [sys.executable, "-S", "-c", CELL, str(state.folder), how.get(state.cell.name, "end")]

    with only_sweep(out, heard.say) as lock:
        return run_cells(states_of(cells, out)[0], out, jobs=jobs, lock=lock, command=command, watcher=heard)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_run_that_fails_does_not_end_the_others(jobs: int, tmp_path: Path) -> None:
    heard = Heard()
    outcomes, code = run_small(tmp_path, {NAMES[0]: "fail", NAMES[2]: "crash"}, jobs, heard)
    assert outcomes == {NAMES[0]: "failed", NAMES[1]: "done", NAMES[2]: "failed", NAMES[3]: "done"}
    assert code == 0
    said = "\n".join(heard.lines)
    assert f"{NAMES[0]} failed no such thing (exit code 1" in said
    assert f"{NAMES[2]} failed its process was ended by SIGKILL" in said
    assert heard.most_at_once <= jobs


def test_the_reason_of_a_failure_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    reasons = []
    for how in ("fail", "raise", "raise and fail", "silent"):
        heard = Heard()
        outcomes, _ = run_small(tmp_path, {NAMES[0]: how}, 1, heard)
        assert outcomes[NAMES[0]] == "failed"
        (line,) = (line for line in heard.lines if line.startswith(f"{NAMES[0]} failed "))
        for name in NAMES:
            shutil.rmtree(tmp_path / "out" / name)  # a run that fails before its first generation leaves no folder
        reasons.append(line.removeprefix(f"{NAMES[0]} failed ").replace("(", ";").split(";")[0].strip())
    assert reasons == ["no such thing", "ValueError: too few hands", "it was not finite", "it ended with exit code 3"]
    log = (tmp_path / "out" / "logs" / f"{NAMES[0]}.log").read_text()
    assert log.index("no such thing") < log.index("too few hands"), "the log keeps earlier attempts"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_every_process_once(number: int, code: int, tmp_path: Path) -> None:
    def stop(state: CellState) -> None:
        if state.cell.name != NAMES[1]:  # when two run
            return

        def later() -> None:
            wait_for(lambda: all((tmp_path / "out" / name / "ready").exists() for name in NAMES[:2]), "the start of two runs")
            os.kill(os.getpid(), number)

        threading.Thread(target=later).start()

    heard = Heard(stop)
    outcomes, found = run_small(tmp_path, dict.fromkeys(NAMES, "wait"), 2, heard)
    assert found == code
    assert outcomes == {NAMES[0]: "stopped", NAMES[1]: "stopped", NAMES[2]: "waiting", NAMES[3]: "waiting"}
    assert any("finishing" in line for line in heard.lines) == (number == signal.SIGINT)


def test_two_sweeps_cannot_share_a_folder(tmp_path: Path) -> None:
    said: list[str] = []
    with only_sweep(tmp_path, said.append), pytest.raises(RunError, match="another sweep"), only_sweep(tmp_path, said.append, 0.1):
        pass
    assert "waiting" in said[0]
    with only_sweep(tmp_path, said.append):
        pass


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 8}, raising=False)
    assert [share_of_cores(slot, 2) for slot in range(2)] == [[0, 1], [2, 3]]
    assert share_of_cores(0, 1) == [0, 1, 2, 3, 8]
    assert [share_of_cores(slot, 7) for slot in range(7)] == [[0], [1], [2], [3], [8], [0], [1]]


def sweep_process(file: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nchl", "sweep", str(file), "--out", str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def members(out: Path) -> list[int]:
    """Processes of this machine that have the folder in their command line, apart from ourselves."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(str(out).encode() in word for word in words):
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_killed_sweep_leaves_no_process_and_ends_the_same(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    text = SWEEP.replace("generations: 3", "generations: 60").replace("[nchl, hl]", "[nchl]")
    file, whole, torn = written(tmp_path, text), tmp_path / "whole", tmp_path / "torn"
    process = sweep_process(file, whole)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "nchl compare" in out

    names, seen = NAMES[:2], 0
    for wanted in (1, 5):  # killed when the first runs have come this far, with two side by side
        process = sweep_process(file, torn, "--jobs", "2")
        wait_for(
            lambda process=process, wanted=wanted: (
                process.poll() is not None or max(generations_done(torn / name) % 60 for name in names) >= wanted
            ),
            f"generation {wanted}",
        )
        assert process.poll() is None, process.communicate()[1]
        seen = max(seen, len(members(torn)))
        process.kill()
        process.communicate()
        wait_for(lambda: not members(torn), "the end of the runs", 60)
    assert seen >= 2  # the sweep itself and a run of it: the search for survivors would have found one
    process = sweep_process(file, torn, "--jobs", "2", "--json")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert {run["state"] for run in json.loads(out)["runs"]} == {"done"}
    for name in names:
        assert results(torn / name) == results(whole / name), name
        assert RunFolder(torn / name).read_record().command[:3] == ["nchl", "evolve", "CartPole-v1"]


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    file, out = written(tmp_path, SWEEP.replace("generations: 3", "generations: 100000")), tmp_path / "out"
    process = sweep_process(file, out, "--jobs", "2")
    wait_for(lambda: process.poll() is not None or all(generations_done(out / name) for name in NAMES[:2]), "the first generations")
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Go on with:\n  nchl sweep" in said
    assert not any((out / name).exists() for name in NAMES[2:])
    for name in NAMES[:2]:
        checkpoint, problems = read_newest(RunFolder(out / name).checkpoints)
        assert checkpoint is not None
        assert problems == []
        centre, _ = read_tensors(RunFolder(out / name).centre)
        np.testing.assert_array_equal(centre["genome"], checkpoint.tensors["strategy.centre"])
        assert "Traceback" not in (out / "logs" / f"{name}.log").read_text()
