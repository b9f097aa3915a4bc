"""Agents: copies and moved agents are agents, an error about an attribute names the one to use, and a copy continues its lifetime."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nchl
from nchl.errors import InvalidArgument, NchlError, OrderError
from nchl.runs.results.agent import Agent

SEEN = np.array([0.0, 0.1, 0.0, -0.1], np.float32)
RULE = "def hebb(pre, post, eta_post):\n    return eta_post * pre * post\n"


@pytest.fixture
def agent() -> Agent:
    found, _ = nchl.load("zoo:cartpole-nchl")
    found.reset(seed=3)
    for _ in range(5):
        found.act(SEEN)
    return found


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rewards, normalised observations and a rule from a file."""
    pytest.importorskip("gymnasium")
    folder = tmp_path_factory.mktemp("rewarded")
    (folder / "hebb.py").write_text(RULE)
    options: dict[str, Any] = {"rule": f"{folder / 'hebb.py'}:hebb", "modulate": "reward", "normalise_observations": True}
    return nchl.run("CartPole-v1", out=folder / "run", hidden=[3], population=4, generations=2, **options).folder


def weights(agent: Agent) -> list[torch.Tensor]:
    return [weight.clone() for weight in agent.weights]


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, some, others))


def test_without_plasticity_the_weights_stay(agent: Agent) -> None:
    agent.reset()
    agent.plastic = False
    before = weights(agent)
    for _ in range(3):
        agent.act(SEEN)
    assert not agent.network.plastic
    assert not agent.plastic
    assert equal(before, agent.weights)
    agent.plastic = True
    agent.act(SEEN)
    assert not equal(before, agent.weights)
    with pytest.raises(InvalidArgument, match="True or False, got 0"):
        agent.plastic = 0  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plasitc", "did you mean 'plastic'"),
        ("trace", r"set that of the network: agent\.network\.trace"),
        ("weights", r"agent\.network\.reset\(weights\)"),
        ("genome", r"agent\.set_hrules\(vector\)"),
        ("act", "cannot be set"),
    ],
)
def test_what_cannot_be_set_is_refused(agent: Agent, name: str, said: str) -> None:
    with pytest.raises(AttributeError, match=said) as caught:
        setattr(agent, name, 1.0)
    assert isinstance(caught.value, NchlError)


def test_step_and_forward_are_the_networks_own(agent: Agent) -> None:
    x = torch.ones(agent.input_shape, dtype=agent.dtype)
    twin = copy.deepcopy(agent.network)
    reward = {"reward": 1.0} if agent.needs_reward else {}
    for network in (agent, twin):
        network.reset(generator=torch.Generator().manual_seed(1)) if network is twin else network.reset(1)
    first = agent.step(x), twin.step(x)
    assert torch.equal(*first)
    assert torch.equal(agent.step(x, **reward), twin.step(x, **reward))
    if not agent.needs_reward:
        assert torch.equal(agent.forward(x), twin.forward(x))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("activations", r"write agent\.network\.activations$"),
        ("wieghts", "did you mean 'weights'"),
        ("policy", r"neither an agent nor its network, agent\.network, has"),
    ],
)
def test_an_unknown_attribute_says_what_to_write(agent: Agent, name: str, said: str) -> None:
    assert not hasattr(agent, name)
    with pytest.raises(AttributeError, match=said) as caught:
        getattr(agent, name)
    assert isinstance(caught.value, NchlError)


def test_the_agent_knows_its_network(agent: Agent) -> None:
    network = agent.network
    for name in ("nparams", "layout", "needs_reward", "input_shape", "output_size", "dtype", "device", "notes", "rule", "normalise"):
        assert getattr(agent, name) == getattr(network, name), name
    assert torch.equal(agent.genome, network.genome)
    assert agent.constants() == {}
    agent.set_hrules(np.zeros(agent.nparams))
    assert not network.genome.any()


def test_to_and_eval_give_the_agent(agent: Agent) -> None:
    assert agent.eval() is agent
    assert agent.to("cpu") is agent
    assert agent.to(torch.float64) is agent
    assert agent.dtype is torch.float64
    agent.act(SEEN)


