"""`nchl bench softhebb`: the work of an epoch, and its share of a bare matrix product's speed."""

from __future__ import annotations

import json

import pytest

from nchl.bench.softhebb import measure
from nchl.cli import main
from nchl.cli.verbs.bench.softhebb import text


def test_it_counts_the_multiply_adds_of_the_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "softhebb", "--network", "softhebb-small", "--batch-size", "1", "--seconds", "0.01", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    # 2 x (32*75*32*32 + 128*288*16*16 + 512*1152*8*8): weighted sums and update
    assert result["multiply_adds_per_image"] == 2 * (32 * 75 * 1024 + 128 * 288 * 256 + 512 * 1152 * 64)
    assert result["ratio"] == pytest.approx(result["multiply_adds_per_s"] / result["matrix_product_multiply_adds_per_s"])


def test_a_sharing_is_measured_as_it_is_named() -> None:
    result = measure("softhebb-small", sharing="max", batch_size=1, seconds=0.0, threads=None)
    assert result["sharing"] == "max"
    assert text(result).startswith("softhebb-small, sharing max, batch 1")
