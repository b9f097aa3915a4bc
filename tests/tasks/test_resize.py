"""Resizing against torch's antialiased interpolation, of any shape, and bits that depend on the picture alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nchl.rules.kernels.build import library
from nchl.tasks.resize import Resize

BOTH = ["torch", pytest.param("kernel", marks=pytest.mark.skipif(isinstance(library("resize"), str), reason="no C++ compiler"))]


def resizer(way: str, monkeypatch: pytest.MonkeyPatch, *arguments: object, **keywords: bool) -> Resize:
    if way == "torch":
        monkeypatch.setattr("nchl.tasks.resize.library", lambda name: "no C++ compiler")
    return Resize(*arguments, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("before", "after"),
    [((96, 96), (64, 64)), ((96, 96), (84, 84)), ((40, 61), (7, 90)), ((5, 5), (5, 5)), ((400, 600), (64, 64)), ((1, 2), (3, 1))],
)
def test_equal_to_torch(
    before: tuple[int, int], after: tuple[int, int], channels: int, channels_last: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (*before, channels) if channels_last else (channels, *before)
    pictures = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    got = resizer(way, monkeypatch, channels, before, after, channels_last=channels_last)(torch.from_numpy(pictures))
    frames = torch.from_numpy(pictures).double()
    frames = frames.permute(0, 3, 1, 2) if channels_last else frames
    wanted = torch.nn.functional.interpolate(frames.contiguous(), size=after, mode="bilinear", antialias=True, align_corners=False) / 255
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize("way", BOTH)
def test_bits_depend_on_the_picture_alone(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 96, 96, 3), dtype=np.uint8))
    resize = resizer(way, monkeypatch, 3, (96, 96), (64, 64), channels_last=True)
    together, before = resize(pictures), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(resize(pictures[2:7]), together[2:7])
        assert torch.equal(resize(pictures.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3))[8], together[8])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("channels_last", [False, True])
def test_pictures_that_are_wanted_have_the_bits_of_all(way: str, channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (7, *((40, 30, 2) if channels_last else (2, 40, 30))), dtype=np.uint8)
    )
    resize = resizer(way, monkeypatch, 2, (40, 30), (16, 20), channels_last=channels_last)
    active = torch.tensor([True, False, False, True, True, False, True])
    some = resize(pictures, active)
    assert torch.equal(some[active], resize(pictures)[active])
    assert torch.isfinite(some).all()
