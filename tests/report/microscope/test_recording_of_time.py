"""The microscope on networks that average, trace, wait for rewards, look back a step, or remember: held against plain loops."""

from __future__ import annotations

import base64
import json
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl.report.microscope.recording import Microscope


def unpack(packed: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, dtype=packed["type"]).reshape(packed["shape"])


class Looked:
    """A short life of random observations and rewards under the microscope, with what the network was at each step."""

    def __init__(self, network: Any, steps: int = 9, seed: int = 0, spread: float = 0.4) -> None:
        random = np.random.default_rng(seed)
        network.set_hrules(spread * random.standard_normal(network.nparams))
        network.reset()
        self.network = network
        self.before = [weight.clone() for weight in network.weights]
        self.scope = Microscope(network)
        self.activations: list[list[np.ndarray]] = []
        self.rewards = random.standard_normal(steps)
        self.changes: list[list[np.ndarray]] = []
        for step in range(steps):
            observation = random.standard_normal(network.input_shape).astype(np.float32)
            weights = [weight.clone() for weight in network.weights]
            network.forward(torch.as_tensor(observation))
            network.update(reward=float(self.rewards[step]))
            self.scope.look(SimpleNamespace(step=step, reward=float(self.rewards[step]), frame=None))
            self.activations.append([a.numpy().reshape(-1).copy() for a in network.activations])
            self.changes.append([(new - old).numpy() for new, old in zip(network.weights, weights, strict=True)])
        self.data = json.loads(json.dumps(self.scope.recording(), allow_nan=False))
        self.arrays = {name: unpack(packed) for name, packed in self.data["arrays"].items()}

    def held(self, kind: str, group: int | None = None, layer: int | None = None, name: str | None = None) -> np.ndarray:
        """The recorded values of one entry of `held`: (steps, size)."""
        start = 0
        for k, held in enumerate(self.data["held"]):
            if (held["kind"], held["group"], held["layer"]) == (kind, group, layer) and name in (None, held["name"]):
                codes = self.arrays["held"][:, start : start + held["size"]].astype(float)
                values: np.ndarray = codes / 127 * self.arrays["held_scales"][:, k : k + 1]
                return values
            start += held["size"]
        raise AssertionError(f"nothing of {kind}, {group}, {layer} in {self.data['held']}")


def near(shown: np.ndarray, true: np.ndarray) -> None:
    np.testing.assert_allclose(shown, true, atol=0.005 * np.abs(true).max() + 1e-7)


def test_a_recurrent_network_with_averages_a_trace_and_an_interval() -> None:
    looked = Looked(nchl.NcHL([3, 4, 2], recurrent=True, average="ema:0.3", trace=0.8, every=2))
    layers = looked.data["layers"]
    assert [layer["label"] for layer in layers] == ["input → hidden0", "hidden0 → hidden0 (delay 1)", "hidden0 → output"]
    assert [layer["delay"] for layer in layers] == [0, 1, 0]

    seen = [[np.zeros(n) for n in (3, 4, 2)]]  # a(-1), a(0), ...
    for now in looked.activations:
        seen.append([0.3 * x + 0.7 * a for x, a in zip(now, seen[-1], strict=True)])
    for g in range(3):
        near(looked.held("seen", g), np.stack([a[g] for a in seen[1:]]))
    near(looked.held("before", 1), np.stack([a[1] for a in seen[:-1]]))
    near(looked.held("earlier", 1), np.stack([np.zeros(4), *[a[1] for a in looked.activations[:-1]]]))

    # E by the equations, from what the rule sees; weights move by it at steps 0, 2, 4, ...
    named = {name: tensor.numpy() for name, tensor in looked.network.layout.unpack(looked.network.genome).items()}
    blocks, layout = ("input", "hidden0", "output"), looked.network.layout
    rules = [dict(zip(layout.block(name).parameters, named[name].T, strict=True)) for name in blocks]
    for k, (pre, post, delay) in enumerate(((0, 1, 0), (1, 1, 1), (1, 2, 0))):
        trace, first, second = 0.0, rules[pre], rules[post]
        eta = (first["eta"][None] + second["eta"][:, None]) / 2
        for t in range(len(looked.activations)):
            a, b = seen[t + 1 - delay][pre][None], seen[t + 1][post][:, None]
            terms = [
                eta * first["A"][None] * a + 0 * b,
                eta * second["B"][:, None] * b + 0 * a,
                eta * first["C"][None] * second["C"][:, None] * a * b,
                eta * first["D"][None] * second["D"][:, None] + 0 * a * b,
            ]
            np.testing.assert_allclose(looked.arrays["terms"][t, k], [np.abs(term).sum() for term in terms], rtol=1e-4)
            trace = 0.8 * trace + sum(terms)
            near(looked.held("trace", layer=k)[t], np.ravel(trace))
            np.testing.assert_allclose(looked.arrays["trace"][t, k], np.linalg.norm(trace), rtol=1e-4)
            np.testing.assert_allclose(looked.arrays["change"][t, k], np.abs(trace).sum() if t % 2 == 0 else 0.0, rtol=1e-3)
    said = " ".join(looked.data["settings"])
    for words in ("delay 1", "ema:0.3", "decays by 0.8", "every 2 steps"):
        assert words in said


