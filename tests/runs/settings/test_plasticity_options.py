"""Averages, intervals, traces, modulation, recurrence and the static baselines as options: from the words to the network and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl.errors import InvalidArgument, NchlError
from nchl.networks.build import NetworkSpec, build
from nchl.networks.plastic_graph import PlasticGraph
from nchl.report.compare.groups import group_runs
from nchl.report.compare.runs import read_run
from nchl.report.film import film
from nchl.runs.results.evaluate import evaluate
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.presets import PRESETS
from nchl.runs.sweep.grid import read_sweep
from nchl.seeds import Purpose, environment_seed, weights_seed
from reference.runs import results

TIME: dict[str, Any] = {"average": "mean:3", "every": 2, "trace": 0.9, "modulate": "advantage:0.1", "normalise": "row"}
TASK = "CartPole-v1"
SMALL: dict[str, Any] = {"hidden": (4,), "population": 8, "generations": 2, "seed": 3}
OWN = """
from torch import nn

def small(i, o):
    return nn.Sequential(nn.Linear(i[0], 3), nn.Tanh(), nn.Linear(3, o))
"""


def network_of(shape: tuple[int, ...] = (4,), **options: Any) -> Any:
    """The network that a configuration builds."""
    return build(NetworkSpec(**EvolveConfig.create("CartPole-v1", **options).network_settings()), shape, 2)


@pytest.mark.parametrize("network", ["nchl", "hl", "conv-thesis", "conv-hml", "own"])
def test_the_options_reach_every_network_that_changes_weights(network: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    name = f"{tmp_path / 'own.py'}:small" if network == "own" else network
    net = network_of((1, 16, 16) if network.startswith("conv") else (4,), network=name, **TIME)
    assert isinstance(net, PlasticGraph)
    assert net.plasticity.words() == TIME
    assert net.needs_reward
    plain = network_of((1, 16, 16) if network.startswith("conv") else (4,), network=name, normalise="none")
    assert plain.plasticity.words() == {}
    assert plain.nparams == net.nparams


def test_recurrence_is_that_of_the_classes() -> None:
    for network, kind in (("nchl", nchl.NcHL), ("hl", nchl.HL), ("static", nchl.StaticMLP)):
        net = network_of(network=network, recurrent=True, hidden=[5, 3])
        assert net.layout == kind([4, 5, 3, 2], recurrent=True).layout
        assert net.layout != kind([4, 5, 3, 2]).layout or network == "nchl"
        assert net.graph.recurrent
    assert isinstance(network_of(network="gru"), nchl.StaticGRU)
    assert network_of(network="gru").nodes == (4, 16, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(({"network": "wnchl", name: value}, [f"--{name}", "wnchl"]) for name, value in TIME.items()),
        *(({"network": "static", name: value}, [f"--{name}", "static"]) for name, value in TIME.items()),
        *(({"network": "gru", name: value}, [f"--{name}", "gru"]) for name, value in TIME.items()),
        *(({"network": network, "recurrent": True}, ["--recurrent", network]) for network in ("wnchl", "gru", "conv-thesis", "conv-hml")),
        ({"network": "own.py:net", "recurrent": True}, ["--recurrent", "nchl, hl, static"]),
        ({"network": "gru", "hidden": [8, 4]}, ["one hidden layer", "2"]),
        ({"network": "gru", "hidden": []}, ["one hidden layer", "0"]),
        ({"recurrent": True, "hidden": []}, ["recurrent", "hidden layer"]),
        ({"average": "means:10"}, ["did you mean 'mean:M'"]),
        ({"average": "mean:0"}, ["mean:M", "at least 1"]),
        ({"average": "ema:2"}, ["average", "at most 1"]),
        ({"every": 0}, ["every", "at least 1"]),
        ({"every": 1.5}, ["every", "whole number"]),
        ({"trace": 1.5}, ["trace", "between 0 and 1"]),
        ({"modulate": "rewards"}, ["did you mean 'reward'"]),
        ({"modulate": "advantage"}, ["advantage:BETA"]),
        ({"normalise": "clip"}, ["clip:C"]),
        ({"normalise": "clip:-1"}, ["positive"]),
    ],
)
def test_options_that_do_not_apply_or_cannot_be_used_are_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        EvolveConfig.create(**{"task": "CartPole-v1", **given})
    for word in words:
        assert word in str(caught.value)


def test_records_keep_them_and_older_ones_need_not_have_them() -> None:
    config = EvolveConfig.create("CartPole-v1", recurrent=True, **TIME)
    record = json.loads(json.dumps(config.to_json()))
    assert {name: record[name] for name in TIME} == TIME
    assert EvolveConfig.from_json(record) == config
    before = EvolveConfig.create("CartPole-v1").to_json()
    for name in ("recurrent", "average", "every", "trace", "modulate"):
        del before[name]
    assert EvolveConfig.from_json(before) == EvolveConfig.create("CartPole-v1")


def test_a_presets_time_falls_away_with_its_network() -> None:
    config = EvolveConfig.create(preset="han-e", network="static", recurrent=True)
    assert (config.average, config.every, config.normalise) == (None, None, None)
    assert EvolveConfig.create(preset="han-e", average="none", every=1).average == "none"


@pytest.mark.parametrize(
    ("letter", "time"),
    [
        ("a", {}),
        ("b", {"normalise": "max"}),
        ("c", {"normalise": "max", "every": 4}),
        ("d", {"normalise": "max", "average": "mean:10"}),
        ("e", {"normalise": "max", "every": 4, "average": "mean:10"}),
    ],
)
def test_the_five_conditions(letter: str, time: dict[str, Any]) -> None:
    for name, rule, numbers in ((f"han-{letter}", "hl", 5 * (17 * 16 + 16 * 6)), (f"han-{letter}-nchl", "nchl", 5 * 39 - 17 - 6)):
        config = EvolveConfig.create(preset=name)
        net = build(NetworkSpec(**config.network_settings()), (17,), 6)
        assert (config.network, config.hidden, config.initial_weights, net.nparams) == (rule, (16,), "uniform", numbers)
        assert net.plasticity.words() == time
        assert "2603.22512" in PRESETS[name].source


def test_the_papers_97_times() -> None:
    """5W / 5N of 28-256-128-8; the genome of NcHL leaves out what inputs and outputs do not need."""
    numbers = {}
    for name in ("paper-97x", "paper-97x-hl"):
        config = EvolveConfig.create(preset=name)
        assert config.task == "AntBulletEnv-v0"
        net = build(NetworkSpec(**config.network_settings()), (28,), 8)
        numbers[config.network] = net.nparams
    neurons = 28 + 256 + 128 + 8
    assert numbers == {"hl": 204_800, "nchl": 5 * neurons - 28 - 8}
    assert numbers["hl"] / (5 * neurons) == pytest.approx(97.5, abs=0.05)
    assert EvolveConfig.create(preset="paper-97x", network="hl") == EvolveConfig.create(preset="paper-97x-hl").replace(preset="paper-97x")


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run whose changes depend on rewards, in one process."""
    pytest.importorskip("envpool")
    folder = tmp_path_factory.mktemp("rewarded") / "run"
    run(TASK, folder, **SMALL, recurrent=True, **TIME)
    return folder


