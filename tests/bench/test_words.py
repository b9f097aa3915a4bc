"""The words of `nchl bench search`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nchl.bench.words import _KINDS, settings_of
from nchl.runs.settings.config import options


def test_words_are_settings_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["hidden=3x4", "recurrent=on", "env=frame_skip=2", "env=name=[1, 2]", "observe=a", "observe=b", "lr-schedule=cosine:9"]
    words += ["perturb=motor:0=0@5", "perturb=push:torso=300N@400+10", "perturb_training=lesions", "wrap=own.py:Mine", "rule=own.py:rule"]
    assert settings_of(words) == {
        "hidden": (3, 4),
        "recurrent": True,
        "env": {"frame_skip": 2, "name": [1, 2]},
        "observe": ("a", "b"),
        "lr_schedule": "cosine:9",
        "perturb": ("motor:0=0@5", "push:torso=300N@400+10"),
        "perturb_training": ("lesions",),
        "wrap": (f"{tmp_path / 'own.py'}:Mine",),
        "rule": f"{tmp_path / 'own.py'}:rule",
    }
    assert settings_of(["initial_genome=runs/a"]) == {"initial_genome": str(tmp_path / "runs" / "a")}
    assert settings_of(["initial_genome=zoo:cartpole-nchl"]) == {"initial_genome": "zoo:cartpole-nchl"}
    assert {each.kind for each in options()} <= set(_KINDS)