@pytest.mark.parametrize("modulate", ["reward", "advantage:0.25"])
def test_what_reaches_the_weights_is_the_trace_times_the_modulation_that_is_drawn(modulate: str) -> None:
    looked = Looked(nchl.NcHL([3, 4, 2], modulate=modulate, trace=0.5))
    baseline = 0.0
    for t, reward in enumerate(looked.rewards):
        gain = reward - baseline if modulate != "reward" else reward
        baseline += 0.25 * gain
        np.testing.assert_allclose(looked.arrays["modulation"][t], gain, rtol=1e-5)
        for k in range(2):
            near(gain * looked.held("trace", layer=k)[t], looked.changes[t][k].ravel())
    np.testing.assert_allclose(looked.arrays["reward"], looked.rewards, rtol=1e-6)
    assert looked.data["modulate"] == modulate
    assert "multiplied by m(t)" in " ".join(looked.data["settings"])
    assert all(layer["terms"] for layer in looked.data["layers"])  # of what the rule gives, whatever becomes of it


def test_a_static_recurrent_network_shows_the_activations_of_the_step_before() -> None:
    groups, edges = {"input": 3, "hidden": 4, "output": 2}, [("input", "hidden"), ("hidden", "hidden", 1), ("hidden", "output")]
    looked = Looked(nchl.PlasticGraph(groups, edges, rule="static"))
    assert not looked.data["plastic"]
    assert looked.data["rules"] == []
    near(looked.held("earlier", 1), np.stack([np.zeros(4), *[a[1] for a in looked.activations[:-1]]]))
    assert [held["kind"] for held in looked.data["held"]] == ["earlier"]
    assert "modulation" not in looked.arrays


def test_a_convolutional_network_shows_the_trace_of_its_kernels() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3), nn.Tanh())
    looked = Looked(nchl.from_module(module, (1, 6, 6), normalise=None, average="mean:3", trace=0.9), steps=4)
    change, trace = 0.0, looked.held("trace", layer=0)
    assert trace.shape == (4, 18)
    for t in range(4):
        near(trace[t], looked.changes[t][0].ravel())  # W(t+1) - W(t) = E(t)
        change += np.abs(trace[t]).sum()
    assert change > 0
    mean = np.stack([np.mean([a[1] for a in looked.activations[max(0, t - 2) : t + 1]], axis=0) for t in range(4)])
    near(looked.held("seen", 1), mean)
    assert [bool(layer["terms"]) for layer in looked.data["layers"]] == [False, True]
    assert len(looked.data["no_terms"]) == 1
    assert looked.data["no_terms"][0].startswith("Changes of kernels cannot be split by terms")


def bcm(pre: Any, post: Any, theta_post_trace: Any, e_trace: Any, eta_post: Any, tau_post: Any) -> Any:
    theta = theta_post_trace + 0.1 * (post * post - theta_post_trace)
    e = 0.5 * e_trace + pre * post * (post - theta_post_trace)
    return eta_post * tau_post * e, theta, e


