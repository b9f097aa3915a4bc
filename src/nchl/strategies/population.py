"""The individuals of one generation, made on demand, with the same bits in every process.

`row i = centre + sigma * noise(run seed, generation, i)`: a few numbers and one or two vectors describe a population of any size,
so ten thousand individuals of 173,284 numbers never exist at once, and a worker gets the centre and sigma alone: a number, or one for each
coordinate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from nchl import cores, seeds
from nchl.errors import InvalidArgument, ShapeError

# For fewer numbers, starting threads costs more than drawing the noise.
_WORTH_THREADS = 1 << 20


class Population(ABC):
    """`len(population)` individuals of `size` numbers. `rows` makes any of them; `describe` returns the data that another process needs."""

    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers per individual."""

    @abstractmethod
    def _rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]: ...

    def rows(self, start: int = 0, stop: int | None = None) -> Float[np.ndarray, "rows size"]:
        """Individuals `start` to `stop` (`stop` not included; None: to the last); the bits do not depend on the range.

        Raises:
            InvalidArgument: the range does not lie within the population.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise InvalidArgument(f"rows({start}, {stop}) is outside of this population; use 0 <= start <= stop <= {len(self)}")
        return self._rows(start, stop)

    def describe(self) -> dict[str, Any]:
        """Arrays and plain numbers from which `strategies.population_from` makes an equal population."""
        return {"kind": self.kind} | {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """The population of a description; the inverse of `describe`."""
        return cls(**{key: value for key, value in description.items() if key != "kind"})


@dataclass(frozen=True, eq=False)
class GaussianPopulation(Population):
    """Gaussian noise around a centre; one Philox stream per row, or per antithetic pair of rows.

    With `antithetic`, rows 2k and 2k + 1 are `centre + sigma * noise_k` and `centre - sigma * noise_k`. Rows and noise are
    float32, which is all that a network of float32 can see.

    Attributes:
        centre: (size,) float64.
        sigma: standard deviation of the noise in every coordinate, or (size,) of each.
        count: number of individuals.
        seed: seed of the run.
        generation: counted from 0.
        antithetic: whether noise comes in pairs of opposite sign.
        first: (size,) an individual that stands unperturbed as row 0, or None.
    """

    kind: ClassVar[str] = "gaussian"

    centre: Float[np.ndarray, " size"]
    sigma: float | Float[np.ndarray, " size"]
    count: int
    seed: int
    generation: int
    antithetic: bool = False
    first: Float[np.ndarray, " size"] | None = None

    def __len__(self) -> int:
        return self.count

    @property
    def size(self) -> int:
        """Numbers per individual."""
        return len(self.centre)

    def noise(self, stream: int) -> Float[np.ndarray, " size"]:
        """Standard normal float32 numbers of one stream: row `stream`, or with `antithetic` rows 2 stream and 2 stream + 1."""
        return seeds.generator(self.seed, seeds.Purpose.NOISE, self.generation, stream).standard_normal(self.size, dtype=np.float32)

    def noises(self, streams: list[int]) -> Iterator[Float[np.ndarray, " size"]]:
        """`noise` of each stream, in the order given; drawn ahead in threads if there are many numbers, with the same bits."""
        threads = len(cores.available())
        if threads == 1 or len(streams) == 1 or len(streams) * self.size < _WORTH_THREADS:
            yield from map(self.noise, streams)
            return
        ahead = 2 * threads  # bounds the memory: at most this many vectors are kept
        with ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(self.noise, stream) for stream in streams[:ahead]]
            for later in range(ahead, len(streams) + ahead):
                drawn = waiting.pop(0).result()
                if later < len(streams):
                    waiting.append(pool.submit(self.noise, streams[later]))
                yield drawn
                if not waiting:
                    return

    def _rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        rows = np.empty((stop - start, self.size), dtype=np.float32)
        if start == stop:
            return rows
        centre, sigma = self.centre.astype(np.float32), np.asarray(self.sigma, dtype=np.float32)
        per_stream = 2 if self.antithetic else 1
        streams = list(range(start // per_stream, (stop - 1) // per_stream + 1))
        for stream, noise in zip(streams, self.noises(streams), strict=True):
            noise *= sigma
            for sign in range(per_stream):
                row = stream * per_stream + sign
                if start <= row < stop:
                    (np.subtract if sign else np.add)(centre, noise, out=rows[row - start])
        if start == 0 and self.first is not None:
            rows[0] = self.first
        return rows


@dataclass(frozen=True, eq=False)
class MatrixPopulation(Population):
    """Individuals as the rows of a matrix (count, size)."""

    kind: ClassVar[str] = "matrix"

    matrix: Float[np.ndarray, "count size"]

    @classmethod
    def of(cls, given: np.ndarray, name: str) -> MatrixPopulation:
        """A copy of the array of a user's strategy.

        Args:
            given: (count, size).
            name: of the strategy, for the errors.

        Raises:
            InvalidArgument: no matrix of finite numbers.
        """
        if given.ndim != 2 or given.dtype.kind not in "fiu":
            raise ShapeError(
                f"the strategy {name}: expected a matrix of numbers from _ask, one row per individual; got {given.dtype} {given.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(given).all(axis=1))
        if bad.size:
            raise InvalidArgument(f"the strategy {name}: row {bad[0]} of the array from _ask is not finite")
        return cls(np.array(given))

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def size(self) -> int:
        """Numbers per individual."""
        return int(self.matrix.shape[1])

    def _rows(self, start: int, stop: int) -> Float[np.ndarray, "rows size"]:
        return self.matrix[start:stop].copy()


def check_pairs(population: int, what: str, otherwise: str) -> None:
    """Check that a population of pairs is even.

    Args:
        population: individuals.
        what: needs them, for the message.
        otherwise: another way out, for the message, or nothing.

    Raises:
        InvalidArgument: the population is odd.
    """
    if population % 2:
        raise InvalidArgument(f"population {population} is odd, but {what} comes in pairs; use {population + 1}{otherwise}")


def weighted_noise(population: GaussianPopulation, weights: Float[np.ndarray, " population"]) -> Float[np.ndarray, " size"]:
    """`sum_i weights_i noise_i` (size,), float64, made stream by stream in a fixed order.

    Elementwise only: a matrix product would be faster on small sums, but its bits depend on the number of threads.
    """
    if population.antithetic:
        weights = weights[0::2] - weights[1::2]
    streams = [int(stream) for stream in np.flatnonzero(weights)]
    total = np.zeros(population.size)
    term = np.empty(population.size)
    for stream, noise in zip(streams, population.noises(streams), strict=True):
        np.multiply(noise, weights[stream], out=term)
        total += term
    return total


def weighted_noise_and_squares(
    population: GaussianPopulation, weights: Float[np.ndarray, " streams"], of_squares: Float[np.ndarray, " streams"]
) -> tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"]]:
    """`sum_k weights_k noise_k` and `sum_k of_squares_k noise_k^2`, (size,) each, over streams: rows, or antithetic pairs of rows.

    Drawn once for both, and elementwise as `weighted_noise` is.
    """
    streams = [int(stream) for stream in np.flatnonzero((weights != 0) | (of_squares != 0))]
    total, squares, term = (np.zeros(population.size) for _ in range(3))
    for stream, noise in zip(streams, population.noises(streams), strict=True):
        np.multiply(noise, weights[stream], out=term)
        total += term
        np.multiply(noise, noise, out=term, dtype=np.float64)
        term *= of_squares[stream]
        squares += term
    return total, squares
