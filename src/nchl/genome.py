"""The named layout of a genome: names for the slices of the flat vector that evolution sees.

Promise: a block name is a slice, `"block.parameter"` is a strided slice, and `pack` and `unpack` are each other's inverse.
No other module counts offsets.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, UnknownName


@dataclass(frozen=True)
class Block:
    """One named slice of the genome.

    Attributes:
        name: for example `"hidden0"`.
        start: index of its first number in the genome.
        stop: index after its last number.
        shape: the block as a tensor, row-major; its last axis runs over `parameters` where there are any.
        parameters: names along the last axis, for example `("A", "C", "D", "eta")`; empty for plain weights.
    """

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    parameters: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


class Layout:
    """An ordered sequence of named blocks that fill a flat vector without gaps.

    Example:
        >>> layout = Layout([("input", (2, 4), ("A", "C", "D", "eta")), ("output", (1, 4), ("B", "C", "D", "eta"))])
        >>> layout.size, layout["output"], layout["input.C"]
        (12, slice(8, 12, None), slice(1, 8, 4))
    """

    def __init__(self, blocks: Iterable[tuple[str, tuple[int, ...], tuple[str, ...]]]) -> None:
        """Lay the blocks one after the other.

        Args:
            blocks: (name, shape, parameters) of each, in the order of the vector; `parameters` may be empty.

        Raises:
            InvalidArgument: a name comes twice, or the last axis is not as long as `parameters`.
        """
        placed: dict[str, Block] = {}
        start = 0
        for name, shape, parameters in blocks:
            if name in placed:
                raise InvalidArgument(f"a genome's block names must differ, got {name!r} twice")
            if parameters and shape[-1] != len(parameters):
                raise InvalidArgument(
                    f"block {name!r}: the last axis of {shape} must run over the {len(parameters)} parameters {parameters}"
                )
            stop = start + math.prod(shape)
            placed[name] = Block(name, start, stop, tuple(shape), tuple(parameters))
            start = stop
        self._blocks = placed
        self.size = start

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in the order of the vector."""
        return tuple(self._blocks.values())

    def block(self, name: str) -> Block:
        """The block of that name.

        Raises:
            UnknownName: there is none.
        """
        if name not in self._blocks:
            raise UnknownName("genome block", name, self._blocks)
        return self._blocks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._blocks

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.blocks == other.blocks

    def __hash__(self) -> int:
        return hash(self.blocks)

    def __repr__(self) -> str:
        return f"Layout({self.size} numbers: {', '.join(f'{block.name} {block.shape}' for block in self.blocks)})"

    def __getitem__(self, name: str) -> slice:
        """The slice of `"block"`, or the strided slice of `"block.parameter"`.

        Raises:
            UnknownName: no such block, or the block has no such parameter.
        """
        block_name, _, parameter = name.partition(".")
        block = self.block(block_name)
        if not parameter:
            return slice(block.start, block.stop)
        if parameter not in block.parameters:
            raise UnknownName(f"parameter of genome block {block_name!r}", parameter, block.parameters)
        return slice(block.start + block.parameters.index(parameter), block.stop, len(block.parameters))

    def unpack(self, flat: Shaped[Tensor, "*lead size"]) -> dict[str, Shaped[Tensor, "*_shape"]]:
        """Unpack flat vectors into named tensors of shape `(*lead, *block.shape)`; views where possible.

        Raises:
            ShapeError: the last axis is not `size` long.
        """
        if flat.shape[-1] != self.size:
            raise ShapeError(f"expected a genome of {self.size} numbers, got shape {tuple(flat.shape)}")
        return {b.name: flat[..., b.start : b.stop].reshape(*flat.shape[:-1], *b.shape) for b in self.blocks}

    def pack(self, named: Mapping[str, Shaped[Tensor, "*_shape"]]) -> Shaped[Tensor, "*lead size"]:
        """Pack named tensors `(*lead, *block.shape)` into flat vectors `(*lead, size)`; the inverse of `unpack`.

        Raises:
            UnknownName: a name that is no block.
            ShapeError: a block is missing or has another shape, or two have different leading axes.
        """
        for name in named:
            self.block(name)
        pieces: list[Tensor] = []
        for b in self.blocks:
            if b.name not in named:
                raise ShapeError(f"block {b.name!r} of shape {b.shape} is missing; give all of {', '.join(self._blocks)}")
            tensor = named[b.name]
            lead = tensor.ndim - len(b.shape)
            if lead < 0 or tuple(tensor.shape[lead:]) != b.shape:
                raise ShapeError(f"block {b.name!r}: expected shape (..., {', '.join(map(str, b.shape))}), got {tuple(tensor.shape)}")
            pieces.append(tensor.reshape(*tensor.shape[:lead], b.size))
            if pieces[-1].shape[:-1] != pieces[0].shape[:-1]:
                raise ShapeError(
                    f"block {b.name!r}: expected the leading axes of {self.blocks[0].name!r}, {tuple(pieces[0].shape[:-1])}, got "
                    f"{tuple(pieces[-1].shape[:-1])} in {tuple(tensor.shape)}"
                )
        return torch.cat(pieces, dim=-1)

    def describe(self) -> str:
        """A table: block, slice, shape, parameters, and the total."""
        rows = [("block", "from", "to", "shape", "parameters")]
        for b in self.blocks:
            plain = "biases" if b.name.startswith("biases") else "weights"
            rows.append((b.name, str(b.start), str(b.stop), " x ".join(map(str, b.shape)), " ".join(b.parameters) or plain))
        rows.append(("total", "0", str(self.size), "", ""))
        return table(rows, right=(1, 2))


def table(rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """Rows as lines with aligned columns; the columns in `right` are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [cell.rjust(width) if k in right else cell.ljust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)