def test_a_rewarded_run_has_the_same_bits_with_workers_and_after_a_resume(rewarded: Path, tmp_path: Path) -> None:
    run(TASK, tmp_path / "workers", **SMALL, recurrent=True, workers=2, **TIME)
    assert results(tmp_path / "workers") == results(rewarded)
    run(TASK, tmp_path / "resumed", **{**SMALL, "generations": 1}, recurrent=True, **TIME)
    resume(tmp_path / "resumed", generations=2)
    assert results(tmp_path / "resumed") == results(rewarded)


def test_evaluate_plays_the_same_as_a_loop_of_ones_own(rewarded: Path) -> None:
    """Returns are those of a loop that passes each reward on to `act`; without rewards the network refuses to go on."""
    gymnasium = pytest.importorskip("gymnasium")
    got = evaluate(rewarded, episodes=3, simulator="gymnasium", controls=True)
    assert got["frozen_half_way"]["length"] > 0
    agent, _ = nchl.load(rewarded, simulator="gymnasium")
    env, returns = gymnasium.make(TASK), []
    for episode in range(3):
        observation, _ = env.reset(seed=environment_seed(10000, Purpose.EVALUATION, 0, episode))
        agent.reset(seed=weights_seed(10000, Purpose.EVALUATION, 0, episode))
        reward, total, done = None, 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation, reward))
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    assert returns == got["returns"]
    agent.reset()
    agent.act(np.ones(4, np.float32))
    before = agent.weights[0].clone()
    agent.act(np.ones(4, np.float32), 7.0)
    assert not torch.equal(agent.weights[0], before)  # the reward of the last action has moved it
    with pytest.raises(InvalidArgument, match="reward"):
        agent.act(np.zeros(4, np.float32))


