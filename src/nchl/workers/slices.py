"""How a generation is cut: whole blocks of neighbours, handed out as slices of several blocks.

Promise: a block follows from the size of the population alone, and no score depends on the cut. Every network steps an
individual with the same bits whoever shares the population (see `networks.graph.step`), and starts, weights and noise are
functions of the individual's index and the generation; so slices may have any length, and a lost one may go elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from nchl.strategies import Population

_BLOCKS, _LARGEST_BLOCK = 64, 64

SLICES_PER_WORKER = 2
"""Two, so that who is done early takes over; more would make the slices small, and small slices waste the simulator."""


@dataclass(frozen=True)
class Slice:
    """Individuals `start` to `stop`, the latter not included."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def block_size(population: int) -> int:
    """Individuals that always stay together: even, so that an antithetic pair's noise is drawn once; about 64 blocks in a population."""
    return min(_LARGEST_BLOCK, max(2, 2 * round(population / _BLOCKS / 2)))


def cut(population: int, pieces: int, largest: int | None = None) -> list[Slice]:
    """The population in slices of whole blocks, as equal as blocks allow; nobody is left alone.

    Args:
        population: individuals.
        pieces: wanted number of slices; fewer where there are fewer blocks.
        largest: individuals in a slice at most, where that is not less than a block; None: any number.
    """
    block = block_size(population)
    blocks = max(1, population // block)  # what is left over belongs to the last one
    if largest is not None:
        pieces = max(pieces, -(-population // max(largest - block + 1, block)))
    pieces = min(blocks, pieces)
    edges = [block * (blocks * piece // pieces) for piece in range(pieces)] + [population]
    return [Slice(start, stop) for start, stop in pairwise(edges)]


class Part:
    """A slice of a population, with rows counted from its own first individual."""

    def __init__(self, population: Population, slice_: Slice) -> None:
        self._population, self._slice = population, slice_

    def __len__(self) -> int:
        return len(self._slice)

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        """Individuals `start` to `stop` of the slice."""
        return self._population.rows(self._slice.start + start, self._slice.start + stop)
