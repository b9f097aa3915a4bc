"""SoftHebb on images: layers, networks, data, and the experiment of unsupervised layers under a linear head.

The names below are loaded when they are first used, so that the command line's help does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nchl.vision.networks.layers import SoftHebbConv2d as SoftHebbConv2d
    from nchl.vision.networks.layers import SoftHebbLinear as SoftHebbLinear
    from nchl.vision.networks.triangle import Triangle as Triangle
    from nchl.vision.networks.triangle import TriangleMaxPool2d as TriangleMaxPool2d

__all__ = ["SoftHebbConv2d", "SoftHebbLinear", "Triangle", "TriangleMaxPool2d"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "triangle" if name.startswith("Triangle") else "layers"
        return getattr(importlib.import_module(f"nchl.vision.networks.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
