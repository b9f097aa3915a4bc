"""A lifetime in its middle: saved, copied, moved, looked at, switched off, in and out of an inference mode, whatever the back end."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.rules.kernels.build import compiler_path

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler")


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def adapting(pre: Tensor, post: Tensor, reward: Tensor, calm_pre_trace: Tensor, w_trace: Tensor, eta_pre: Tensor) -> tuple[Tensor, ...]:
    calm = 0.5 * calm_pre_trace + pre.abs() + eta_pre
    return eta_pre * reward * (pre - calm) * post + 0.1 * w_trace, calm, 0.3 * w_trace - pre * post


def convolution(**more: Any) -> nchl.PlasticGraph:
    modules = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2, bias=False))
    return nchl.from_module(modules.double(), (1, 3, 3), "median", population=2, **{"normalise": None, **more})


NETWORKS: dict[str, Callable[..., nchl.PlasticGraph]] = {
    "one": lambda **more: nchl.NcHL([3, 4, 2], **more),
    "eager": lambda **more: nchl.NcHL([3, 4, 2], population=2, backend="eager", **more),
    "compiled": lambda **more: nchl.NcHL([3, 4, 2], population=2, backend="compiled", **more),
    "hl": lambda **more: nchl.HL([3, 4, 2], population=2, **more),
    "own": lambda **more: nchl.PlasticMLP([3, 4, 2], adapting, population=2, **more),
    "convolution": convolution,
}
FULL: dict[str, Any] = {"average": "mean:3", "every": 2, "trace": 0.8, "modulate": "advantage:0.3"}
needed = [pytest.param(name, marks=needs_compiler) if name == "compiled" else name for name in NETWORKS]


def going(net: nchl.PlasticGraph, steps: range, batch: int | None = None) -> list[Tensor]:
    """Outputs of some steps of an episode, rewards from its second step on."""
    shape = (*net.lead, *(() if batch is None else (batch,)), *net.input_shape)
    return [net.step(random(*shape, seed=t), reward=0.1 * t if t and net.needs_reward else None).clone() for t in steps]


@pytest.mark.parametrize("settings", [{}, FULL, {"average": "ema:0.2", "trace": 0.5, "every": 3}], ids=str)
@pytest.mark.parametrize("name", needed)
def test_a_lifetime_goes_on_after_saving_copying_and_pickling(name: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    make = NETWORKS[name]

    def saved(net: nchl.PlasticGraph) -> nchl.PlasticGraph:
        other = make(**settings)
        other.set_hrules(random(other.nparams, seed=77))
        other.to(net.dtype)
        going(other, range(4))  # a life of its own
        other.load_state_dict(net.state_dict())
        return other

    ways: dict[str, Callable[[nchl.PlasticGraph], nchl.PlasticGraph]] = {
        "state_dict": saved,
        "deepcopy": copy.deepcopy,
        "pickle": lambda net: pickle.loads(pickle.dumps(net)),
        "double": lambda net: net.double(),
        "to": lambda net: net.to("cpu"),
        "same rules": lambda net: (net.set_hrules(net.genome.clone()), net)[1],
        "looked at": lambda net: (net.weights, net.state_dict(), net.activations, net)[-1],
    }
    lives = {}
    for way in ("none", *ways):
        net = make(**settings).double()
        net.set_hrules(random(*net.lead, net.nparams, scale=0.3))
        net.reset([random(*w.shape, seed=5, scale=0.3) for w in net.weights])
        begun = going(net, range(5))
        copied = ways[way](net) if way in ways else net
        if copied is not net:
            going(net, range(5, 7))  # the original's steps are its own
        lives[way] = [*begun, *going(copied, range(5, 10)), *(w.clone() for w in copied.weights)]
        copied.reset()
        going(copied, range(2))
    for way, life in lives.items():
        for mine, expected in zip(life, lives["none"], strict=True):
            torch.testing.assert_close(mine, expected, rtol=0, atol=1e-11, msg=way)


@pytest.mark.parametrize("name", needed)
def test_activations_come_back_with_their_batch(name: str) -> None:
    net, other = NETWORKS[name](), NETWORKS[name]()
    net.forward(torch.ones(*net.lead, 3, *net.input_shape))
    other.load_state_dict(net.state_dict())
    assert [a.shape for a in other.activations] == [a.shape for a in net.activations]


@pytest.mark.parametrize("name", needed)
@pytest.mark.parametrize("settings", [{}, FULL], ids=str)
def test_a_network_of_an_inference_mode_lives_on_outside(name: str, settings: dict[str, Any]) -> None:
    net = NETWORKS[name](**settings)
    net.set_hrules(random(net.nparams, scale=0.3))
    for inside in (True, False, True, False):
        with torch.inference_mode(inside):
            net.reset()
            net.step(torch.ones(*net.lead, *net.input_shape))
        for t in range(4):
            with torch.inference_mode(t % 2 == inside):
                net.step(torch.ones(*net.lead, *net.input_shape), reward=1.0 if net.needs_reward else None)
                net.load_state_dict(net.state_dict())


@pytest.mark.parametrize("name", needed)
@pytest.mark.parametrize("settings", [{}, FULL], ids=str)
def test_plasticity_may_be_switched_off_in_mid_life(name: str, settings: dict[str, Any]) -> None:
    """The last step with it is still learned from, with its reward; then weights stay until it is on again."""
    net = NETWORKS[name](**settings)
    net.set_hrules(random(net.nparams, scale=0.3))
    reference = NETWORKS[name](**settings)  # only ever by forward and update
    reference.set_hrules(net.genome.clone())
    reference.reset(net.weights)
    for t in range(9):
        x = random(*net.lead, *net.input_shape, seed=t)
        net.plastic = not 3 <= t < 6
        y = net.step(x, reward=0.5 if t and net.needs_reward else None)
        expected = reference.forward(x)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
        if t == 4:
            kept = [w.clone() for w in net.weights]
        if t == 5:
            assert all(torch.equal(a, b) for a, b in zip(kept, net.weights, strict=True))
        if net.plastic:
            reference.update(0.5 if net.needs_reward else None)


@needs_compiler
def test_a_single_observation_after_a_batch_still_learns_from_the_batch() -> None:
    lives = []
    for backend in ("eager", "compiled"):
        net = nchl.NcHL([3, 4, 2], population=2, modulate="reward", backend=backend, dtype=torch.float64)
        net.set_hrules(random(net.nparams, scale=0.5))
        net.reset([random(*w.shape, seed=3, scale=0.3) for w in net.weights])
        shapes = [(2, 3), (2, 3), (2, 3, 3), (2, 3), (2, 3)]
        lives.append([net.step(random(*s, seed=t), reward=0.5 if t else None) for t, s in enumerate(shapes)] + net.weights)
    for mine, expected in zip(*lives, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", needed)
def test_finite_answers_for_the_rows_that_are_asked_for(name: str) -> None:
    net = NETWORKS[name]()
    if net.population is None:
        assert net.finite(torch.tensor([0])).tolist() == [True]
        return
    net.reset([torch.stack([torch.zeros_like(w[0]), torch.full_like(w[0], torch.nan)]) for w in net.weights])
    for rows in ([0, 1], [1, 0], [1], [0]):
        assert net.finite(torch.tensor(rows)).tolist() == [row == 0 for row in rows]
