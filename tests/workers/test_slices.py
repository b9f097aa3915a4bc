"""How a generation is cut: every individual once, whole blocks, nobody alone."""

from __future__ import annotations

import pytest

from nchl.workers.slices import block_size, cut


@pytest.mark.parametrize("population", [2, 3, 5, 10, 50, 199, 200, 256, 1001, 10_000])
@pytest.mark.parametrize("pieces", [1, 2, 3, 8, 64, 1000])
def test_slices_cover_the_population_in_whole_blocks(population: int, pieces: int) -> None:
    block = block_size(population)
    assert block % 2 == 0
    slices = cut(population, pieces, largest=1024)
    assert [each.start for each in slices] == [0, *(each.stop for each in slices[:-1])]
    assert slices[-1].stop == population
    assert all(each.start % block == 0 and 2 <= len(each) <= 1024 for each in slices)
    if 2 * pieces * block <= population <= 1024:
        assert len(slices) == pieces
        assert max(map(len, slices)) - min(map(len, slices)) < 2 * block


def test_no_slice_is_longer_than_the_task_allows() -> None:
    assert all(len(each) <= 64 for each in cut(1000, 2, largest=64))
