"""`Classifier`, SoftHebb blocks with a linear head; `build` makes the published networks and those of users.

A block is BatchNorm without affine parameters, a SoftHebb convolution, Triangle, and a pooling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nchl.errors import InvalidArgument, NchlError, UnknownName
from nchl.rules.declaration import load_object
from nchl.rules.softhebb import check_names
from nchl.seeds import Purpose, weights_seed
from nchl.vision.networks.layers import SoftHebbConv2d, softhebb_layers
from nchl.vision.networks.triangle import Triangle, TriangleMaxPool2d


@dataclass(frozen=True)
class Block:
    """One block of a published network; `pool` is (kind, size, stride, padding)."""

    channels: int
    kernel_size: int
    padding: int
    t_invert: float
    lr: float
    power: float
    pool: tuple[str, int, int, int]


_MAX, _AVERAGE = ("max", 4, 2, 1), ("average", 2, 2, 0)


def _official(first: int, second: int, third: int, paddings: tuple[int, int, int]) -> tuple[Block, ...]:
    """The three-layer recipe of the ICLR paper for CIFAR, for any widths (recipes of its `demo.py`)."""
    return (
        Block(first, 5, paddings[0], 1.0, 0.08, 0.7, _MAX),
        Block(second, 3, paddings[1], 0.65, 0.005, 1.4, _MAX),
        Block(third, 3, paddings[2], 0.25, 0.01, 1.0, _AVERAGE),
    )


# The thesis: its widths, no padding, softmax over the whole layer, one constant learning rate, weights with the variance of
# U(-0.1, 0.1). Its published code loses the Triangle's powers and rewards the weakest unit; both are corrected here.
_PRESETS: dict[str, tuple[tuple[Block, ...], dict[str, Any]]] = {
    "softhebb": (_official(96, 384, 1536, (2, 1, 1)), {"padding_mode": "reflect"}),
    "softhebb-small": (_official(32, 128, 512, (2, 1, 1)), {"padding_mode": "reflect"}),
    "thesis": (
        (Block(32, 5, 0, 1.0, 0.005, 0.7, _MAX), Block(128, 3, 0, 1.0, 0.005, 1.4, _MAX), Block(512, 3, 0, 1.0, 0.005, 1.0, _AVERAGE)),
        {"lr_rule": "constant", "competition": "layer", "half_width": 0.1},
    ),
}


class Classifier(nn.Module):
    """Blocks that learn without labels, and a linear head that learns with them.

    Args:
        blocks: maps images to features; `--layerwise` trains its children one after the other.
        image_shape: (channels, height, width).
        classes: outputs of the head.
    """

    def __init__(self, blocks: nn.Sequential, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.blocks = blocks
        blocks.eval()  # in training mode the probe would learn
        with torch.no_grad():
            try:
                probe = blocks(torch.zeros(1, *image_shape))
            except NchlError:
                raise
            except Exception as error:  # a user's module may raise anything
                raise InvalidArgument(f"the network cannot take images of shape {image_shape}: {type(error).__name__}: {error}") from error
        self.head = nn.Linear(probe.flatten(1).shape[1], classes)

    @property
    def features(self) -> int:
        """Number of features per image."""
        return self.head.in_features

    def extract(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """The features of images."""
        features: Tensor = self.blocks(x)
        return features.flatten(1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Scores of the classes."""
        scores: Tensor = self.head(self.extract(x))
        return scores


