"""Networks as JSON: the same network again, and nothing but networks."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import nn

import nchl
from nchl.errors import InvalidArgument
from nchl.networks.activations import NAMES
from nchl.networks.contract.trial import Trial, begin, live
from nchl.networks.user import written


def conv() -> nn.Sequential:
    norm = nn.BatchNorm2d(4, eps=0.1)
    norm.running_mean = torch.arange(4.0)
    layers = [nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), norm, nn.LeakyReLU(0.3), nn.AvgPool2d(2, ceil_mode=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3), nn.Softplus(2.0, 5.0), nn.Linear(3, 2, bias=False), nn.Tanh())


NETWORKS = {
    "nchl": lambda: nchl.NcHL([3, 4, 2], recurrent=True, average="mean:3", every=2, trace=0.5, modulate="advantage:0.2", normalise="row"),
    "hl": lambda: nchl.HL([3, 4, 2], initial_weights="coevolved", dtype=torch.float64),
    "wnchl": lambda: nchl.WNcHL([3, 4, 2], window=3, dtype=torch.float64),
    "gru": lambda: nchl.StaticGRU([3, 4, 2], dtype=torch.float64),
    "static": lambda: nchl.StaticMLP([3, 4, 2]),
    "conv": lambda: nchl.from_module(conv(), (2, 7, 7), sharing="median", static=(7,)),
    "termwise, biases": lambda: nchl.from_module(conv(), (2, 7, 7), termwise=True, biases="evolve", average="ema:0.5"),
    "two rules": lambda: nchl.PlasticGraph(
        {"a": 3, "b": nchl.Group(4, activation=[nn.BatchNorm1d(4), nn.GELU("tanh")]), "c": 2},
        [("a", "b"), nchl.Edge("b", "c", rule="hl"), nchl.Edge("a", "c", rule="static", evolved=False), ("c", "b", 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_was_written_down_lives_the_same_life(name: str) -> None:
    net = NETWORKS[name]()
    about = json.loads(json.dumps(written.written(net)))
    made = written.read(about)
    made.load_constants(net.constants())
    assert (made.layout, made.dtype, made.input_shape) == (net.layout, net.dtype, net.input_shape)
    assert written.layout_digest(made.layout) == written.layout_digest(net.layout)
    assert written.written(made) == about
    trial, lives = Trial(net), []
    for each in (net, made):
        begin(each, trial.genome(1))
        lives.append(live(trial, each, 4))
    assert all(torch.equal(a, b) for a, b in zip(*lives, strict=True))
    assert written.read(about, population=3).population == 3


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_activation_is_written_with_its_settings(name: str) -> None:
    net = nchl.PlasticGraph({"a": 2, "b": nchl.Group(3, activation=NAMES[name]()), "c": 2}, [("a", "b"), ("b", "c")])
    made: Any = written.read(json.loads(json.dumps(written.written(net))))
    assert repr(made.graph.groups[1].modules) == repr(net.graph.groups[1].modules)


def test_what_holds_code_of_the_users_is_not_written() -> None:
    def rule(pre, post, eta_post):
        return eta_post * pre * post

    class Other(nchl.NcHL):
        def forward(self, x: Any) -> torch.Tensor:
            return -super().forward(x)

    class Preset(nchl.NcHL):
        def __init__(self) -> None:
            super().__init__([3, 2])

    assert written.written(nchl.PlasticMLP([3, 2], rule)) is None
    assert written.written(Other([3, 2])) is None
    assert written.written(nchl.NcHL([3, 2], differentiable=True)) is None
    assert written.written(Preset()) is not None
    assert Preset().populate(2).population == 2
    x = torch.ones(2, 3)
    other = Other([3, 2]).populate(2)
    plain = nchl.NcHL([3, 2]).populate(2)
    for net in (other, plain):
        begin(net, torch.ones(2, net.nparams))
    assert torch.equal(other.forward(x), -plain.forward(x))  # a subclass with a forward of its own keeps it in a population


def spoilt(change: Any) -> dict[str, Any]:
    about = json.loads(json.dumps(written.written(NETWORKS["conv"]())))
    change(about)
    return about


@pytest.mark.parametrize("change", [
    lambda a: a.update(kind="other"),
    lambda a: a.update(dtype="float16"),
    lambda a: a.pop("edges"),
    lambda a: a["settings"].update(backend="compiled"),
    lambda a: a["settings"].update(every="x"),
    lambda a: a["groups"][0].update(shape=[2, 7, -7]),
    lambda a: a["groups"][0].update(shape="2"),
    lambda a: a["groups"][1]["modules"][0].update({"class": "Softmax"}),
    lambda a: a["groups"][1]["modules"][1].update({"forward": 3}),
    lambda a: a["edges"][0]["module"].update(in_channels=3),
    lambda a: a["edges"][0]["module"].update(out_channels=1 << 40),
    lambda a: a["edges"][0].update(rule="FILE.py:NAME"),
    lambda a: a["edges"][0].update(pre=9),
    lambda a: a["edges"][0].update(pre=1),
    lambda a: a["edges"][-1]["module"].update(in_features=5),
])  # fmt: skip
def test_an_altered_description_is_refused(change: Any) -> None:
    about = spoilt(change)
    kept = copy.deepcopy(about)
    with pytest.raises(InvalidArgument):
        written.read(about)
    assert about == kept