def test_a_rule_of_ones_own_shows_its_states_and_says_why_it_has_no_shares() -> None:
    looked = Looked(nchl.PlasticMLP([3, 4, 2], bcm))
    for k in range(2):
        theta, e = np.zeros((4, 2)[k]), np.zeros(((4, 3), (2, 4))[k])
        for t, now in enumerate(looked.activations):
            e = 0.5 * e + now[k][None] * (now[k + 1] * (now[k + 1] - theta))[:, None]
            theta = theta + 0.1 * (now[k + 1] ** 2 - theta)
            near(looked.held("memory", k + 1, k, "theta_post_trace")[t], theta)
            near(looked.held("memory", None, k, "e_trace")[t], e.ravel())
    assert not any(layer["terms"] for layer in looked.data["layers"])
    assert looked.data["no_terms"] == [
        "The rule bcm uses states of its own (theta_post_trace, e_trace), which a step's activations and weights do not tell: "
        "there are no shares of the change, only the total."
    ]
    assert looked.arrays["change"].min(0).max() > 0


def test_a_rule_with_the_reward_says_why_it_has_no_shares() -> None:
    def rewarded(pre: Any, post: Any, reward: Any, A_pre: Any, eta_post: Any) -> Any:
        return eta_post * reward * A_pre * pre * post

    looked = Looked(nchl.PlasticMLP([3, 2], rewarded), steps=3)
    assert "The rule rewarded uses the reward, which a step's activations and weights do not tell" in looked.data["no_terms"][0]


def decaying(pre: Any, post: Any, weight: Any, A_pre: Any, decay_post: Any) -> Any:
    return A_pre * pre * post - decay_post * weight


def test_several_rules_and_several_edges_into_one_group() -> None:
    edges: list[Any] = [
        ("input", "hidden"),
        nchl.Edge("hidden", "hidden", 1, rule=decaying),
        nchl.Edge("output", "hidden", 1, rule="hl"),
        nchl.Edge("hidden", "output", rule="static"),
        ("input", "output"),
        ("input", "output"),
    ]
    looked = Looked(nchl.PlasticGraph({"input": 3, "hidden": 4, "output": 2}, edges), steps=4)
    layers = looked.data["layers"]
    assert len({layer["label"] for layer in layers}) == 6
    assert layers[2]["label"] == "output → hidden (delay 1)"
    assert layers[4]["label"] == "input → output (4)"
    names = ["ABCD", ["A", "decay"], "ABCD", [], "ABCD", "ABCD"]
    assert [layer["terms"] for layer in layers] == [list(each) for each in names]
    assert looked.data["shares_title"] == "share of each term or parameter of their rules"
    assert len(looked.data["shares"]) == 2
    terms = looked.arrays["terms"]
    assert terms.shape == (4, 6, 4)
    assert (terms[1:, 1, :2] > 0).all()
    assert (terms[:, 1, 2:] == 0).all()
    assert (terms[:, 3] == 0).all()
    # Before the first step all activations are 0, and so are the terms with the presynaptic neuron.
    assert (terms[0, 2, [0, 2]] == 0).all()
    assert (terms[0, 2, [1, 3]] > 0).all()
    assert terms[0, 1, 0] == 0


def test_the_compiled_step_shows_the_same() -> None:
    shown = []
    for backend in ("eager", "compiled"):
        network = nchl.NcHL([3, 4, 2], population=1, recurrent=True, average="ema:0.3", trace=0.8, every=2, backend=backend)
        network.set_hrules(0.4 * np.random.default_rng(0).standard_normal(network.nparams))
        network.reset()
        scope, random = Microscope(network), np.random.default_rng(0)
        for step in range(7):
            observation = random.standard_normal((1, 3)).astype(np.float32)
            network.step(torch.as_tensor(observation))
            scope.look(SimpleNamespace(step=step, reward=0.0, frame=None))
        data = scope.recording()
        assert network.backend == backend
        arrays = {name: unpack(packed) for name, packed in data["arrays"].items()}
        scales = np.repeat(arrays["held_scales"] / 127, [held["size"] for held in data["held"]], axis=1)
        shown.append((arrays["held"] * scales, arrays["terms"], arrays["trace"]))
    for one, other in zip(*shown, strict=True):
        np.testing.assert_allclose(one, other, atol=0.01 * np.abs(one).max())