def build(
    network: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    seed: int = 0,
    sharing: str | None = None,
    competition: str | None = None,
    lr: float | None = None,
) -> Classifier:
    """A network by name, `thesis`, `softhebb` or `softhebb-small`, or by `FILE.py:NAME`.

    Args:
        network: the function NAME in a file is called with `image_shape` and returns an `nn.Sequential` of blocks.
        image_shape: (channels, height, width).
        classes: number of outputs of the head.
        seed: of all initial weights.
        sharing: replaces the network's own in all SoftHebb layers.
        competition: likewise.
        lr: a constant learning rate, likewise.

    Raises:
        UnknownName: no such network, sharing or competition.
        InvalidArgument: the file has no such function, or the images are too small.
    """
    check_names(competition or "channel", sharing or "sum")
    # A user's function may draw from torch's global generator, which the fork restores afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(seed, Purpose.INITIAL_CENTRE, 0, 0))
        if ":" in network:
            made: Any = load_object(network, "a network")(image_shape)
            if not isinstance(made, nn.Sequential):
                raise InvalidArgument(f"{network} must return an nn.Sequential of blocks, got {type(made).__name__}")
            blocks = made if _is_chain(made) else nn.Sequential(made)
        elif network in _PRESETS:
            blocks = _preset(network, image_shape)
        else:
            raise UnknownName("network", network, [*_PRESETS, "FILE.py:NAME"])
        classifier = Classifier(blocks, image_shape, classes)
    shared = [name for name, value in (("--sharing", sharing), ("--competition", competition)) if value is not None]
    if shared and not any(isinstance(layer, SoftHebbConv2d) for layer in softhebb_layers(classifier)):
        raise InvalidArgument(f"{' and '.join(shared)}: {network} has no SoftHebbConv2d, whose positions share weights; leave it out")
    for layer in softhebb_layers(classifier):
        if lr is not None:
            layer.lr, layer.lr_rule = lr, "constant"
        if isinstance(layer, SoftHebbConv2d):
            layer.sharing, layer.competition = sharing or layer.sharing, competition or layer.competition
    if not softhebb_layers(classifier):
        raise InvalidArgument(f"{network} has no SoftHebb layer; use nchl.vision.SoftHebbConv2d or SoftHebbLinear in it")
    return classifier


@contextmanager
def naming(block: int, module: nn.Module, images: int, option: str) -> Iterator[None]:
    """Turn an exception of a block in a training step into one that names the block; a block of the user's may raise anything.

    Args:
        block: index of the block.
        module: the block, or the part of it that is called.
        images: number of images of the step.
        option: the option that gives this number.

    Raises:
        InvalidArgument: the block raised an exception.
    """
    try:
        yield
    except (NchlError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        counted, hint = ("1 image", f"use {option} 2 or more, or change") if images == 1 else (f"{images} images", "change")
        raise InvalidArgument(
            f"block {block + 1} of the network ({type(module).__name__}) failed in a training step of {counted}: "
            f"{type(error).__name__}: {error}; {hint} this block"
        ) from error


def backprop_mode(classifier: Classifier) -> None:
    """Let all SoftHebb layers learn by gradients, with initial weights for rectifiers (He et al.)."""
    for layer in softhebb_layers(classifier):
        layer.plastic = False
        norm = torch.linalg.vector_norm(layer.weight.flatten(1), dim=1).square().mean().sqrt()
        with torch.no_grad():
            layer.weight.mul_(math.sqrt(2.0) / norm)
        layer.weight.requires_grad_(True)


def until_last_learning(blocks: list[nn.Module]) -> list[tuple[int, nn.Module]]:
    """The modules of a chain of blocks up to the last one that changes in training, each with the index of its block.

    A learning step needs no others.
    """
    flat = [(index, module) for index, block in enumerate(blocks) for module in (block if _is_chain(block) else [block])]
    last = max((place for place, (_, module) in enumerate(flat) if learns(module)), default=-1)
    return flat[: last + 1]


def learns(module: nn.Module) -> bool:
    """Whether a forward pass in training mode changes the module (SoftHebb layers, or buffers such as BatchNorm's statistics)."""
    return bool(softhebb_layers(module)) or next(module.buffers(), None) is not None


def _is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether the module is a plain sequence of its children; a subclass may override `forward`."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _preset(network: str, image_shape: tuple[int, int, int]) -> nn.Sequential:
    recipe, given = _PRESETS[network]
    channels, blocks = image_shape[0], []
    for block in recipe:
        settings = given | {"padding": block.padding, "t_invert": block.t_invert, "lr": block.lr}
        half_width = settings.pop("half_width", None)
        if half_width is not None:
            settings["radius"] = half_width * math.sqrt(channels * block.kernel_size**2 / 3)
        layer = SoftHebbConv2d(channels, block.channels, block.kernel_size, **settings)
        kind, size, stride, padding = block.pool
        pooling: list[nn.Module] = [TriangleMaxPool2d(block.power, size, stride, padding)]
        if kind == "average":
            pooling = [Triangle(block.power), nn.AvgPool2d(size, stride, padding)]
        blocks.append(nn.Sequential(nn.BatchNorm2d(channels, affine=False), layer, *pooling))
        channels = block.channels
    return nn.Sequential(*blocks)
