"""Simulators keep denormal numbers, and leave the flag as it was."""

from __future__ import annotations

import pytest
import torch

from nchl.simulators.arithmetic import simulator_arithmetic


@pytest.mark.parametrize("flushed", [False, True])
def test_denormals_are_kept_inside_and_the_flag_comes_back(flushed: bool) -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    torch.set_flush_denormal(flushed)
    try:
        tiny = torch.tensor([1e-310], dtype=torch.float64)
        with simulator_arithmetic():
            assert bool((tiny * 0.5 > 0).all())
        assert bool((tiny * 0.5 > 0).all()) is not flushed
    finally:
        torch.set_flush_denormal(False)