def test_its_text_names_the_task_and_the_network(agent: Agent, rewarded: Path) -> None:
    assert repr(agent).startswith("Agent(task=CartPole-v1, observations as they are, plastic=True, network=")
    assert "hidden0 10" in repr(agent)
    assert "normalised observations" in repr(nchl.load(rewarded)[0])


def unpickled(agent: Agent) -> Agent:
    made: Agent = pickle.loads(pickle.dumps(agent))
    return made


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
def test_a_copy_is_an_agent_that_goes_on_alone(agent: Agent, copied: Any) -> None:
    agent.network.double()
    other = copied(agent)
    assert type(other) is Agent
    for _ in range(3):
        assert other.act(SEEN) == agent.act(SEEN)
    assert other.dtype is agent.dtype
    assert equal(agent.weights, other.weights)
    other.reset()
    assert not equal(agent.weights, other.weights)
    agent.reset()  # the generator of initial weights went along
    assert equal(agent.weights, other.weights)
    other.plastic = False
    assert agent.plastic
    assert not copied(other).plastic


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
def test_a_copy_waits_for_its_reward(rewarded: Path, copied: Any) -> None:
    agent, _ = nchl.load(rewarded)
    assert agent.statistics is not None
    agent.act(SEEN)
    other = copied(agent)
    for one in (agent, other):
        one.act(SEEN, 2.0)
        one.update(1.0)
    assert equal(agent.weights, other.weights)
    assert np.array_equal(other.statistics.mean, agent.statistics.mean)


def test_a_shallow_copy_shares_the_network(agent: Agent) -> None:
    assert copy.copy(agent).network is agent.network


def test_a_pickle_is_read_in_another_process_and_folder(rewarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rewarded.parent)
    agent, _ = nchl.load("run", rule="hebb.py:hebb")
    agent.act(SEEN)
    agent.act(SEEN, 1.0)
    (tmp_path / "agent.pickle").write_bytes(pickle.dumps(agent))
    code = "import pickle; agent = pickle.load(open('agent.pickle', 'rb')); print(sum(float(w.double().sum()) for w in agent.weights))"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert float(told.stdout) == sum(float(w.double().sum()) for w in agent.weights)


def test_a_lifetime_goes_on_after_a_pause(agent: Agent) -> None:
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    other, _ = nchl.load("zoo:cartpole-nchl")
    other.load_state_dict(torch.load(file, weights_only=True))
    for one in (agent, other):
        one.act(SEEN)
    assert equal(agent.weights, other.weights)


def test_an_agent_of_a_given_network_cannot_be_pickled_but_copied(agent: Agent) -> None:
    by_hand = Agent(agent.network, agent._task, None)
    with pytest.raises(InvalidArgument, match=r"given as an object; keep agent\.state_dict\(\)"):
        pickle.dumps(by_hand)
    assert copy.deepcopy(by_hand).act(SEEN) in (0, 1)


@pytest.mark.parametrize("reward", ["1.0", {}, [1.0, 2.0], [1.0, [2.0]], None])
def test_a_reward_that_is_no_number_is_refused(rewarded: Path, reward: Any) -> None:
    agent, _ = nchl.load(rewarded)
    agent.act(SEEN)
    before = weights(agent)
    with pytest.raises(InvalidArgument, match=r"reward.*the network was not stepped"):
        agent.act(SEEN, reward)
    assert equal(before, agent.weights)


@pytest.mark.parametrize("reward", [2, 2.0, np.float32(2), np.array([2.0]), torch.tensor(2.0), np.int64(2)])
def test_a_reward_is_a_number_of_any_type(rewarded: Path, reward: Any) -> None:
    agent, _ = nchl.load(rewarded)
    other = copy.deepcopy(agent)
    for one, given in ((agent, reward), (other, 2.0)):
        one.act(SEEN)
        one.act(SEEN, given)
    assert equal(agent.weights, other.weights)


def test_a_reward_that_belongs_to_no_action_names_act(rewarded: Path) -> None:
    agent, _ = nchl.load(rewarded)
    agent.act(SEEN)
    agent.update(1.0)
    for _ in range(2):
        with pytest.raises(OrderError, match=r"^act\(observation, reward\): .* write act\(observation\)") as caught:
            agent.act(SEEN, 1.0)
        assert "step(x" not in str(caught.value)
        agent.reset()
