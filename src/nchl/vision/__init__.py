"""SoftHebb on images: layers, networks, data, and the experiment of unsupervised layers under a linear head.

The names below are loaded when they are first used, so that the command line's help does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nchl import lazy

if TYPE_CHECKING:
    from nchl.vision.networks.layers import SoftHebbConv2d as SoftHebbConv2d
    from nchl.vision.networks.layers import SoftHebbLinear as SoftHebbLinear
    from nchl.vision.networks.triangle import Triangle as Triangle
    from nchl.vision.networks.triangle import TriangleMaxPool2d as TriangleMaxPool2d

__all__ = ["SoftHebbConv2d", "SoftHebbLinear", "Triangle", "TriangleMaxPool2d"]

_HOMES = {
    "SoftHebbConv2d": "networks.layers",
    "SoftHebbLinear": "networks.layers",
    "Triangle": "networks.triangle",
    "TriangleMaxPool2d": "networks.triangle",
}

__getattr__, __dir__ = lazy.names(__name__, _HOMES)
