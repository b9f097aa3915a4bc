"""How a generation is cut: whole blocks of neighbours, handed out as slices of several blocks.

Promise: a block follows from the size of the population alone, and no score depends on the cut. Every network steps an
individual with the same bits whatever else is in the population (see `networks.graph.step`), and starts, weights and noise are
functions of the individual's index and the generation; so slices may have any length, and a lost one may go elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float

_BLOCKS, _LARGEST_BLOCK = 64, 64

SLICES_PER_WORKER = 2
"""Two, so that a worker that is done early takes over; more would make the slices small, and small slices waste the simulator."""


class Rows(Protocol):
    """A population, or a slice of one."""

    def __len__(self) -> int:
        """Individuals."""
        ...

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        """The individuals `start` to `stop`, the latter not included."""
        ...


@dataclass(frozen=True)
class Slice:
    """Individuals `start` to `stop` of a population, the latter not included; its rows are counted from its own first individual."""

    population: Rows
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        """Individuals `start` to `stop` of the slice."""
        return self.population.rows(self.start + start, self.start + stop)


def block_size(population: int) -> int:
    """Individuals that always stay together: even, so that an antithetic pair's noise is drawn once; about 64 blocks in a population."""
    return min(_LARGEST_BLOCK, max(2, 2 * round(population / _BLOCKS / 2)))


def cut(population: Rows, pieces: int, largest: int | None = None) -> list[Slice]:
    """The population in slices of whole blocks, see `edges`."""
    return [Slice(population, *edge) for edge in pairwise(edges(len(population), pieces, largest))]


def edges(population: int, pieces: int, largest: int | None = None) -> list[int]:
    """Where slices of whole blocks begin and end, as equal as blocks allow; no slice has a single individual.

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
    return [block * (blocks * piece // pieces) for piece in range(pieces)] + [population]
