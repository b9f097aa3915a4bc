"""The hand-written kernels of a SoftHebb step beside the torch functions that say what they must give."""

from __future__ import annotations

import pytest
import torch

from nchl.rules import softhebb as soft_wta
from nchl.rules.kernels import softhebb as kernels
from nchl.rules.softhebb import COMPETITIONS, SHARINGS
from nchl.vision import SoftHebbConv2d

pytestmark = pytest.mark.skipif(bool(kernels.unavailable()), reason=kernels.unavailable())

SIZES = [(10, 49, 32, 75), (2, 16, 7, 40), (3, 1, 5, 7), (1, 2, 6, 16), (4, 5, 3, 33)]  # batch, positions, units, fan-in


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("competition", COMPETITIONS)
@pytest.mark.parametrize("t_invert", [1.0, 0.65, 7.0])
def test_soft_winner_take_all(competition: str, t_invert: float) -> None:
    u = 10 * random(7, 33, 50)
    u[0, 0, 3] = u[0, 0, 7] = 99  # ties: at one position, and between positions
    u[1, 4, 2] = u[1, 2, 5] = u[1, 9, 2] = 88
    wanted, got = soft_wta.soft_wta(u, t_invert, competition), kernels.soft_wta(u, t_invert, competition)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)
    assert torch.equal(got > 0, wanted > 0)
    assert bool(((got > 0).sum(dim=-1 if competition == "channel" else (1, 2)) == 1).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_winner_has_the_largest_sum_however_near_the_second_is(dtype: torch.dtype) -> None:
    u = random(200, 1, 2).abs().to(dtype) + 1
    u[..., 1] = torch.nextafter(u[..., 0], torch.full_like(u[..., 0], torch.inf))
    found = [soft_wta.soft_wta(u, 0.65)] + ([kernels.soft_wta(u, 0.65, "channel")] if dtype == torch.float32 else [])
    for s in found:
        assert bool((s[..., 0] < 0).all())
        assert bool((s[..., 1] > 0).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_spreads_over_its_competitors_only(value: float) -> None:
    u = random(2, 3, 20)
    u[1, 2, 4] = value
    got = kernels.soft_wta(u, 1.0, "channel")
    assert bool(got[1, 2].isnan().all())
    assert int(got.isnan().sum()) == 20


def test_what_is_not_float32_is_refused_instead_of_read_as_such() -> None:
    with pytest.raises(TypeError, match="bfloat16"):
        kernels.soft_wta(random(1, 2, 3).bfloat16(), 1.0, "channel")


@pytest.mark.parametrize("sharing", ["max", "min", "median"])
@pytest.mark.parametrize("size", SIZES)
def test_sharing(size: tuple[int, int, int, int], sharing: str) -> None:
    batch, positions, units, fan_in = size
    patches, weights = random(batch, positions, fan_in), random(units, fan_in, seed=1)
    u = patches @ weights.T
    s = soft_wta.soft_wta(u, 0.1)
    wanted = soft_wta.shared_update(patches, u, s, weights, sharing)
    torch.testing.assert_close(kernels.shared_update(patches, u, s, weights, sharing), wanted, rtol=1e-5, atol=1e-5)
    patches[0, 0, 3] = float("nan")
    wanted = soft_wta.shared_update(patches, u, s, weights, sharing).isnan()
    assert torch.equal(kernels.shared_update(patches, u, s, weights, sharing).isnan(), wanted)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (1, 5, 3, 4)])
def test_patches(shape: tuple[int, int, int, int], stride: int) -> None:
    for x in (random(*shape), random(*shape).to(memory_format=torch.channels_last)):
        wanted, size = soft_wta.unfold(x, (3, 2), stride)
        got, same = soft_wta.unfold(x, (3, 2), stride, kernel=True)
        assert size == same
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("lr_rule", ["norm", "constant"])
@pytest.mark.parametrize("padding_mode", ["reflect", "zeros"])
def test_a_layer_learns_the_same_with_and_without(sharing: str, lr_rule: str, padding_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def learned() -> tuple[torch.Tensor, torch.Tensor]:
        layer = SoftHebbConv2d(
            5, 12, 3, padding=1, padding_mode=padding_mode, lr=0.05, lr_rule=lr_rule, sharing=sharing,
            generator=torch.Generator().manual_seed(2),
        )  # fmt: skip
        for step in range(3):
            y = layer(random(4, 5, 8, 9, seed=step))
        return layer.weight.detach(), y

    with_kernels = learned()
    monkeypatch.setattr(kernels, "serve", lambda *_: False)
    for one, other in zip(with_kernels, learned(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)


def test_threads_change_no_bit() -> None:
    patches, weights = random(4, 30, 70), random(9, 70, seed=1)
    u = patches @ weights.T
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        s = kernels.soft_wta(u, 0.5, "channel")
        moved = weights.clone()
        kernels.move_(moved, s.flatten(0, 1).T[:, :70].contiguous(), 0.1, 0.5, by_norm=True)
        results.append([s, kernels.shared_update(patches, u, s, weights, "median"), moved])
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for result in results for one, other in zip(result, results[0], strict=True))


def test_doubles_and_layers_stored_otherwise_take_the_torch_functions() -> None:
    layer = SoftHebbConv2d(3, 4, 3, dtype=torch.float64)
    start = layer.weight.clone()
    layer(random(2, 3, 5, 5).double())
    assert not torch.equal(layer.weight, start)
    layer = SoftHebbConv2d(3, 4, 3)
    layer.weight.data = layer.weight.detach().contiguous()
    start = layer.weight.clone()
    layer(random(2, 3, 5, 5))
    assert not torch.equal(layer.weight, start)
