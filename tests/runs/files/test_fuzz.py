"""A few hundred cases, always the same; `benchmarks/soak.py fuzz` plays thousands of new ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jaxtyping import config

pytest.importorskip("hypothesis")

from reference.fuzz import TARGETS, Workspace, fuzz

CASES = 500


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(autouse=True)
def _as_users_have_it() -> Iterator[None]:
    """Without the checks of shapes in annotations, which only tests make, and whose errors would hide ours."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_come_out(workspace: Workspace, name: str) -> None:
    played, refused = fuzz(name, -(-CASES // len(TARGETS)), workspace)
    assert played >= CASES // len(TARGETS) // 2
    assert refused > 0
