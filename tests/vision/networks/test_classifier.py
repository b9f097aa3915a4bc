from __future__ import annotations

import pytest
import torch
from torch import nn

from nchl.errors import UnknownName
from nchl.vision.networks.classifier import backprop_mode, build, until_last_learning
from nchl.vision.networks.layers import softhebb_layers


@pytest.mark.parametrize(
    ("name", "features", "weights"),
    [
        ("softhebb", 24_576, 96 * 75 + 384 * 864 + 1536 * 3456),
        ("softhebb-small", 8_192, 32 * 75 + 128 * 288 + 512 * 1152),
        ("thesis", 2_048, 32 * 75 + 128 * 288 + 512 * 1152),
    ],
)
def test_published_sizes(name: str, features: int, weights: int) -> None:
    classifier = build(name, (3, 32, 32), 10)
    assert classifier.features == features
    assert sum(layer.weight.numel() for layer in softhebb_layers(classifier)) == weights


def test_names_that_do_not_exist() -> None:
    for wrong in ({"sharing": "foo"}, {"competition": "foo"}):
        with pytest.raises(UnknownName, match=f"unknown {next(iter(wrong))} 'foo'"):
            build("softhebb-small", (3, 32, 32), 10, **wrong)


def test_published_initial_norms() -> None:
    norms = [float(layer.weight.flatten(1).norm(dim=1).mean()) for layer in softhebb_layers(build("softhebb", (3, 32, 32), 10))]
    assert all(abs(norm - 25) < 0.5 for norm in norms)
    rates = [float(layer.unit_lr().mean() / layer.lr) for layer in softhebb_layers(build("softhebb", (3, 32, 32), 10))]
    assert all(abs(rate - 4.9) < 0.05 for rate in rates)


def test_overrides_reach_all_layers_and_seeds_decide_the_weights() -> None:
    one = build("softhebb-small", (3, 32, 32), 10, seed=1, sharing="median", competition="layer", lr=0.01)
    for layer in softhebb_layers(one):
        assert (layer.sharing, layer.competition, layer.lr, layer.lr_rule) == ("median", "layer", 0.01, "constant")
    again, other = build("softhebb-small", (3, 32, 32), 10, seed=1), build("softhebb-small", (3, 32, 32), 10, seed=2)
    assert torch.equal(one.head.weight, again.head.weight)
    assert torch.equal(one.blocks[2][1].weight, again.blocks[2][1].weight)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_a_learning_step_computes_nothing_behind_the_last_layer() -> None:
    blocks = list(build("softhebb-small", (3, 32, 32), 10).blocks)
    assert not any(isinstance(module, nn.AvgPool2d) for _, module in until_last_learning(blocks))
    assert len(until_last_learning(blocks)) == 3 + 3 + 2


def test_backpropagation_reaches_all_weights_and_no_hebbian_step_is_left() -> None:
    classifier = build("softhebb-small", (3, 32, 32), 10)
    backprop_mode(classifier)
    classifier.train()
    before = [layer.weight.clone() for layer in softhebb_layers(classifier)]
    classifier(torch.rand(4, 3, 32, 32)).logsumexp(dim=1).sum().backward()
    for layer, old in zip(softhebb_layers(classifier), before, strict=True):
        assert torch.equal(layer.weight, old)
        assert layer.weight.grad is not None
        assert bool(torch.isfinite(layer.weight.grad).all())
        assert bool(layer.weight.grad.abs().max() > 0)


def test_an_unknown_network() -> None:
    with pytest.raises(UnknownName, match=r"FILE\.py:NAME"):
        build("resnet", (3, 32, 32), 10)
