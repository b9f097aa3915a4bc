"""Runs on MuJoCo Warp: what is read back within an episode, workers, resume, and the same individual under other simulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nchl
from nchl import tasks
from nchl.cli import main
from nchl.rollout.episode import never
from nchl.rollout.play import play
from nchl.rollout.statistics import Accumulator, ObservationStatistics
from nchl.runs.results.scene import open_run
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.seeds import Purpose
from nchl.simulators.base import Seeds, Start, Step
from nchl.simulators.warp import Warp
from reference.runs import results

pytest.importorskip("mujoco_warp")
pytestmark = pytest.mark.slow

LOOK_EVERY = 16
SMALL: dict[str, Any] = {"hidden": (4,), "population": 8, "generations": 2, "seed": 3, "simulator": "warp", "max_episode_steps": 12}


class Reads(TorchDispatchMode):
    """Notes after how many steps of a simulator torch reads a value back, or finds out how many numbers there are."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.found = 0, []  # type: int, list[tuple[int, str]]

    def note(self, name: str) -> None:
        self.found.append((self.steps, name))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.NAMES or (name == "index" and any(getattr(each, "dtype", None) == torch.bool for each in args[1])):
            self.note(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("settings", "normalised", "changes"),
    [
        ({}, False, None),
        ({"modulate": "advantage:0.1", "recurrent": True, "trace": 0.5, "normalise": "row"}, True, None),
        ({}, False, ["gravity=x1.5@3 & mass:torso=x1.1@5", "push:torso=20N@2+9"]),
    ],
    ids=["plain", "with rewards and statistics", "with bodies that change"],
)
def test_nothing_is_read_back_but_at_every_sixteenth_step(
    settings: dict[str, Any], normalised: bool, changes: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.make("Hopper-v5", "warp", max_episode_steps=40, env={"healthy_z_range": [0.9, 10.0]}, perturb_training=changes)
    monkeypatch.setattr(task.simulator, "look_every", LOOK_EVERY)  # as on a GPU
    network = nchl.NcHL([11, 6, 3], population=8, generator=torch.Generator().manual_seed(0), **settings)
    network.set_hrules(torch.randn(8, network.nparams, generator=torch.Generator().manual_seed(1)))
    statistics = ObservationStatistics((11,)) if normalised else None

    def once(reads: Reads | None) -> np.ndarray:
        network.reset([weight.clone() for weight in weights])
        first = task.reset(Seeds.shared(8, Start(0, Purpose.TRAINING, 0)))
        sums = Accumulator(8, (11,)) if normalised else None
        if reads is None:
            return play(network, task, first, np.ones(8, dtype=np.bool_), statistics=statistics, sums=sums).returns
        with reads:
            return play(network, task, first, np.ones(8, dtype=np.bool_), statistics=statistics, sums=sums).returns

    weights = network.draw_weights(torch.Generator().manual_seed(2))
    calm = once(None)  # what is compiled or counted once is not of the loop
    reads, stepped = Reads(), Warp.step

    def counted(self: Warp, actions: torch.Tensor, active: torch.Tensor) -> Step:
        step = stepped(self, actions, active)
        reads.steps += 1
        return step

    monkeypatch.setattr(Warp, "step", counted)
    for name in ("numpy", "tolist", "cpu", "__array__"):  # not dispatched where a tensor lies on the CPU
        whole = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _whole=whole, _name=name, **k: (reads.note(_name), _whole(self, *a, **k))[1]
        )
    np.testing.assert_array_equal(once(reads), calm)
    assert reads.steps >= LOOK_EVERY
    assert reads.found, "the end of the episode is read, so that a loop without any read was not watched"
    within = [(step, name) for step, name in reads.found if step % LOOK_EVERY and step < reads.steps]
    assert not within, f"read back between looks (step, what): {within[:5]}"


def test_a_run_has_the_same_bits_with_workers_and_after_a_resume(tmp_path: Path) -> None:
    run("HalfCheetah-v5", tmp_path / "one", **SMALL, normalise_observations=True)
    run("HalfCheetah-v5", tmp_path / "two", **SMALL, normalise_observations=True, workers=2)
    assert results(tmp_path / "two") == results(tmp_path / "one")
    run("HalfCheetah-v5", tmp_path / "later", **SMALL | {"generations": 1}, normalise_observations=True)
    resume(tmp_path / "later", generations=2)
    assert results(tmp_path / "later") == results(tmp_path / "one")
    recorded = json.loads((tmp_path / "one" / "config.json").read_text())
    assert recorded["task"]["simulator"] == "warp"
    assert {"mujoco-warp", "warp-lang"} <= set(recorded["versions"])


def test_an_individual_plays_under_the_other_simulators_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("HalfCheetah-v5", tmp_path / "warp", **SMALL, env={"ctrl_cost_weight": 0.2})
    run("HalfCheetah-v5", tmp_path / "envpool", **SMALL | {"simulator": "envpool"})

    def returns(folder: str, *more: str) -> tuple[str, list[float]]:
        assert main(["evaluate", str(tmp_path / folder), "--episodes", "3", "--json", *more]) == 0
        found = json.loads(capsys.readouterr().out)
        return found["simulator"], found["returns"]

    name, own = returns("warp")
    assert name == "warp"
    # Gymnasium begins at the same states; twelve steps are too few for contacts to drive the two apart.
    name, other = returns("warp", "--simulator", "gymnasium")
    assert name == "gymnasium"
    np.testing.assert_allclose(other, own, atol=0.05)
    assert returns("warp", "--simulator", "envpool")[0] == "envpool"
    assert returns("envpool", "--simulator", "warp")[0] == "warp"
    with open_run(tmp_path / "warp", episode=1, draw=False) as scene:
        assert list(scene.watch(draw=never))[-1].total == pytest.approx(own[1], rel=1e-6)


def test_bench_rollout_measures_the_full_and_the_bare_loop(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "rollout", "HalfCheetah-v5", "--simulator", "warp", "--device", "cpu", "--steps", "10", "--population", "8"]
    assert main([*words, "--repetitions", "1", "--env", "ctrl_cost_weight=0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["simulator"], found["device"], found["env_steps_per_run"], found["lanes"]) == ("warp", "cpu", 80, 1)
    assert found["full_steps_per_s"] > 0
    assert found["bare_steps_per_s"] > 0
