from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A folder of small images in four classes, as `nchl softhebb` takes it."""
    pytest.importorskip("datasets")
    from reference.images import cifar_like

    return str(cifar_like(tmp_path / "images"))
