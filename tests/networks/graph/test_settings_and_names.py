"""Declared graphs: names, settings without effect, batches that change in a lifetime, and populations made from a template."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl import tasks
from nchl.errors import InvalidArgument, OrderError, ShapeError
from nchl.networks.user import written
from nchl.rollout.scores import begin, evaluate

CONV = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))


class Own(nchl.PlasticGraph):
    """A network with code of its own, whose population is made of copies."""

    def forward(self, x: Any) -> torch.Tensor:
        return super().forward(x)


def rewarded(pre: torch.Tensor, post: torch.Tensor, eta_post: torch.Tensor) -> torch.Tensor:
    return eta_post * pre * post


def test_edges_between_the_same_groups_keep_their_own_biases() -> None:
    edges = [("i", "h"), nchl.Edge("h", "o", module=nn.Linear(3, 1)), nchl.Edge("h", "o", delay=1, module=nn.Linear(3, 1))]
    net = nchl.PlasticGraph({"i": 2, "h": 3, "o": 1}, edges)
    assert len(net.constants()) == 2
    made: Any = written.read(json.loads(json.dumps(written.written(net))))
    made.load_constants(net.constants())
    made.reset(net.weights)
    x = torch.ones(2)
    assert torch.equal(made.forward(x), net.forward(x))
    assert [edge.name for edge in net.graph.edges] == ["i -> h", "h -> o", "h -> o (2)"]


@pytest.mark.parametrize("net", [
    lambda: nchl.StaticMLP([2, 3, 1], recurrent=True),
    lambda: nchl.PlasticGraph({"i": 2, "h": 3, "o": 1}, [("i", "h"), nchl.Edge("h", "h", 1, rule="static"), ("h", "o")]),
    lambda: nchl.NcHL([2, 3, 1], average="mean:2"),
])  # fmt: skip
def test_a_batch_that_changes_within_a_lifetime_is_refused_where_something_is_remembered(net: Any) -> None:
    made, x = net(), torch.ones(2)
    made.step(x)
    with pytest.raises(ShapeError, match="of a batch of 1, got one of 2"):
        made.step(torch.stack([x, x]))
    made.step(x)
    made.reset()
    made.step(torch.stack([x, x]))


@pytest.mark.parametrize("settings", [
    {"rule": "nchl", "trace": 0.5, "modulate": "advantage:0.5"},
    {"rule": "nchl", "average": "mean:2", "population": 3, "backend": "compiled"},
])  # fmt: skip
def test_a_refused_batch_leaves_the_network_as_it_was(settings: dict[str, Any]) -> None:
    net = nchl.PlasticMLP([2, 3, 1], dtype=torch.float64, **settings)
    net.set_hrules(torch.linspace(-1, 1, net.nparams, dtype=torch.float64))
    rewards = {"reward": 1.0} if net.needs_reward else {}
    people = net.lead
    for batch in (2, 1):
        x = torch.ones(*people, *((batch,) if batch > 1 else ()), 2, dtype=torch.float64)
        net.reset()
        net.step(x)
        twin = copy.deepcopy(net)
        with pytest.raises(ShapeError):
            net.step(torch.ones(*people, 3, 2, dtype=torch.float64), **rewards)
        assert torch.equal(net.step(x, **rewards), twin.step(x, **rewards))
        assert all(torch.equal(a, b) for a, b in zip(net.weights, twin.weights, strict=True))


def test_a_group_named_as_a_block_of_weights_is_no_such_block() -> None:
    net = nchl.PlasticGraph({"i": 4, "weights0": 2}, [("i", "weights0")])
    net.set_hrules(torch.arange(float(net.nparams)))
    assert [tuple(weight.shape) for weight in net.draw_weights(torch.Generator())] == [(2, 4)]
    net.reset()
    assert float(net.weights[0].abs().max()) <= 1


def test_a_copied_network_is_no_users_code() -> None:
    net = nchl.NcHL([3, 4, 2])
    assert written.written(copy.deepcopy(net)) == written.written(net)
    assert written.written(nchl.PlasticMLP([3, 2], rewarded)) is None


@pytest.mark.parametrize(("make", "named"), [
    (lambda: nchl.PlasticMLP([2, 3, 1], rule="static", modulate="reward", trace=0.5, normalise="max", every=3), "every"),
    (lambda: nchl.NcHL([2, 3, 1], sharing="median"), "sharing"),
    (lambda: nchl.NcHL([2, 3, 1], termwise=True), "termwise"),
    (lambda: nchl.from_module(CONV, (1, 4, 4), sharing="min", static=(0,)), "sharing"),
])  # fmt: skip
def test_settings_without_effect_are_refused(make: Any, named: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"{named}.*leave it out"):
        make()


def test_a_reward_that_enters_twice_is_noted() -> None:
    def rule(pre: torch.Tensor, post: torch.Tensor, reward: torch.Tensor, eta_post: torch.Tensor) -> torch.Tensor:
        return reward * eta_post * pre * post

    twice = [note for note in nchl.PlasticMLP([2, 1], rule, modulate="reward").notes if "twice" in note]
    assert len(twice) == 1
    assert not [note for note in nchl.PlasticMLP([2, 1], rule).notes if "twice" in note]


@pytest.mark.parametrize("kind", [nchl.PlasticGraph, Own])
def test_a_population_begins_with_its_templates_genome_and_draws(kind: type[nchl.PlasticGraph]) -> None:
    net = kind({"i": 2, "h": 3, "o": 1}, [("i", "h"), ("h", "o")], generator=torch.Generator().manual_seed(7))
    net.set_hrules(torch.ones(net.nparams))
    made = net.populate(2)
    assert torch.equal(made.genome, torch.ones(2, net.nparams))
    net.reset()
    for mine, its in zip(made.weights, net.weights, strict=True):
        assert torch.equal(mine, its.expand(2, *its.shape))


@pytest.mark.parametrize("net", [lambda: nchl.WNcHL([3, 2], window=2), lambda: nchl.StaticGRU([3, 4, 2]), lambda: nchl.StaticMLP([3, 2])])
def test_a_population_of_any_network_begins_with_its_templates_genome(net: Any) -> None:
    template = net()
    template.set_hrules(torch.ones(template.nparams))
    assert torch.equal(template.populate(2).genome, torch.ones(2, template.nparams))
    assert template.populate(2).populate(3).population == 3


def test_copies_of_a_network_with_evolved_static_weights_take_drawn_ones() -> None:
    net = Own({"i": 4, "h": 3, "o": 1}, [("i", "h"), nchl.Edge("h", "o", rule="static")])
    population = net.populate(2)
    begin(population, [1])
    drawn = net.draw_weights(torch.Generator().manual_seed(3))
    population.reset(drawn)
    assert torch.equal(population.weights[0], drawn[0].expand(2, 3, 4))
    population.reset([torch.stack([drawn[0], -drawn[0]])])
    assert torch.equal(population.weights[0][1], -drawn[0])


def test_copies_of_which_some_never_acted_learn_from_a_reward() -> None:
    net = Own({"i": 4, "h": 3, "o": 2}, [("i", "h"), ("h", "o")], rewarded, modulate="reward")
    population = net.populate(3)
    with pytest.raises(OrderError):
        population.update(1.0)
    population.step(torch.ones(3, 4), torch.tensor([True, True, False]))
    population.update(1.0)
    task = tasks.make("CartPole-v1", "gymnasium", max_episode_steps=10)
    scores = evaluate(net.populate(3), task, np.zeros(net.nparams), episodes=2, run_seed=0, freeze_after=[3, 4])
    assert np.isfinite(scores.returns).all()
    task.close()
