"""Real processes: killed at random moments and resumed, asked to end by Ctrl-C and by a scheduler."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from reference.runs import ENDLESS_GENERATION, UNDER_WAY, results, start

OPTIONS = {"task": "CartPole-v1", "hidden": [4], "population": 8, "generations": 100, "seed": 1, "normalise_observations": True}


def run_whole(folder: Path, generations: int) -> None:
    options = {**OPTIONS, "generations": generations}
    run(options.pop("task"), folder, **options)  # type: ignore[arg-type]


def kill_and_resume(folder: Path, generations: int, kills: int, seed: int) -> int:
    """Kill the run at random moments, resuming it after each, then let it end; returns how many kills struck."""
    chance = random.Random(seed)
    struck = 0
    process = start("run", folder, json.dumps({**OPTIONS, "generations": generations}))
    for _ in range(kills):
        assert process.stdout is not None
        if chance.random() < 0.9 or not folder.exists():
            for _ in range(chance.randint(1, 3)):  # else: while it starts
                process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        struck += process.wait() == -signal.SIGKILL
        process.communicate()
        process = start("resume", folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0 or "has ended" in errors, errors
    return struck


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    run_whole(tmp_path / "whole", 12)
    assert kill_and_resume(tmp_path / "killed", 12, kills=1, seed=0) == 1
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_convolutional_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Killed in the middle of its second generation: pictures, shared kernels and their aggregates come out alike."""
    pytest.importorskip("envpool")
    options = {"network": "conv-thesis", "termwise": True, "image_size": [24, 24], "population": 4, "generations": 3, "seed": 1}
    run("CarRacing-v3", tmp_path / "whole", **options)  # type: ignore[arg-type]
    process = start("run", tmp_path / "killed", json.dumps({"task": "CarRacing-v3", **options}))
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    resume(tmp_path / "killed")
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_bits(tmp_path: Path) -> None:
    run_whole(tmp_path / "whole", 80)
    assert kill_and_resume(tmp_path / "killed", 80, kills=20, seed=1) >= 15
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_finishes_the_generation_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    process = start("run", tmp_path / "a", json.dumps({**OPTIONS, "generations": 100_000}))
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "finishing this generation" in errors
    ended_cleanly(tmp_path / "a", errors, done=1 + len(output.split()))


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        pytest.param([signal.SIGINT, signal.SIGINT], 130, id="ctrl-c-twice"),
        pytest.param([signal.SIGTERM], 143, id="term", marks=pytest.mark.slow),
    ],
)
def test_a_generation_that_is_dropped_leaves_the_checkpoint_before_it(tmp_path: Path, signals: list[signal.Signals], code: int) -> None:
    with start("run", tmp_path / "a", json.dumps(OPTIONS), before=ENDLESS_GENERATION) as process:
        assert process.stderr is not None
        try:
            said = ""
            for number, line in zip(signals, [UNDER_WAY, "finishing this generation"], strict=False):
                while line not in (last := process.stderr.readline()):
                    assert last, f"ended with {process.wait()}: {said}"
                    said += last
                process.send_signal(number)
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert output.split() == ["1", "2"]
    assert "finishing" not in errors
    ended_cleanly(tmp_path / "a", errors, done=2)


def ended_cleanly(folder: Path, errors: str, done: int) -> None:
    assert "Traceback" not in errors
    assert not (folder / "summary.json").exists()
    assert resume(folder, generations=done + 1).generations == done + 1
