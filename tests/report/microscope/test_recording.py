"""The microscope shows what was: held against plain loops and against the network itself."""

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
from nchl.errors import InvalidArgument
from nchl.report.microscope import recording as scope_module
from nchl.report.microscope.network_view import NetworkView
from nchl.report.microscope.recording import NOT_FINITE, Microscope, quantise


def unpack(packed: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, dtype=packed["type"]).reshape(packed["shape"])


def lively(network: Any, seed: int = 0, spread: float = 1.0) -> Any:
    network.set_hrules(spread * np.random.default_rng(seed).standard_normal(network.nparams))
    network.reset()
    return network


def live(network: Any, steps: int, scope: Microscope, frames: bool = False) -> list[np.ndarray]:
    """Random observations for so many steps; returns them."""
    random = np.random.default_rng(1)
    seen = []
    for step in range(steps):
        observation = random.standard_normal(network.input_shape).astype(np.float32)
        network.step(torch.as_tensor(observation))
        frame = np.full((30, 40, 3), step % 256, dtype=np.uint8) if frames and scope.wants_frame(step) else None
        scope.look(SimpleNamespace(step=step, reward=1.0, frame=frame))
        seen.append(observation)
    return seen


@pytest.mark.parametrize("values", [[1.0, -0.5, 0.25], [0.0, 0.0], [3e30, -3e30, 1.0], [1e-30, 5e-31]])
def test_eight_bits_are_near_enough(values: list[float]) -> None:
    codes, scale = quantise(np.array(values, dtype=np.float32))
    back = codes.astype(float) / 127 * scale
    assert np.abs(back - values).max() <= 0.004 * np.abs(values).max()


def test_what_is_not_finite_has_a_code_of_its_own() -> None:
    codes, scale = quantise(np.array([np.nan, np.inf, 2.0, -1.0]))
    assert codes.tolist() == [NOT_FINITE, NOT_FINITE, 127, -64]
    assert scale == 2.0


@pytest.mark.parametrize("make", [nchl.NcHL, nchl.HL])
def test_the_last_moment_is_the_network_as_it_stands(make: Any) -> None:
    network = lively(make([3, 5, 2]), spread=0.3)
    scope = Microscope(network)
    live(network, 7, scope)
    data = json.loads(json.dumps(scope.recording(), allow_nan=False))
    arrays = {name: unpack(packed) for name, packed in data["arrays"].items()}
    assert data["kept"] == [1, 2, 3, 4, 5, 6, 7]
    assert data["total"] == 7.0
    start = 0
    for k, weight in enumerate(network.weights):
        codes = arrays["weights"][-1, start : start + weight.numel()]
        shown = codes.astype(float) / 127 * arrays["scales"][-1, k]
        np.testing.assert_allclose(shown, weight.flatten().numpy(), atol=0.004 * float(weight.abs().max()))
        np.testing.assert_allclose(arrays["norm"][-1, k], np.linalg.norm(weight.numpy()), rtol=1e-5)
        start += weight.numel()
    np.testing.assert_allclose(arrays["genome"], network.genome.numpy())


def test_the_terms_are_those_of_a_plain_loop() -> None:
    network = lively(nchl.NcHL([3, 4, 2]))
    view = NetworkView(network)
    network.step(torch.tensor([0.5, -1.0, 2.0]))
    activations = view.activations()
    found = view.terms(view.rule_inputs(), view.weights())
    named = network.layout.unpack(network.genome)
    for k, (before, after) in enumerate((("input", "hidden0"), ("hidden0", "output"))):
        pre = dict(zip(network.layout.block(before).parameters, named[before].T, strict=True))
        post = dict(zip(network.layout.block(after).parameters, named[after].T, strict=True))
        total = np.zeros(4)
        for i in range(len(activations[k])):
            for j in range(len(activations[k + 1])):
                eta = float(pre["eta"][i] + post["eta"][j]) / 2
                a, b = float(activations[k][i]), float(activations[k + 1][j])
                a_term, b_term = float(pre["A"][i]) * a, float(post["B"][j]) * b
                c_term, d_term = float(pre["C"][i] * post["C"][j]) * a * b, float(pre["D"][i] * post["D"][j])
                total += [abs(eta * term) for term in (a_term, b_term, c_term, d_term)]
        np.testing.assert_allclose(found[k], total, rtol=1e-5)


