"""One comparison for the tests of tables and figures."""

from __future__ import annotations

import pytest

from nchl.report.compare import Comparison, compare
from reference.comparison import write_run


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(5):
        write_run(folder / f"nchl-{seed}", [10.0, 50.0 + seed, 100.0 + seed], seed=seed, network="nchl")
        write_run(folder / f"hl-{seed}", [10.0, 20.0, 30.0 + seed], seed=seed, network="hl")
    write_run(folder / "alone", [10.0, 20.0, 1234567.0], network="wnchl")
    return compare([folder])
