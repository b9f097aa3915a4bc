"""Slices of a generation: several whole blocks of neighbouring individuals.

The blocks follow from the size of the population alone, and no score depends on the slices: a network steps an individual with the same
bits whatever else is in the population (see `networks.graph.step`), and starts, weights and noise are functions of the individual's index
and the generation. So slices may have any length, and a lost one can be evaluated by another worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float

_BLOCKS, _LARGEST_BLOCK = 64, 64

SLICES_PER_WORKER = 2
"""Two, so that a worker that finishes early takes over; with more, slices would be too small to fill the simulator."""


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
    """Individuals `start` to `stop` of a population, the latter not included; rows count from the slice's first individual."""

    population: Rows
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        """Individuals `start` to `stop` of the slice."""
        return self.population.rows(self.start + start, self.start + stop)


def block_size(population: int) -> int:
    """Individuals in a block: even, so that the noise of an antithetic pair is drawn once; a population has about 64 blocks."""
    return min(_LARGEST_BLOCK, max(2, 2 * round(population / _BLOCKS / 2)))


def cut(population: Rows, pieces: int, largest: int | None = None) -> list[Slice]:
    """The population in slices of whole blocks, see `edges`."""
    return [Slice(population, *edge) for edge in pairwise(edges(len(population), pieces, largest))]


def edges(population: int, pieces: int, largest: int | None = None) -> list[int]:
    """The edges of slices of whole blocks, as equal as blocks allow; no slice has a single individual.

    Args:
        population: individuals.
        pieces: wanted number of slices; fewer where there are fewer blocks.
        largest: most individuals in a slice, if it is not less than a block; None: any number.
    """
    block = block_size(population)
    blocks = max(1, population // block)  # the last one takes the rest
    if largest is not None:
        pieces = max(pieces, -(-population // max(largest - block + 1, block)))
    pieces = min(blocks, pieces)
    return [block * (blocks * piece // pieces) for piece in range(pieces)] + [population]