def test_the_terms_of_synapses_are_those_of_a_plain_loop() -> None:
    network = lively(nchl.HL([3, 2]))
    view = NetworkView(network)
    network.step(torch.tensor([0.5, -1.0, 2.0]))
    pre, post = view.activations()
    rules = network.layout.unpack(network.genome)["layer0"].numpy()
    total = np.zeros(4)
    for j in range(2):
        for i in range(3):
            a, b, c, d, eta = rules[j, i]
            total += [abs(eta * term) for term in (a * pre[i], b * post[j], c * pre[i] * post[j], d)]
    np.testing.assert_allclose(view.terms([(pre, post)], view.weights())[0], total, rtol=1e-5)


def test_a_long_life_is_thinned_out_in_time_and_says_so() -> None:
    network = lively(nchl.NcHL([2, 3, 1]), spread=0.1)
    scope = Microscope(network, moments=20)
    live(network, 1500, scope, frames=True)
    data = scope.recording()
    assert data["steps"] == 1500
    assert 10 <= len(data["kept"]) <= 20
    assert np.unique(np.diff(data["kept"])).tolist() == [data["stride"]]
    assert data["kept"][0] == 1
    assert len(data["frames"]["ends"]) == len(data["kept"])
    assert data["frames"]["width"] == 40
    points = unpack(data["arrays"]["points"])
    assert len(points) <= 1000
    assert (points[0], points[-1]) == (1, 1500)


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_a_weightless_network_shows_its_window_oldest_first(steps: int) -> None:
    network = lively(nchl.WNcHL([2, 3, 1], window=5), spread=0.3)
    scope = Microscope(network)
    seen = live(network, steps, scope)
    data = scope.recording()
    window = unpack(data["arrays"]["window"])[-1, :, :2].astype(float)
    scale = unpack(data["arrays"]["activation_scales"])[-1, 0]
    expected = np.concatenate([np.zeros((5, 2)), *[o[None] for o in seen]])[-5:]
    clipped = np.clip(expected, -scale, scale)  # the window's colours are those of the moment
    np.testing.assert_allclose(window / 127 * scale, clipped, atol=0.005 * scale)
    assert data["window"] == 5


def test_a_static_network_has_weights_and_activations_and_no_terms() -> None:
    network = lively(nchl.StaticMLP([3, 4, 2]))
    scope = Microscope(network)
    live(network, 3, scope)
    data = scope.recording()
    assert not data["plastic"]
    assert not any(layer["terms"] for layer in data["layers"])
    assert unpack(data["arrays"]["weights"]).shape == (3, 0)
    assert unpack(data["arrays"]["still"]).shape == (3 * 4 + 4 * 2,)
    last = unpack(data["arrays"]["activations"])[-1, 7:] / 127 * unpack(data["arrays"]["activation_scales"])[-1, 2]
    np.testing.assert_allclose(last, network.forward(torch.as_tensor(_last(3))).numpy(), atol=0.01)


