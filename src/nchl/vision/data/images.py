"""`load_images`: labelled images from a Hugging Face data set, its files in a local folder, or a folder per class.

Unusable images and labels are errors that name the file or row. Images are decoded once, to one tensor of bytes.
"""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from nchl.errors import InvalidArgument, require
from nchl.seeds import Purpose, generator
from nchl.vision.data.locate import open_source
from nchl.vision.data.source import Row, Source, some


@dataclass(frozen=True)
class Images:
    """Images and their labels.

    Attributes:
        pixels: (images, 3, height, width), bytes.
        labels: (images,), indices of `ImageData.classes`.
    """

    pixels: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor | slice, device: torch.device | str = "cpu") -> Tensor:
        """A part of the images as float32 in [0, 1]."""
        return self.pixels[indices].to(device).to(torch.float32).div_(255)

    def select(self, indices: Tensor | slice) -> Images:
        """A part of the images with its labels."""
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageData:
    """A classification problem.

    Attributes:
        train: the training images.
        test: the test images, scored once at the end.
        classes: names of the classes, in the order of the labels.
        notes: decisions about the data, one sentence each.
    """

    train: Images
    test: Images
    classes: list[str]
    notes: list[str]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.train.pixels.shape
        return channels, height, width

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels and labels of both sets."""
        found = hashlib.sha256()
        for images in (self.train, self.test):
            found.update(f"{tuple(images.pixels.shape)} ".encode())
            found.update(images.pixels.numpy().data)
            found.update(images.labels.numpy().data)
        return found.hexdigest()


def load_images(
    data: str,
    *,
    convert: bool = False,
    skip_corrupt: bool = False,
    test_fraction: float | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Read a data set.

    Args:
        data: a local folder (parquet files with a column `img` or `image` and a column `label` or `fine_label`;
            a folder of `save_to_disk` of the package datasets; or images in one folder per class, optionally within `train`
            and `test`), or a name at Hugging Face; `cifar10` and `cifar100` are short names.
        convert: convert grey, transparent and palette images of 8 bits to RGB instead of refusing them.
        skip_corrupt: skip images that cannot be decoded.
        test_fraction: part of the images that becomes the test set, for data without a test set.
        limit: number of training images to use, drawn at random.
        seed: seed of both draws.

    Raises:
        InvalidArgument: the data cannot be used; the message says where, and what to do.
        MissingExtra: the packages for images are not installed.
    """
    if limit is not None and limit < 2:
        raise InvalidArgument(f"expected a limit of at least 2 training images, got {limit}")
    source = open_source(data)
    if source.test is None and test_fraction is None:
        raise InvalidArgument(f"{data} has no test set (no `test` split or folder); hold a part of the images out with --test-fraction 0.2")
    if source.test is not None and test_fraction is not None:
        raise InvalidArgument(f"{data} has a test set of its own; leave --test-fraction out")
    notes = list(source.notes)
    problems: list[str] = []
    decoded = {
        split: _decode(rows, split, source, convert=convert, problems=problems)
        for split, rows in (("train", source.train), ("test", source.test))
    }
    shown = some(problems, "; ")
    if problems and not skip_corrupt:
        raise InvalidArgument(f"{data}: {_counted(len(problems))} corrupt: {shown}. Repair them, or leave them out with --skip-corrupt")
    if problems:
        notes.append(f"left out because {_counted(len(problems))} corrupt: {shown}")
    classes, index = _classes(source, decoded["train"][1], notes)
    train = _images(data, "train", *decoded["train"], index)
    _several_classes(data, train.labels, classes, "all training images are", "add images of another")
    if test_fraction is not None:
        train, test = hold_out(train, test_fraction, seed)
        notes.append(f"{data} has no test set: {len(test)} images drawn with seed {seed} are held out as one")
    else:
        test = _images(data, "test", *decoded["test"], index)
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise InvalidArgument(
            f"{data}: training images are {_size(train.pixels)} and test images {_size(test.pixels)}; resize them to one size"
        )
    if limit is not None and limit < len(train):
        train = train.select(torch.from_numpy(np.sort(generator(seed, Purpose.TRAINING, 0, _LIMIT).permutation(len(train))[:limit])))
        _several_classes(data, train.labels, classes, f"the {limit} images drawn with seed {seed} are all", "take a larger --limit")
        notes.append(f"only {limit} of the training images are used")
    absent = [classes[number] for number in (torch.bincount(train.labels, minlength=len(classes)) == 0).nonzero().flatten()]
    if absent:
        notes.append(f"classes without a training image, kept all the same: {some(absent)}")
    return ImageData(train, test, classes, notes)


def hold_out(images: Images, fraction: float, seed: int) -> tuple[Images, Images]:
    """Split off a random part, for validation: (the rest, the part).

    Raises:
        InvalidArgument: a part would be empty, or the rest has one class.
    """
    part = round(len(images) * fraction)
    if not 0 < part < len(images):
        raise InvalidArgument(f"expected a fraction that leaves images on both sides, got {fraction} of {len(images)} images")
    order = torch.from_numpy(generator(seed, Purpose.VALIDATION, 0, _HOLD_OUT).permutation(len(images)))
    rest = images.select(order[part:].sort().values)
    if len(torch.unique(rest.labels)) < 2:
        raise InvalidArgument(
            f"expected a fraction that leaves images of at least two classes to learn from, but with {fraction} of {len(images)} images "
            f"held out, the remaining {len(rest)} are of one class; take a smaller fraction, or more images"
        )
    return rest, images.select(order[:part].sort().values)


