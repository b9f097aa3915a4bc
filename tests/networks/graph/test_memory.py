"""Rules with states and reward: against a loop over connections, in order, in every kind of network, and what is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.errors import InvalidArgument, OrderError, ShapeError
from nchl.rules.declaration import Rule, side
from nchl.rules.kernels.build import compiler_path
from reference.convolution import connections
from reference.time import AGGREGATES

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler")


def rewarded(pre: Tensor, post: Tensor, reward: Tensor, e_trace: Tensor, eta_post: Tensor, gamma_pre: Tensor) -> tuple[Tensor, Tensor]:
    e = 0.9 * e_trace + pre * post * gamma_pre
    return eta_post * reward * e, e


def bcm(pre: Tensor, post: Tensor, weight: Tensor, theta_post_trace: Tensor, eta_post: Tensor) -> tuple[Tensor, Tensor]:
    change = eta_post * pre * post * (post - theta_post_trace) - 0.01 * eta_post * weight
    return change, theta_post_trace + 0.1 * (post * post - theta_post_trace)


def adapting(
    pre: Tensor, post: Tensor, reward: Tensor, calm_pre_trace: Tensor, tone_post_trace: Tensor, w_trace: Tensor, eta_pre: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    calm = 0.5 * calm_pre_trace + pre.abs() + eta_pre
    return (
        eta_pre * (pre - calm) * (post - tone_post_trace) + 0.1 * w_trace,
        calm,
        tone_post_trace + reward * post,
        0.3 * w_trace - pre * post,
    )


RULES = [rewarded, bcm, adapting]


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def slow(
    function: Callable[..., Any],
    found: list[Any],
    sizes: tuple[int, int],
    genome: Tensor,
    weights: Tensor,
    inputs: Tensor,
    rewards: Tensor,
    sharing: str,
) -> tuple[list[Any], list[float]]:
    """Outputs `(steps, batch, n)` and final weights of one layer, connection by connection; `found` lists (element, pre, post)."""
    rule, numbers = Rule.from_function(function), iter(genome)
    own = [
        [{name: next(numbers) for name in rule.names if name in used} for _ in range(n)]
        for n, used in zip(sizes, (rule.pre, rule.post), strict=True)
    ]
    elements = sorted({element for element, _, _ in found})
    weight = dict(zip(elements, weights.flatten(), strict=True))
    zero = torch.zeros((), dtype=torch.float64)
    places = {"connection": elements, "pre": range(sizes[0]), "post": range(sizes[1])}
    memory = {name: dict.fromkeys(places[side(name)], zero) for name in rule.memory}
    outputs = []
    for batch, reward in zip(inputs, rewards, strict=True):
        posts = []
        for x in batch:
            sums = [zero] * sizes[1]
            for element, p, q in found:
                sums[q] = sums[q] + weight[element] * x[p]
            posts.append([torch.tanh(s) for s in sums])
        outputs.append([[float(a) for a in post] for post in posts])
        made: dict[str, dict[Any, list[float]]] = {name: {} for name in ("change", *rule.memory)}
        for element, p, q in found:
            place = {"connection": element, "pre": p, "post": q}
            sample = []
            for x, post in zip(batch, posts, strict=True):
                given = {"pre": x[p], "post": post[q], "weight": weight[element], "reward": reward}
                arguments = {name: given[name] for name in rule.state} | {name: memory[name][place[side(name)]] for name in rule.memory}
                arguments |= {f"{name}_pre": own[0][p][name] for name in rule.pre} | {f"{name}_post": own[1][q][name] for name in rule.post}
                sample.append(function(**arguments))
            for k, name in enumerate(made):
                where = element if name == "change" else place[side(name)]
                made[name].setdefault(where, []).append(math.fsum(float(s[k]) for s in sample) / len(sample))
        for element, values in made["change"].items():
            weight[element] = weight[element] + AGGREGATES[sharing](values)
        for name in rule.memory:
            # A neuron's state is the same by each of its connections.
            memory[name] = {
                where: torch.tensor(AGGREGATES[sharing](v) if side(name) == "connection" else v[0], dtype=torch.float64)
                for where, v in made[name].items()
            }
    return outputs, [float(weight[element]) for element in elements]


def layer(kind: str, rule: Any, **keywords: Any) -> tuple[nchl.PlasticGraph, list[Any], tuple[int, int]]:
    """A network of one layer with tanh, its connections and sizes."""
    if kind == "dense":
        return nchl.PlasticMLP([4, 3], rule, dtype=torch.float64, **keywords), [((j, i), i, j) for j in range(3) for i in range(4)], (4, 3)
    modules = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten()).double()
    found = [
        (e, 3 * p[1] + p[2], (2 * q[0] + q[1]) * 2 + q[2])
        for e, p, q in connections((1, 3, 3), (2, 2, 2), (2, 1, 2, 2), (1, 1), (0, 0), (1, 1))
    ]
    return nchl.from_module(modules, (1, 3, 3), kind, rule=rule, normalise=None, **keywords), found, (9, 8)


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("population", [None, 3])
@pytest.mark.parametrize("kind", ["dense", "max", "median", "mean"])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_a_rule_with_memory_equals_a_loop_over_connections(rule: Any, kind: str, population: int | None, batch: int | None) -> None:
    net, found, sizes = layer(kind, rule, population=population)
    people, steps = population or 1, 6
    assert net.needs_reward == ("reward" in Rule.from_function(rule).state)
    genome, start = random(people, net.nparams, scale=0.4), random(people, *net.weights[0].shape[len(net.lead) :], seed=1, scale=0.3)
    inputs, rewards = random(steps, people, batch or 1, sizes[0], seed=2), random(steps, people, seed=3)
    for by_step in (False, True):
        net.set_hrules(genome if population else genome[0])
        net.reset([start if population else start[0]])
        outputs = []
        for t in range(steps):
            x = (inputs[t] if batch else inputs[t, :, 0]).unflatten(-1, net.input_shape)
            x, r = (x, rewards[t]) if population else (x[0], float(rewards[t, 0]))
            if by_step:
                last = rewards[t - 1] if population else float(rewards[t - 1, 0])
                outputs.append(net.step(x, reward=last) if t and net.needs_reward else net.step(x))
            else:
                outputs.append(net.forward(x))
                net.update(r)
        if by_step and net.needs_reward:
            net.update(reward=r)
        for p in range(people):
            expected, final = slow(rule, found, sizes, genome[p], start[p], inputs[:, p], rewards[:, p], "max" if kind == "dense" else kind)
            made = torch.stack([y[p] if population else y for y in outputs]).reshape(steps, -1, sizes[1])
            np.testing.assert_allclose(made, expected, rtol=0, atol=1e-12)
            np.testing.assert_allclose((net.weights[0][p] if population else net.weights[0]).flatten(), final, rtol=0, atol=1e-12)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("rule", [*RULES, "hl"], ids=str)
def test_the_step_that_torch_compiles_equals_the_torch_functions(rule: Any) -> None:
    """Recurrent, with every setting at once; rewards come from the second step on."""
    lives = []
    for backend in ("compiled", "eager"):
        net = nchl.PlasticMLP(
            [4, 6, 3], rule, recurrent=True, average="ema:0.4", every=2, trace=0.7, modulate="advantage:0.2", normalise="row",
            population=64, backend=backend, dtype=torch.float64,
        )  # fmt: skip
        net.set_hrules(random(64, net.nparams, scale=0.3))
        net.reset([random(64, *w.shape[1:], seed=1, scale=0.3) for w in net.weights])
        outputs = [net.step(random(64, 4, seed=9 + t), reward=random(64, seed=t) if t else None) for t in range(8)]
        net.update(random(64, seed=8))
        assert net.backend == backend, net.notes
        lives.append([*outputs, *net.state.values()])
    for mine, expected in zip(*lives, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["dense", "max"])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_a_reset_begins_with_zeros(rule: Any, kind: str) -> None:
    net, _, sizes = layer(kind, rule, population=2, trace=0.5, average="mean:3", modulate="advantage:0.5")
    net.set_hrules(random(net.nparams))
    start, lives = [w.clone() for w in net.weights], []
    for life in range(2):
        net.reset(start)
        x = random(2, sizes[0], seed=4).reshape(2, *net.input_shape)
        if life == 0:
            x[0] = float("nan")  # whatever was there before
        outputs = [net.step(x if life == 0 else abs(x), reward=1.0 if t else None) for t in range(3)]
        lives.append(outputs)
    fresh = copy.deepcopy(layer(kind, rule, population=2, trace=0.5, average="mean:3", modulate="advantage:0.5")[0])
    fresh.set_hrules(random(net.nparams))
    fresh.reset(start)
    expected = [fresh.step(abs(x), reward=1.0 if t else None) for t in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(lives[1], expected, strict=True))
    assert not all(torch.isfinite(y).all() for y in lives[0])


def test_the_order_of_steps_and_rewards() -> None:
    net = nchl.NcHL([3, 2], modulate="reward")
    net.set_hrules(torch.ones(net.nparams))
    x = torch.ones(3)
    with pytest.raises(OrderError, match="forward"):
        net.update(1.0)
    first = net.weights[0].clone()
    net.step(x)
    assert torch.equal(net.weights[0], first)  # its reward is not known yet
    with pytest.raises(OrderError, match=r"waits for its reward: call update\(reward=r\), or step\(x, reward=r\)"):
        net.forward(x)
    with pytest.raises(InvalidArgument, match=r"modulate='reward'.*got none: call update\(reward=r\) or step\(x, reward=r\)"):
        net.step(x)
    with pytest.raises(InvalidArgument, match="needs the reward"):
        net.update()
    assert torch.equal(net.weights[0], first)
    net.step(x, reward=0.0)
    assert torch.equal(net.weights[0], first)
    net.step(x, reward=2.0)
    second = net.weights[0].clone()
    assert not torch.equal(second, first)
    net.update(reward=1.0)
    assert not torch.equal(net.weights[0], second)
    net.forward(x)  # nothing waits any more
    net.update(reward=1)


@pytest.mark.parametrize(("reward", "fits"), [
    (1, True), (1.5, True), (np.float32(2), True), (torch.ones(3), True), ([1.0, 2.0, 3.0], True), (np.ones(3), True),
    (torch.ones(1), True),    (torch.ones(2), False), (torch.ones(3, 1), False), ([[1.0, 2.0, 3.0]], False),
])  # fmt: skip
def test_the_shape_of_a_reward(reward: Any, fits: bool) -> None:
    net = nchl.NcHL([3, 2], modulate="reward", population=3)
    net.set_hrules(torch.ones(net.nparams))
    net.forward(torch.ones(3, 3))
    if fits:
        net.update(reward)
        return
    with pytest.raises(ShapeError, match=r"reward: expected a number or shape \(3,\), got shape"):
        net.update(reward)


def test_a_reward_that_is_no_number_is_refused() -> None:
    net = nchl.NcHL([3, 2], modulate="reward")
    net.forward(torch.ones(3))
    with pytest.raises(InvalidArgument, match="reward: expected numbers"):
        net.update("a lot")


def forgetful(pre: Tensor, e_trace: Tensor) -> Tensor:
    return pre * e_trace


def twofold(pre: Tensor, e_trace: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return pre, e_trace, e_trace


def misplaced(pre: Tensor, post: Tensor, s_post_trace: Tensor) -> tuple[Tensor, Tensor]:
    return post, s_post_trace + pre


def summed(pre: Tensor, post: Tensor, e_trace: Tensor) -> tuple[Tensor, Tensor]:
    return pre * post, e_trace + (pre * post).sum()


def centred(pre: Tensor, post: Tensor, eta_post: Tensor) -> Tensor:
    return eta_post * pre * (post - post.mean(-2, keepdim=True))


def listed(pre: Tensor, e_trace: Tensor) -> list[Tensor]:
    return [pre, e_trace]


@pytest.mark.parametrize(("rule", "message"), [
    (forgetful, "keeps states: expected it to return a tuple of the change and the new e_trace, got Tensor"),
    (twofold, "got a tuple of 3"),
    (listed, "got list"),
    (misplaced, "new s_post_trace, a number of a postsynaptic neuron"),
    (summed, "new e_trace of a connection to follow from that connection alone"),
    (centred, "change of a connection to follow from that connection alone"),
])  # fmt: skip
@pytest.mark.parametrize(
    "make", [lambda rule: nchl.PlasticMLP([3, 2], rule), lambda rule: layer("max", rule)[0]], ids=["dense", "convolution"]
)
def test_a_rule_that_returns_something_else_is_refused(make: Callable[[Any], Any], rule: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make(rule)


@pytest.mark.parametrize(
    "setting", [{"trace": 0.5}, {"average": "mean:3"}, {"modulate": "reward"}, {"every": 2}, {"normalise": "max"}], ids=str
)
def test_the_weightless_network_refuses_what_needs_weights(setting: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgument, TypeError), match=next(iter(setting))):
        nchl.WNcHL([3, 2], window=4, **setting)


@pytest.mark.parametrize("population", [None, 3])
def test_a_refused_observation_does_not_do_the_waiting_update(population):
    """A second attempt with a good one learns as if there had been no first."""
    refused, other = (nchl.NcHL([3, 4, 2], population=population, modulate="advantage:0.5", dtype=torch.float64) for _ in range(2))
    x = torch.ones(*refused.lead, 3, dtype=torch.float64)
    for net in (refused, other):
        net.set_hrules(torch.full((net.nparams,), 0.3))
        net.step(x)
    with pytest.raises(ShapeError):
        refused.step(torch.ones(7), reward=1.0)
    for net in (refused, other):
        net.step(x, reward=1.0)
        net.update(reward=-1.0)
    assert all(torch.equal(mine, its) for mine, its in zip(refused.weights, other.weights, strict=True))
