"""With `differentiable=True` an episode has the true gradient: against finite differences, of genome, weights, rewards, inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.errors import InvalidArgument


def random(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale).to(dtype)


def rewarded(pre: Tensor, post: Tensor, weight: Tensor, reward: Tensor, e_trace: Tensor, h_post_trace: Tensor, eta_post: Tensor) -> Any:
    e = 0.9 * e_trace + pre * post - 0.1 * weight
    return eta_post * reward * e * (1 - h_post_trace), e, 0.5 * h_post_trace + post


def sequential() -> nn.Sequential:
    layers = [nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2, bias=False), nn.Sigmoid()]
    return nn.Sequential(*layers).double()


GROUPS = {"x": 2, "h": nchl.Group(3, "gelu"), "y": nchl.Group(2, None)}
EDGES = [("x", "h"), ("h", "h", 1), nchl.Edge("x", "y", rule="hl"), nchl.Edge("h", "y", rule="static"), ("y", "h", 1)]
MAKERS: dict[str, Callable[..., nchl.PlasticGraph]] = {
    "mlp": lambda **more: nchl.NcHL([2, 3, 2], **more),
    "hl": lambda **more: nchl.HL([2, 2], **more),
    "recurrent": lambda **more: nchl.NcHL([2, 3, 2], recurrent=True, **more),
    "coevolved": lambda **more: nchl.NcHL([2, 2], initial_weights="coevolved", **more),
    "graph": lambda **more: nchl.PlasticGraph(GROUPS, EDGES, **more),
    "memory": lambda **more: nchl.PlasticMLP([2, 3, 2], rewarded, **more),
    "static": lambda **more: nchl.StaticMLP([2, 3, 2], recurrent=True, **more),
    "convolution": lambda **more: nchl.from_module(sequential(), (1, 4, 4), "median", **{"normalise": None, **more}),
    "termwise": lambda **more: nchl.from_module(sequential(), (1, 4, 4), "mean", termwise=True, **{"normalise": None, **more}),
    "biases": lambda **more: nchl.from_module(
        nn.Sequential(nn.Linear(2, 2), nn.Tanh()), (2,), biases="evolve", **{"normalise": None, **more}
    ),
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"normalise": "max", "average": "ema:0.5", "every": 2},
    {"normalise": "row", "average": "mean:2", "trace": 0.5},
    {"normalise": "zscore", "modulate": "reward", "trace": 0.9},
    {"normalise": "clip:0.3", "modulate": "advantage:0.3", "every": 3},
]


def episode(net: nchl.PlasticGraph, genome: Tensor, weights: list[Tensor], inputs: Tensor, rewards: Tensor) -> Tensor:
    """All outputs of an episode, one step after the other, and the weights at its end."""
    net.set_hrules(genome)
    net.reset(weights or None)
    outputs = [net.step(x, reward=rewards[t - 1] if t and net.needs_reward else None) for t, x in enumerate(inputs)]
    if net.needs_reward:
        net.update(rewards[-1])
    return torch.cat([y.flatten() for y in (*outputs, *net.weights)])


def given(net: nchl.PlasticGraph, dtype: torch.dtype = torch.float64, steps: int = 4) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """A genome, initial weights, inputs and rewards."""
    genome = random(*net.lead, net.nparams, scale=0.4, dtype=dtype)
    free = [e for e in net.graph.weighted if f"weights{e.index}" not in net.layout]
    weights = [random(*net.lead, *e.shape, seed=e.index + 1, scale=0.4, dtype=dtype) for e in free]
    return genome, weights, random(steps, *net.lead, *net.input_shape, seed=20, dtype=dtype), random(steps, *net.lead, seed=21, dtype=dtype)


# A static network has no settings; one individual without the axis of a population computes as a population of one.
CASES = [
    *((name, settings, 2) for name in MAKERS for settings in ([{}] if name == "static" else SETTINGS)),
    *((name, {}, None) for name in MAKERS),
]


@pytest.mark.parametrize(("name", "settings", "population"), CASES, ids=str)
def test_gradients_are_those_of_finite_differences(name: str, settings: dict[str, Any], population: int | None) -> None:
    net = MAKERS[name](dtype=torch.float64, differentiable=True, population=population, **settings)
    genome, weights, inputs, rewards = given(net)
    if not net.needs_reward:
        rewards = rewards.detach()

    def outputs(genome: Tensor, inputs: Tensor, rewards: Tensor, *weights: Tensor) -> Tensor:
        return episode(net, genome, list(weights), inputs, rewards)

    learned = [genome, inputs, rewards if net.needs_reward else rewards.detach(), *weights]
    for k, tensor in enumerate(learned):
        if k != 2 or net.needs_reward:
            tensor.requires_grad_()
    assert torch.autograd.gradcheck(outputs, tuple(learned), fast_mode=True, rtol=1e-4, atol=1e-6)
    # The numbers of the genome take part, but for those that a clip silences, or a median that looks at one connection alone.
    found = torch.autograd.grad(outputs(*learned).square().sum(), genome)[0]
    assert (found != 0).double().mean() > (0.4 if name == "convolution" else 0.6)


@pytest.mark.parametrize("name", MAKERS)
def test_single_precision_has_the_same_gradients(name: str) -> None:
    found = []
    for dtype in (torch.float64, torch.float32):
        net = MAKERS[name](dtype=dtype, differentiable=True, population=2)
        genome, weights, inputs, rewards = given(net, dtype)
        genome.requires_grad_()
        found.append(torch.autograd.grad(episode(net, genome, weights, inputs, rewards).square().sum(), genome)[0].double())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "graph", "convolution"])
def test_each_individual_has_the_gradient_that_it_has_alone(name: str) -> None:
    crowd, alone = (MAKERS[name](dtype=torch.float64, differentiable=True, population=population, trace=0.5) for population in (3, None))
    genome, weights, inputs, rewards = given(crowd)
    genome.requires_grad_()
    together = torch.autograd.grad(episode(crowd, genome, weights, inputs, rewards).square().sum(), genome)[0]
    for p in range(3):
        own = genome[p].detach().requires_grad_()
        loss = episode(alone, own, [w[p] for w in weights], inputs[:, p], rewards[:, p]).square().sum()
        torch.testing.assert_close(torch.autograd.grad(loss, own)[0], together[p], rtol=1e-10, atol=1e-12)


def test_one_genome_for_a_population_collects_the_gradients_of_all() -> None:
    net = nchl.NcHL([2, 3, 2], population=4, dtype=torch.float64, differentiable=True)
    _, weights, inputs, rewards = given(net)
    shared = random(net.nparams, scale=0.4).requires_grad_()
    each = shared.detach().expand(4, -1).clone().requires_grad_()
    one, many = (torch.autograd.grad(episode(net, g, weights, inputs, rewards).square().sum(), g)[0] for g in (shared, each))
    torch.testing.assert_close(one, many.sum(0), rtol=1e-10, atol=1e-12)


def test_outputs_are_those_of_a_network_without_gradients() -> None:
    for settings in SETTINGS:
        lives = []
        for differentiable in (False, True):
            net = nchl.NcHL([2, 3, 2], dtype=torch.float64, differentiable=differentiable, **settings)
            lives.append(episode(net, *given(net)))
        assert torch.equal(*lives)


def test_what_is_learned_belongs_to_the_caller() -> None:
    """An optimizer changes its tensor in place, and loading a state writes into the network's: neither reaches the other."""
    net, other = (nchl.NcHL([2, 3, 2], differentiable=True) for _ in range(2))
    theta = random(net.nparams, scale=0.3, dtype=torch.float32).requires_grad_()
    net.set_hrules(theta)
    before = theta.detach().clone()
    y = net.step(torch.ones(2))
    y = net.step(torch.ones(2))
    copied = copy.deepcopy(net).step(torch.ones(2))
    assert torch.equal(copied, net.step(torch.ones(2)))
    assert not copied.requires_grad
    with torch.no_grad():
        theta.add_(1)
    assert torch.equal(net.genome, before)
    other.set_hrules(random(net.nparams, seed=9))
    other.step(torch.ones(2))
    net.load_state_dict(other.state_dict())
    assert torch.equal(theta.detach(), before + 1)
    assert torch.equal(net.step(torch.ones(2)), other.step(torch.ones(2)))
    assert not net.step(torch.ones(2)).requires_grad
    y.sum().backward()  # the first life's graph is whole


def test_it_learns_by_descent() -> None:
    """The last output of an episode is driven to a target by its rules alone."""
    net = nchl.NcHL([2, 4, 1], population=3, differentiable=True)
    theta = random(3, net.nparams, scale=0.1, dtype=torch.float32).requires_grad_()
    optimizer, losses = torch.optim.Adam([theta], lr=0.05), []
    start = [w.clone() for w in net.weights]
    for _ in range(40):
        net.set_hrules(theta)
        net.reset(start)
        for _ in range(5):
            y = net.step(torch.ones(3, 2))
        loss = (y - 0.7).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 < 0.1 < losses[0]


def test_a_compiled_step_has_no_gradient_and_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="differentiable"):
        nchl.NcHL([2, 3, 2], population=2, differentiable=True, backend="compiled")
    with torch.no_grad():
        net = nchl.NcHL([2, 3, 2], differentiable=True)
        net.set_hrules(random(net.nparams).requires_grad_())
        assert not net.step(torch.ones(2)).requires_grad
