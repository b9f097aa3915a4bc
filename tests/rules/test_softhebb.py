from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules import softhebb as soft_wta
from nchl.rules.softhebb import COMPETITIONS, SHARINGS, softhebb_conv
from reference.softhebb import softhebb_update


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", ["channel", "layer", "strided"])
def test_reference_vectors(golden: Path, name: str, sharing: str) -> None:
    vectors = np.load(golden / f"softhebb_{name}.npz")
    x, kernel = torch.from_numpy(vectors["inputs"]), torch.from_numpy(vectors["kernel"])
    settings = {
        "t_invert": float(vectors["t_invert"]),
        "stride": int(vectors["stride"]),
        "competition": str(vectors["competition"]),
        "sharing": sharing,
    }
    np.testing.assert_allclose(softhebb_conv(x, kernel, **settings), vectors[f"update_{sharing}"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(softhebb_conv(x.float(), kernel.float(), **settings), vectors[f"update_{sharing}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("competition", COMPETITIONS)
@pytest.mark.parametrize(("stride", "padding", "size"), [(1, 0, (4, 5)), (1, 1, (3, 4)), (2, 0, (5, 6)), (2, 2, (4, 3)), (3, 1, (5, 5))])
def test_equal_to_the_unrolled_loop(sharing: str, competition: str, stride: int, padding: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(stride + 10 * padding)
    x = torch.randn(2, 2, *size, generator=generator, dtype=torch.float64)
    kernel = torch.randn(3, 2, 3, 2, generator=generator, dtype=torch.float64)
    got = softhebb_conv(x, kernel, t_invert=0.8, stride=stride, padding=padding, competition=competition, sharing=sharing)
    np.testing.assert_allclose(got, softhebb_update(x, kernel, 0.8, stride, padding, competition, sharing), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_parameter_is_a_kernel_and_nothing_records_a_graph(sharing: str) -> None:
    kernel = nn.Conv2d(2, 3, 2).weight
    update = softhebb_conv(torch.rand(2, 2, 4, 4), kernel, 1.0, sharing=sharing)
    assert not update.requires_grad


@pytest.mark.parametrize("sharing", ["max", "min", "median"])
def test_chunks_change_nothing(sharing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, kernel = torch.randn(3, 4, 9, 8, generator=generator), torch.randn(7, 4, 3, 3, generator=generator)
    whole = softhebb_conv(x, kernel, 1.0, sharing=sharing)
    for size in (1, 1000, 3000):
        monkeypatch.setattr(soft_wta, "_CHUNK", size)
        torch.testing.assert_close(softhebb_conv(x, kernel, 1.0, sharing=sharing), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("competition", COMPETITIONS)
def test_ties_go_to_the_lowest_index_and_nothing_is_mutated(competition: str) -> None:
    u = torch.zeros(2, 4, 3)
    s = soft_wta.soft_wta(u, 1.0, competition)
    assert bool((u == 0).all())
    if competition == "channel":
        expected = torch.tensor([1.0, -1.0, -1.0]).expand(2, 4, 3) / 3
    else:
        expected = -torch.ones(2, 4, 3) / 12
        expected[:, 0, 0] *= -1
    torch.testing.assert_close(s, expected)


@pytest.mark.parametrize(("dtype", "units"), [(torch.bfloat16, 513), (torch.float16, 4097), (torch.float32, 513), (torch.float64, 513)])
def test_two_equal_maxima_have_one_winner_in_any_precision(dtype: torch.dtype, units: int) -> None:
    u = torch.zeros(1, 1, units, dtype=dtype)
    u[0, 0, [3, 300]] = 1.0
    assert (soft_wta.soft_wta(u, 1.0) > 0).nonzero().tolist() == [[0, 0, 3]]


def test_ties_in_a_layer_follow_channel_row_column() -> None:
    u = torch.zeros(1, 4, 2)
    u[0, 3, 0] = u[0, 0, 1] = 1.0  # (channel 0, last position) comes before (channel 1, first position)
    s = soft_wta.soft_wta(u, 1.0, "layer")
    assert (s > 0).nonzero().tolist() == [[0, 3, 0]]


def test_one_image_is_a_batch_of_one_and_memory_format_does_not_matter() -> None:
    x, kernel = torch.randn(1, 3, 6, 6, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    one = softhebb_conv(x[0], kernel, 1.0)
    last = softhebb_conv(x.to(memory_format=torch.channels_last), kernel.to(memory_format=torch.channels_last), 1.0)
    torch.testing.assert_close(one, softhebb_conv(x, kernel, 1.0), rtol=0, atol=0)
    torch.testing.assert_close(one, last, rtol=0, atol=1e-12)


def test_what_a_user_can_get_wrong() -> None:
    x, kernel = torch.zeros(2, 3, 5, 5), torch.zeros(4, 3, 3, 3)
    with pytest.raises(UnknownName, match="did you mean 'median'"):
        softhebb_conv(x, kernel, 1.0, sharing="medain")
    with pytest.raises(UnknownName, match="channel, layer"):
        softhebb_conv(x, kernel, 1.0, competition="row")
    with pytest.raises(ShapeError, match=r"\(2, 2, 5, 5\)"):
        softhebb_conv(x[:, :2], kernel, 1.0)
    with pytest.raises(ShapeError, match="at least 3x3"):
        softhebb_conv(x[..., :2], kernel, 1.0)
    with pytest.raises(InvalidArgument, match="t_invert"):
        softhebb_conv(x, kernel, 0.0)
    with pytest.raises(InvalidArgument, match="stride"):
        softhebb_conv(x, kernel, 1.0, stride=0)
