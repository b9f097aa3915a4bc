"""`nchl bench step` measures every rule, and a user's own, beside the naive code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nchl.bench.step import IN_TIME, RULES
from nchl.cli import main

RULE = """
def oja(pre, post, weight, rate_post):
    return rate_post * post * (pre - post * weight)
"""


def test_it_measures_every_rule_and_one_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(RULE)
    place = f"{tmp_path / 'mine.py'}:oja"
    words = ["bench", "step", "--nodes", "3", "4", "2", "--population", "2", "--repeats", "1", "--rule", place]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["rules"]) == [*RULES, *IN_TIME, place]
    assert all(row["speedup"] == pytest.approx(row["naive_us"] / row["step_us"]) for row in result["rules"].values())
    assert result["rules"]["nchl"]["weights"] == 3 * 4 + 4 * 2
    assert result["rules"]["nchl recurrent"]["weights"] == 3 * 4 + 4 * 4 + 4 * 2
