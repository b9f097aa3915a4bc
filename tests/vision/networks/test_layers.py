from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules.softhebb import softhebb_conv
from nchl.vision import SoftHebbConv2d, SoftHebbLinear, Triangle, TriangleMaxPool2d


@pytest.mark.parametrize("lr_rule", ["norm", "constant"])
@pytest.mark.parametrize("sharing", ["sum", "max", "median"])
def test_one_step_is_the_rule_divided_by_its_largest_value_times_the_units_rate(sharing: str, lr_rule: str) -> None:
    layer = SoftHebbConv2d(
        3, 5, 3, padding=1, padding_mode="reflect", t_invert=0.7, lr=0.02, lr_rule=lr_rule, sharing=sharing, dtype=torch.float64
    )
    x, before = torch.randn(4, 3, 6, 6, dtype=torch.float64), layer.weight.clone()
    output = layer(x)
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"))
    update = softhebb_conv(padded, before, 0.7, sharing=sharing)
    rate = 0.02 * (before.flatten(1).norm(dim=1) - 1).abs() ** 0.5 if lr_rule == "norm" else torch.full((5,), 0.02, dtype=torch.float64)
    torch.testing.assert_close(
        layer.weight, before + rate[:, None, None, None] * update / update.abs().max(), rtol=0, atol=1e-12, check_stride=False
    )
    # The output is that of the weights before the step.
    torch.testing.assert_close(output, nn.functional.conv2d(padded, before), rtol=0, atol=1e-12)