def test_a_film_tells_the_return_of_the_evaluation(rewarded: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    pytest.importorskip("pygame")
    made = film(rewarded, tmp_path / "film.mp4", controls=True, width=64)
    assert made["returns"] == evaluate(rewarded, episodes=1)["returns"]


@pytest.mark.parametrize("options", [{"network": "gru"}, {"network": "static", "recurrent": True}])
def test_static_recurrent_baselines_evolve_and_have_no_controls(options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("envpool")
    folder = tmp_path / "run"
    run(TASK, folder, **SMALL, **options)
    assert len(evaluate(folder, episodes=4)["returns"]) == 4
    assert "plasticity_off" not in evaluate(folder, episodes=4, controls=None)
    with pytest.raises(InvalidArgument, match=f"controls do not apply to the network {options['network']}"):
        evaluate(folder, episodes=4, controls=True)
    with pytest.raises(NchlError, match="controls do not apply"):
        film(folder, tmp_path / "film.mp4", controls=True)
    agent, _ = nchl.load(folder)
    first = agent.act(np.zeros(4, np.float32))
    assert first in (0, 1)


def test_a_network_that_forgets_would_give_other_returns(tmp_path: Path) -> None:
    """The hidden state of a recurrent network lasts for an episode and no longer."""
    net = network_of(network="gru", hidden=[4])
    net.set_hrules(torch.randn(net.nparams, generator=torch.Generator().manual_seed(0)))
    x = torch.ones(4)
    one, two = net.step(x), net.step(x)
    assert not torch.equal(one, two)
    net.reset()
    assert torch.equal(net.step(x), one)


def test_compare_groups_runs_by_them(rewarded: Path, tmp_path: Path) -> None:
    run(TASK, tmp_path / "plain", **SMALL, recurrent=True, **{**TIME, "average": "none"})
    groups, shared, left_out = group_runs([read_run(rewarded), read_run(tmp_path / "plain")])
    assert [group.name for group in groups] == ["average=mean:3", "average=none"]
    assert (shared["recurrent"], shared["modulate"], left_out) == (True, "advantage:0.1", [])


def test_sweeps_name_their_folders_by_them(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "task: CartPole-v1\nhidden: [4]\ngrid:\n  average: [none, mean:10, ema:0.1]\n  every: [1, 4]\n  recurrent: [true]\nseeds: 1\n"
    )
    cells = read_sweep(file)
    assert [cell.name for cell in cells][2:4] == [
        "average-mean-10_every-1_recurrent-on_seed-0",
        "average-mean-10_every-4_recurrent-on_seed-0",
    ]
    assert {(cell.config.average, cell.config.every) for cell in cells} == {
        (average, every) for average in ("none", "mean:10", "ema:0.1") for every in (1, 4)
    }


def test_a_users_network_takes_them_as_from_module_does(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    net = network_of(network=f"{tmp_path / 'own.py'}:small", average="ema:0.5", every=3)
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    other = nchl.from_module(module, (4,), average="ema:0.5", every=3)
    assert net.plasticity == other.plasticity
    other.load_constants(net.constants())
    genome = torch.randn(net.nparams, generator=torch.Generator().manual_seed(0))
    xs = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    outputs = []
    for each in (net, other):
        each.set_hrules(genome)
        each.reset(generator=torch.Generator().manual_seed(2))
        outputs.append(torch.stack([each.step(x) for x in xs]))
    torch.testing.assert_close(*outputs)
