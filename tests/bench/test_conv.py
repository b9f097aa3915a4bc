"""`nchl bench conv` measures every sharing in both forms, beside its yardsticks."""

from __future__ import annotations

import json

import pytest

from nchl.cli import main


@pytest.mark.slow
def test_it_measures_every_sharing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "conv", "--population", "2", "--image", "20", "--repeats", "1"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["sharing"], row["termwise"]) for row in result["rows"]] == [
        (s, t) for s in ("max", "min", "median", "mean") for t in (False, True)
    ]
    assert all(row["step_ms"] > 0 and row["mb_per_agent"] < 4 for row in result["rows"])
    assert result["small"]["ratio"] > 0
    assert main(["bench", "conv", "--population", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