def test_learns_in_training_mode_only_and_without_any_gradient() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2, affine=False), SoftHebbConv2d(2, 4, 3), Triangle(0.7), nn.Flatten(), SoftHebbLinear(4 * 9, 6))
    x = torch.randn(3, 2, 5, 5)
    network.eval()
    before = [parameter.clone() for parameter in network.parameters()]
    first = network(x)
    torch.testing.assert_close(network(x), first, rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    network.train()
    network(x)
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_linear_is_the_one_position_convolution() -> None:
    linear = SoftHebbLinear(6, 4, t_invert=0.5, lr=0.1, dtype=torch.float64)
    conv = SoftHebbConv2d(6, 4, 1, t_invert=0.5, lr=0.1, dtype=torch.float64)
    conv.weight.data.copy_(linear.weight.data[:, :, None, None])
    x = torch.randn(7, 6, dtype=torch.float64)
    torch.testing.assert_close(linear(x), conv(x[:, :, None, None])[:, :, 0, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(linear.weight, conv.weight[:, :, 0, 0], rtol=0, atol=1e-12, check_stride=False)


def test_a_learner_below_gets_the_gradient_of_the_weights_before_the_step() -> None:
    below = nn.Conv2d(2, 3, 3, bias=False).double()
    above = SoftHebbConv2d(3, 4, 3, dtype=torch.float64)
    x, before = torch.randn(2, 2, 7, 7, dtype=torch.float64), above.weight.clone()
    (above(below(x)) ** 2).sum().backward()
    got = below.weight.grad
    below.zero_grad()
    (nn.functional.conv2d(below(x), before) ** 2).sum().backward()
    torch.testing.assert_close(got, below.weight.grad)
    assert not torch.equal(above.weight, before)


def test_the_norms_approach_one() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = SoftHebbConv2d(2, 8, 3, radius=5.0, lr=0.1, generator=generator)
    distances = []
    for _ in range(300):
        layer(torch.randn(10, 2, 8, 8, generator=generator))
        distances.append(float((layer.weight.flatten(1).norm(dim=1) - 1).abs().mean()))
    assert distances[0] > 3.5
    assert distances[-1] < 0.1


def test_nothing_moves_where_the_update_is_zero() -> None:
    layer = SoftHebbConv2d(1, 2, 1)
    before = layer.weight.clone()
    layer(torch.zeros(2, 1, 3, 3))
    assert torch.equal(layer.weight, before)


def test_state_and_initial_weights() -> None:
    layer = SoftHebbConv2d(16, 32, 3, generator=torch.Generator().manual_seed(3))
    again = SoftHebbConv2d(16, 32, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(layer.weight, again.weight)
    assert abs(float(layer.weight.flatten(1).norm(dim=1).mean()) - 25) < 0.5
    other = SoftHebbConv2d(16, 32, 3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.weight, other.weight)
    assert list(layer.state_dict()) == ["weight"]
    assert "competition=channel" in repr(layer)


def test_triangle() -> None:
    u = torch.tensor([[1.0, 2.0, 6.0]])[:, :, None, None]
    torch.testing.assert_close(Triangle(1.4)(u).flatten(), torch.tensor([0.0, 0.0, 3.0**1.4]))
    assert torch.equal(u.flatten(), torch.tensor([1.0, 2.0, 6.0]))
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    Triangle(0.7)(x).sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("window", [(4, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 1)])
def test_triangle_and_max_pooling_in_one_are_one_after_the_other(window: tuple[int, int, int], dtype: torch.dtype, training: bool) -> None:
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(3, 7, 9, 8, dtype=dtype).contiguous(memory_format=memory_format)
        before, wanted = x.clone(), nn.MaxPool2d(*window)(Triangle(0.7)(x))
        got = TriangleMaxPool2d(0.7, *window).train(training)(x)
        torch.testing.assert_close(got, wanted, check_stride=False)
        assert torch.equal(x, before)
    x[1, 2, 3, 4] = torch.nan
    assert torch.equal(TriangleMaxPool2d(0.7, *window).train(training)(x).isnan(), nn.MaxPool2d(*window)(Triangle(0.7)(x)).isnan())


def test_triangle_and_max_pooling_have_the_gradient_of_one_after_the_other() -> None:
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    (wanted,) = torch.autograd.grad(nn.MaxPool2d(4, 2, 1)(Triangle(0.7)(x)).square().sum(), x)
    (got,) = torch.autograd.grad(TriangleMaxPool2d(0.7, 4, 2, 1)(x).square().sum(), x)
    torch.testing.assert_close(got, wanted)
    assert bool(torch.isfinite(got).all())


def test_denormal_activations_do_not_reach_the_products() -> None:
    layer = SoftHebbConv2d(3, 64, 3, radius=200.0)
    from nchl.rules.softhebb import soft_wta

    s = soft_wta(layer.eval()(torch.randn(4, 3, 8, 8)).permute(0, 2, 3, 1).flatten(1, 2), 1.0)
    assert float(s.abs().min()) >= torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("sharing", ["sum", "max", "median"])
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_that_is_learned(sharing: str, low: torch.dtype) -> None:
    layers = [SoftHebbConv2d(3, 16, 5, sharing=sharing, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    linear = [SoftHebbLinear(12, 5, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    images, rows = torch.rand(4, 3, 9, 9), torch.rand(6, 12)
    with torch.autocast("cpu", dtype=low):
        layers[0](images)
        linear[0](rows)
    layers[1](images)
    linear[1](rows)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert torch.equal(linear[0].weight, linear[1].weight)


@pytest.mark.parametrize("sharing", ["sum", "max", "median"])
def test_bfloat16_weights_learn(sharing: str) -> None:
    layer = SoftHebbConv2d(3, 6, 3, sharing=sharing).bfloat16()
    before = layer.weight.clone()
    layer(torch.rand(2, 3, 6, 6, dtype=torch.bfloat16))
    assert layer.weight.dtype == torch.bfloat16
    assert bool(layer.weight.isfinite().all())
    assert not torch.equal(layer.weight, before)


def test_autograd_notices_that_the_weights_have_moved() -> None:
    layer = SoftHebbConv2d(2, 4, 3)
    x = torch.rand(1, 2, 5, 5, requires_grad=True)
    output = layer.eval()(x)
    layer.train()(x.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_a_weight_that_is_computed_from_others_does_not_learn_in_silence() -> None:
    for layer, x in ((SoftHebbConv2d(1, 2, 1), torch.rand(1, 1, 3, 3)), (SoftHebbLinear(3, 2), torch.rand(1, 3))):
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
        layer.eval()(x)
        with pytest.raises(InvalidArgument, match="remove_parametrizations"):
            layer.train()(x)


def test_what_a_user_can_get_wrong() -> None:
    with pytest.raises(UnknownName, match="padding mode"):
        SoftHebbConv2d(3, 4, 3, padding_mode="circular")
    with pytest.raises(UnknownName, match="learning rate rule"):
        SoftHebbConv2d(3, 4, 3, lr_rule="cosine")
    with pytest.raises(InvalidArgument, match="out_channels of at least 1, got 0"):
        SoftHebbConv2d(3, 0, 3)
    with pytest.raises(InvalidArgument, match="t_invert"):
        SoftHebbConv2d(3, 4, 3, t_invert=0)
    with pytest.raises(InvalidArgument, match="lr=inf"):
        SoftHebbConv2d(3, 4, 3, lr=float("inf"))
    with pytest.raises(ShapeError, match=r"\(batch, 3, height, width\)"):
        SoftHebbConv2d(3, 4, 3)(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="Flatten"):
        SoftHebbLinear(8, 4)(torch.zeros(2, 2, 4))
    with pytest.raises(InvalidArgument, match="power"):
        Triangle(0)
    with pytest.raises(InvalidArgument, match="power"):
        TriangleMaxPool2d(-1, 2, 2)
    with pytest.raises(InvalidArgument, match="padding=2"):
        TriangleMaxPool2d(1, 2, 2, 2)
    with pytest.raises(ShapeError, match="sides of at least 4"):
        TriangleMaxPool2d(1, 4, 2)(torch.zeros(2, 3, 3, 5))
