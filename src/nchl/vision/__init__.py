"""SoftHebb on images: layers, networks, data, and the experiment of unsupervised layers under a linear head."""

from __future__ import annotations

from nchl.vision.layers import SoftHebbConv2d, SoftHebbLinear, Triangle

__all__ = ["SoftHebbConv2d", "SoftHebbLinear", "Triangle"]