# Only formats with pure decoders: others start programs (EPS starts Ghostscript).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

# Modes that convert to RGB with 8 bits without a loss except transparency; images of 16 bits would be clipped.
_CONVERTED = {"L": "grey", "1": "black and white", "LA": "grey with transparency", "RGBA": "transparent", "P": "a palette's"}

# Names of the streams of random numbers, see `nchl.seeds`.
_LIMIT, _HOLD_OUT = 1001, 1002


def _decode(
    rows: Iterable[Row] | None, split: str, source: Source, *, convert: bool, problems: list[str]
) -> tuple[list[np.ndarray], list[Any]]:
    """Decode one split; corrupt images are listed in `problems` and skipped."""
    pixels: list[np.ndarray] = []
    labels: list[Any] = []
    if rows is None:
        return pixels, labels
    library = require("PIL.Image", "vision")
    for row in rows:
        try:
            if not row.data:
                raise OSError("no bytes")
            with warnings.catch_warnings():
                warnings.simplefilter("error", library.DecompressionBombWarning)
                opened = library.open(io.BytesIO(row.data), formats=_FORMATS)
            with opened as image:
                if image.mode != "RGB" and not (convert and image.mode in _CONVERTED):
                    raise _not_rgb(row.place, image.mode)
                array = np.asarray(image.convert("RGB"))
        except InvalidArgument:
            raise
        # Decoders raise errors of many types for broken bytes (OSError, SyntaxError, ValueError, struct.error, ...).
        except Exception as error:
            known = type(error).__name__ != "UnidentifiedImageError"  # the message of that error contains a memory address
            problems.append(f"{row.place} ({type(error).__name__}: {error})" if known else f"{row.place} (of no known image format)")
            continue
        if pixels and array.shape != pixels[0].shape:
            first, here = (f"{height}x{width}" for height, width, _ in (pixels[0].shape, array.shape))
            raise InvalidArgument(
                f"{row.place}: expected {first} pixels as in the first image of the {split} set, got {here}; resize all images to one size"
            )
        pixels.append(array)
        labels.append(row.label)
    return pixels, labels


def _not_rgb(place: str, mode: str) -> InvalidArgument:
    kind = _CONVERTED.get(mode)
    if kind is None:
        return InvalidArgument(
            f"{place}: expected an RGB image, got mode {mode}, which --convert cannot turn into one; make them 8-bit RGB first"
        )
    return InvalidArgument(f"{place}: expected an RGB image, got mode {mode} ({kind}); turn all into RGB with --convert")


def _classes(source: Source, labels: list[Any], notes: list[str]) -> tuple[list[str], dict[str | int, int]]:
    """The names of the classes, and the index of each possible label.

    The names are those of the data set; otherwise the strings or numbers of the training labels, in order.
    """
    if source.classes is not None:
        # Numbers are indices of these classes.
        return source.classes, {key: place for place, name in enumerate(source.classes) for key in (name, place)}
    if all(isinstance(label, str) for label in labels):
        found = sorted(set(labels))
        return found, {name: place for place, name in enumerate(found)}
    odd = next((label for label in labels if not isinstance(label, int) or isinstance(label, bool)), None)
    if odd is not None:
        raise InvalidArgument(f"{source.name}: expected labels that are all whole numbers or all strings, got {odd!r} among them")
    numbers = sorted(set(labels))
    if numbers[0] < 0:
        raise InvalidArgument(
            f"{source.name}: expected labels that are whole numbers from 0, got label {numbers[0]} in the train set; many data sets mark "
            "images without a label so: leave those out, or number the classes from 0"
        )
    if numbers != list(range(len(numbers))):
        notes.append(f"the labels are not 0, 1, 2, ...: the {len(numbers)} classes are those that occur, {some(numbers)}")
    return [str(number) for number in numbers], {number: place for place, number in enumerate(numbers)}


def _images(data: str, split: str, pixels: list[np.ndarray], labels: list[Any], index: dict[str | int, int]) -> Images:
    if not pixels:
        raise InvalidArgument(f"{data}: the {split} set has no images")
    for label in labels:
        if not isinstance(label, int | str) or isinstance(label, bool) or label not in index:
            classes = len(set(index.values()))
            raise InvalidArgument(f"{data}: label {label!r} in the {split} set is none of the {classes} classes of the training set")
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Images(stacked, torch.tensor([index[label] for label in labels], dtype=torch.int64))


def _several_classes(data: str, labels: Tensor, classes: list[str], which: str, remedy: str) -> None:
    present = torch.unique(labels)
    if len(present) < 2:
        raise InvalidArgument(f"{data}: expected at least two classes, but {which} of class {classes[int(present[0])]!r}; {remedy}")


def _size(pixels: Tensor) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[3]}"


def _counted(images: int) -> str:
    return "1 image is" if images == 1 else f"{images} images are"
