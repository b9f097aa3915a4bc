"""Numbers, times, sizes and settings as every verb tells them."""

from __future__ import annotations

import math

import pytest

from nchl.report.formatting import duration, figure, reason, setting, size


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234567.8, "1,234,568"),
        (512.34, "512.3"),
        (0.012345, "0.0123"),
        (-3.0, "-3"),
        (math.nan, "-"),
        (-math.inf, "-"),
        (None, "-"),
    ],
)
def test_figures(value: float | None, said: str) -> None:
    assert figure(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5_900, "98 min"),
        (12_000, "3 h 20 min"),
        (360_000, "100 h 00 min"),
        (math.nan, "-"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_sizes_settings_and_reasons() -> None:
    assert [size(mebibytes) for mebibytes in (0.0005, 0.03, 12.0)] == ["524 B", "31 kB", "12.6 MB"]
    assert [setting(value) for value in (True, False, (10, 4), (), 0.5)] == ["on", "off", "10 4", "none", "0.5"]
    assert setting((10, 4), "x") == "10x4"
    assert setting(("none", "lesion:weights=0.5"), "x") == "none | lesion:weights=0.5"
    assert reason("generations") == "all generations are done"
    assert reason("something else") == "see summary.json"
