"""A reward that belongs to no step is refused, wherever a network learns from rewards; a frozen network may be told any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nchl
from nchl.errors import OrderError
from nchl.networks.base import PlasticNetwork
from nchl.networks.user.copies import copied

NETWORKS: dict[str, Callable[[], PlasticNetwork]] = {
    "one": lambda: nchl.NcHL([3, 4, 2], modulate="reward"),
    "population": lambda: nchl.NcHL([3, 4, 2], modulate="advantage:0.1", population=3, backend="eager"),
    "compiled": lambda: nchl.NcHL([3, 4, 2], modulate="reward", population=3, backend="compiled"),
    "convolution": lambda: nchl.from_module(
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), (1, 3, 3), modulate="reward"
    ),
    "copies": lambda: copied(nchl.NcHL([3, 2], modulate="reward"), 3),
}


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> PlasticNetwork:
    made = NETWORKS[request.param]()
    made.set_hrules(torch.linspace(-1, 1, made.nparams))
    return made


def seen(net: PlasticNetwork) -> torch.Tensor:
    return torch.ones(*net.lead, *net.input_shape)


def weights(net: PlasticNetwork) -> list[torch.Tensor]:
    return [weight.clone() for weight in net.weights]


def test_on_the_first_step_of_each_episode(net: PlasticNetwork) -> None:
    for _ in range(2):
        net.reset()
        before = weights(net)
        with pytest.raises(
            OrderError, match=r"no reward on the first step of an episode.*write step\(x\), or reward=None, after each reset"
        ):
            net.step(seen(net), reward=1.0)
        assert all(map(torch.equal, net.weights, before))
        net.step(seen(net))
        net.step(seen(net), reward=1.0)
        assert not all(map(torch.equal, net.weights, before))


def test_after_a_forward_whose_update_has_not_been_asked_for(net: PlasticNetwork) -> None:
    net.forward(seen(net))
    with pytest.raises(OrderError, match=r"after forward\(x\) call update\(reward=r\), and then step\(x\) without a reward"):
        net.step(seen(net), reward=1.0)
    net.update(reward=1.0)
    net.step(seen(net))
    net.step(seen(net), reward=1.0)


def test_after_an_update_that_was_given_it_already(net: PlasticNetwork) -> None:
    net.step(seen(net))
    net.update(reward=1.0)
    with pytest.raises(OrderError, match=r"got one after forward\(\) or update\(\)"):
        net.step(seen(net), reward=1.0)
    net.step(seen(net))


def test_what_a_frozen_step_earned_moves_nothing_and_may_be_told(net: PlasticNetwork) -> None:
    net.step(seen(net))
    net.plastic = False
    net.step(seen(net), reward=1.0)  # of the last plastic step
    before = weights(net)
    net.step(seen(net), reward=1.0)
    net.plastic = True
    state = net.state_dict()
    for _ in range(2):
        net.step(seen(net), reward=1.0)  # of the last frozen step
        assert all(map(torch.equal, net.weights, before))
        net.load_state_dict(state)
    net.step(seen(net), reward=1.0)
    net.step(seen(net), reward=1.0)
    assert not all(map(torch.equal, net.weights, before))


def test_a_network_that_needs_none_does_not_look_at_it() -> None:
    net = nchl.NcHL([3, 2])
    net.step(torch.ones(3), reward=1.0)


def test_the_agent_of_a_run_refuses_it_and_acts_on(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    options: dict[str, Any] = {"hidden": [3], "population": 4, "generations": 1, "seed": 1, "modulate": "reward"}
    agent, _ = nchl.load(nchl.run("CartPole-v1", out=tmp_path / "run", **options).folder)
    observation = torch.full((4,), 0.1)
    for _ in range(2):
        agent.reset()
        with pytest.raises(OrderError, match="first step of an episode"):
            agent.act(observation, 1.0)
        agent.act(observation)
        agent.act(observation, 1.0)
