"""SoftHebb on images: layers, networks, data, and the experiment of unsupervised layers under a linear head.

The names below are loaded when they are first used, so that the command line's help does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nchl.vision.layers import Power as Power
    from nchl.vision.layers import SoftHebbConv2d as SoftHebbConv2d
    from nchl.vision.layers import SoftHebbLinear as SoftHebbLinear
    from nchl.vision.layers import Triangle as Triangle

__all__ = ["Power", "SoftHebbConv2d", "SoftHebbLinear", "Triangle"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("nchl.vision.layers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
