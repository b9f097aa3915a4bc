"""`reproduce/run_exp.py`, and the lines of `nchl` that it would run."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "reproduce"))
    return importlib.import_module("run_exp")


@pytest.fixture
def called(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    lines: list[list[str]] = []

    def main(words: list[str]) -> int:
        lines.append(words)
        return 0

    monkeypatch.setattr(script, "main", main)
    return lines
