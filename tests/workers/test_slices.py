"""How a generation is cut: every individual once, whole blocks, none alone; and slices of slices."""

from __future__ import annotations

import numpy as np
import pytest

from nchl.strategies.population import MatrixPopulation
from nchl.workers.slices import block_size, cut


def people(count: int) -> MatrixPopulation:
    """Individuals of one number each, their index."""
    return MatrixPopulation(np.arange(count, dtype=np.float64)[:, None])


@pytest.mark.parametrize("population", [2, 3, 5, 10, 50, 199, 200, 256, 1001, 10_000])
@pytest.mark.parametrize("pieces", [1, 2, 3, 8, 64, 1000])
def test_slices_cover_the_population_in_whole_blocks(population: int, pieces: int) -> None:
    block = block_size(population)
    assert block % 2 == 0
    slices = cut(people(population), pieces, largest=1024)
    assert [each.start for each in slices] == [0, *(each.stop for each in slices[:-1])]
    assert slices[-1].stop == population
    assert all(each.start % block == 0 and 2 <= len(each) <= 1024 for each in slices)
    if 2 * pieces * block <= population <= 1024:
        assert len(slices) == pieces
        assert max(map(len, slices)) - min(map(len, slices)) < 2 * block


def test_no_slice_is_longer_than_the_task_allows() -> None:
    assert all(len(each) <= 64 for each in cut(people(1000), 2, largest=64))


def test_a_slice_is_cut_like_a_population_and_counts_its_own_rows() -> None:
    whole = people(200)
    second = cut(whole, 3)[1]
    np.testing.assert_array_equal(second.rows(0, len(second)), whole.rows(second.start, second.stop))
    inner = cut(second, 2)
    assert [each.start for each in inner] == [0, inner[0].stop]
    assert inner[-1].stop == len(second)
    np.testing.assert_array_equal(np.concatenate([each.rows(0, len(each)) for each in inner]), second.rows(0, len(second)))
    np.testing.assert_array_equal(inner[1].rows(1, 3)[:, 0], second.start + inner[1].start + np.array([1, 2]))
