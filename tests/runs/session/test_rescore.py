"""A run that goes on in a changed environment scores its best individual in that one, on the episodes that it was chosen by."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import read_metrics
from nchl.workers.local import LocalWorkers

gymnasium = pytest.importorskip("gymnasium")

WALKER = """
import gymnasium
import numpy as np

class Walker(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=3).astype(np.float32)
        return self.state, {}

    def step(self, action):
        self.state = (0.9 * self.state + 0.1 * np.append(action, action[0] * action[1])).astype(np.float32)
        return self.state, FACTOR * float((self.state**2).sum()), False, False, {}

gymnasium.register("Walker-v0", entry_point=Walker, max_episode_steps=6)
"""


class Module:
    """The user's file: written with a factor of the rewards, read anew by what comes next."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rescored_walkers.py"
        self.write("-1")

    def write(self, factor: str) -> None:
        self.file.write_text(WALKER.replace("FACTOR", factor))
        sys.modules.pop("rescored_walkers", None)
        gymnasium.registry.pop("Walker-v0", None)
        importlib.invalidate_caches()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of edits within one second, Python would not see the second
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Module(tmp_path)
    yield made
    sys.modules.pop("rescored_walkers", None)
    gymnasium.registry.pop("Walker-v0", None)


def begin(out: Path, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"hidden": [3], "population": 6, "generations": 2, "seed": 3, "episodes": 2, **more}
    return run("rescored_walkers:Walker-v0", out, **options).summary


def go_on(out: Path, generations: int) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    result = resume(out, generations=generations, allow_other_environment=True, on_note=notes.append)
    return result.summary, [note for note in notes if "best individual so far" in note]


@pytest.mark.parametrize("normalised", [False, True])
def test_the_fitness_is_that_of_the_same_episodes(module: Module, tmp_path: Path, normalised: bool) -> None:
    fitness = begin(tmp_path / "run", normalise_observations=normalised)["best"]["fitness"]
    module.write("-4")
    summary, (note,) = go_on(tmp_path / "run", 3)
    assert f"had a fitness of {fitness:.6g} in the former environment and has a fitness of {4 * fitness:.6g} in this one" in note
    last = read_metrics(tmp_path / "run" / "metrics.csv")[-1]
    best = max(4 * fitness, float(last["best"]))
    assert summary["best"]["fitness"] == summary["best_so_far"] == float(last["best_so_far"]) == best
    assert go_on(tmp_path / "run", 4)[1] == []  # nothing has changed since


def test_so_is_the_validated_mean_by_which_it_was_chosen(module: Module, tmp_path: Path) -> None:
    best = begin(tmp_path / "run", validation_episodes=3)["best"]
    module.write("-0.25")
    summary, (note,) = go_on(tmp_path / "run", 3)
    assert f"had a validated mean of {best['validated']:.6g}" in note
    assert f"has a validated mean of {best['validated'] / 4:.6g} in this one" in note
    assert summary["best"]["validated"] >= best["validated"] / 4


def test_a_score_that_is_not_finite_makes_room(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "run")
    module.write("-4")
    monkeypatch.setattr(LocalWorkers, "evaluate", lambda self, genomes, *, episodes, **_: np.full((len(genomes), episodes), np.nan))
    summary, (note,) = go_on(tmp_path / "run", 3)
    assert "no finite score in this one: it is dropped, and the next generation's best replaces it" in note
    last = read_metrics(tmp_path / "run" / "metrics.csv")[-1]
    assert summary["best"]["generation"] == 3
    assert summary["best"]["fitness"] == summary["best_so_far"] == float(last["best"])


def test_a_run_killed_after_the_scoring_does_it_again(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitness = begin(tmp_path / "run")["best"]["fitness"]
    module.write("-4")

    def killed(folder: RunFolder, record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path / "run", 3)
    _, (note,) = go_on(tmp_path / "run", 3)
    assert f"has a fitness of {4 * fitness:.6g} in this one" in note