def _last(steps: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return [random.standard_normal(3).astype(np.float32) for _ in range(steps)][-1]


@pytest.mark.parametrize("rule", ["nchl", "hl"])
def test_a_convolutional_network_shows_its_kernels(rule: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.Tanh())
    network = lively(nchl.from_module(module, (1, 6, 6), rule=rule))
    scope = Microscope(network)
    live(network, 3, scope)
    data = scope.recording()
    assert [layer["shape"] for layer in data["layers"]] == [(2, 1, 3, 3), (3, 8)]
    assert [layer["terms"] for layer in data["layers"]] == [(), tuple("ABCD")]
    assert [layer["synapses"] is not None for layer in data["layers"]] == [rule == "hl"] * 2
    assert unpack(data["arrays"]["change"])[:, 0].min() > 0


def decaying(pre: Any, post: Any, weight: Any, A_pre: Any, A_post: Any, decay_post: Any, eta_synapse: Any) -> Any:
    return eta_synapse * (A_pre * A_post * pre * post - decay_post * weight)


def test_a_rule_of_ones_own_shows_the_share_of_its_parameters() -> None:
    network = lively(nchl.PlasticMLP([2, 3, 1], decaying))
    scope = Microscope(network)
    before = [weight.clone().numpy() for weight in network.weights]
    live(network, 1, scope)
    activations = scope.view.activations()
    data = scope.recording()
    assert all(layer["terms"] == ("A", "decay", "eta") for layer in data["layers"])
    assert data["no_terms"] == []
    assert data["shares_title"] == "share of the parameters A, decay, eta"
    found = unpack(data["arrays"]["terms"])
    named = network.layout.unpack(network.genome)
    for k, (first, second) in enumerate((("input", "hidden0"), ("hidden0", "output"))):
        pre = dict(zip(network.layout.block(first).parameters, named[first].numpy().T, strict=True))
        post = dict(zip(network.layout.block(second).parameters, named[second].numpy().T, strict=True))
        eta = named[f"layer{k}"].numpy()[..., 0]
        total = np.zeros(3)
        for j, i in np.ndindex(before[k].shape):
            grows = pre["A"][i] * post["A"][j] * activations[k][i] * activations[k + 1][j]
            fades = post["decay"][j] * before[k][j, i]  # the weight before this step's update
            total += np.abs([eta[j, i] * grows, eta[j, i] * fades, eta[j, i] * (grows - fades)])
        np.testing.assert_allclose(found[0, k], total, rtol=1e-4)


def test_a_rule_of_one_parameter_says_why_there_are_no_shares() -> None:
    def oja(pre: Any, post: Any, weight: Any, eta_post: Any) -> Any:
        return eta_post * post * (pre - post * weight)

    network = lively(nchl.PlasticMLP([2, 3, 1], oja))
    scope = Microscope(network)
    live(network, 2, scope)
    data = scope.recording()
    assert not any(layer["terms"] for layer in data["layers"])
    assert data["no_terms"] == ["The rule oja has one parameter, eta: there are no shares of the change, only the total."]
    assert unpack(data["arrays"]["terms"]).shape == (2, 2, 0)
    assert unpack(data["arrays"]["change"]).max() > 0


def test_kernels_have_no_shares_and_the_linear_layers_behind_them_have() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3), nn.Tanh())
    network = lively(nchl.from_module(module, (1, 6, 6), rule=decaying))
    scope = Microscope(network)
    live(network, 2, scope)
    data = scope.recording()
    assert [bool(layer["terms"]) for layer in data["layers"]] == [False, True]
    assert data["no_terms"][0].startswith("Changes of kernels cannot be split by parameters")
    assert (unpack(data["arrays"]["terms"])[:, 1] > 0).all()


def test_a_life_that_ends_with_weights_beyond_all_bounds() -> None:
    network = lively(nchl.NcHL([2, 2]))
    scope = Microscope(network)
    live(network, 2, scope)
    network.weights[0][0, 0] = float("inf")
    scope.look(SimpleNamespace(step=2, reward=float("nan"), frame=None))
    data = scope.recording()
    json.dumps(data, allow_nan=False)
    assert data["total"] is None
    assert unpack(data["arrays"]["weights"])[-1, 0] == NOT_FINITE


def test_the_published_size_over_a_thousand_steps_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lively(nchl.NcHL([28, 128, 64, 8]), spread=0.1)
    scope = Microscope(network)
    live(network, 40, scope)
    each = len(json.dumps(scope.recording())) / 40
    assert each * scope_module.MOMENTS < 8e6  # incompressible weights, without frames


def test_a_network_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "BUDGET", 100)
    with pytest.raises(InvalidArgument, match="fit the page"):
        Microscope(nchl.NcHL([10, 10]))


def test_a_life_without_a_step_has_no_recording() -> None:
    with pytest.raises(InvalidArgument, match="any step"):
        Microscope(nchl.NcHL([2, 1])).recording()
