"""The two published convolutional networks for CarRacing, for any image size and number of outputs.

Both: conv (channels -> 6, 3 x 3), tanh, max pool 2, conv (6 -> 8, 5 x 5, stride 2), tanh, max pool 2, linear 128, tanh, linear 64,
tanh, linear. In `conv-thesis` every layer has the neuron-centric rule (173,284 parameters for 3 x 64 x 64 and 3 outputs). In
`conv-hml` (Najarro and Risi) the convolutions are static and evolved, and the linear layers have the ABCD rule (456,640 + 1,362
parameters for 3 x 84 x 84 and 3 outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from nchl.errors import ShapeError
from nchl.networks.conv.from_module import from_module
from nchl.networks.plastic_graph import PlasticGraph


def carracing(input_shape: tuple[int, ...], output_size: int) -> nn.Sequential:
    """The sequential that both networks share, without biases.

    Args:
        input_shape: (channels, height, width) of the image.
        output_size: number of outputs.

    Raises:
        ShapeError: not an image, or one that is too small for the layers.
    """
    if len(input_shape) != 3:
        raise ShapeError(f"a convolutional network takes images (channels, height, width), got {input_shape}; choose an MLP")
    height, width = (((n - 2) // 2 - 5) // 2 + 1 for n in input_shape[1:])
    if min(height, width) < 2:
        raise ShapeError(
            f"the layers need an image of at least 16 x 16, got {input_shape[1]} x {input_shape[2]} (of {input_shape}): give a larger image"
        )
    flat = 8 * (height // 2) * (width // 2)
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 6, 3, bias=False),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 5, stride=2, bias=False),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 128, bias=False),
        nn.Tanh(),
        nn.Linear(128, 64, bias=False),
        nn.Tanh(),
        nn.Linear(64, output_size, bias=False),
    )


def conv_thesis(input_shape: tuple[int, ...], output_size: int, **options: Any) -> PlasticGraph:
    """The thesis's network, with every layer plastic. Options as `from_module`."""
    return from_module(carracing(input_shape, output_size), input_shape, **options)


def conv_hml(input_shape: tuple[int, ...], output_size: int, **options: Any) -> PlasticGraph:
    """Najarro and Risi's network: static evolved convolutions and plastic linear layers, by default with the rule HL."""
    return from_module(carracing(input_shape, output_size), input_shape, **{"rule": "hl", "static": (0, 3), **options})


PRESETS: dict[str, Callable[..., PlasticGraph]] = {"conv-thesis": conv_thesis, "conv-hml": conv_hml}
