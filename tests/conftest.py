"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# Shapes in annotations are checked in tests alone. The rules and networks/graph/step.py are left out: torch.compile must see through them.
CHECKED = ["nchl.genome", "nchl.networks.base", "nchl.networks.mlp", "nchl.networks.gru", "nchl.networks.weightless"]
install_import_hook(CHECKED, "beartype.beartype")

# Tests that are started in the background, or under nohup, have these ignored, and so would every process that a test starts and
# then interrupts.
for _name in ("SIGINT", "SIGHUP", "SIGTERM"):
    _signal = getattr(signal, _name, None)
    if _signal is not None and signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

GOLDEN = Path(__file__).resolve().parent / "data" / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference vectors."""
    assert GOLDEN.is_dir(), f"the reference vectors are not at {GOLDEN}; they are part of the repository"
    return GOLDEN


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """A rollout flushes denormal numbers to zero in its thread; the next test begins with them again."""
    yield
    torch.set_flush_denormal(False)
