"""Streams of random numbers: purposes have different streams, and the limits of this."""

from __future__ import annotations

import itertools

import numpy as np

from nchl.seeds import Purpose, environment_seed, generator, weights_seed


def test_purposes_have_streams_of_their_own() -> None:
    keys = list(itertools.product((0, 1, 10000), Purpose, range(4), range(4)))
    draws = {generator(*key).bytes(16) for key in keys} | {weights_seed(*key).to_bytes(8, "big") for key in keys}
    assert len(draws) == 2 * len(keys)


def test_environment_seeds_of_two_purposes_can_be_equal_by_chance() -> None:
    """The module says so: 31 bits are what simulators take."""
    training, evaluation = (0, Purpose.TRAINING, 2100, 0), (10000, Purpose.EVALUATION, 0, 47135)
    assert environment_seed(*training) == environment_seed(*evaluation) == 1540697841
    assert weights_seed(*training) != weights_seed(*evaluation)
    assert not np.array_equal(generator(*training).integers(2**62, size=4), generator(*evaluation).integers(2**62, size=4))


def test_they_are_equal_no_oftener_than_chance_has_it() -> None:
    count = 3000
    training = {environment_seed(3, Purpose.TRAINING, k, 0) for k in range(count)}
    evaluation = {environment_seed(3, Purpose.EVALUATION, 0, k) for k in range(count)}
    assert len(training | evaluation) >= 2 * count - 1  # expected: 2 * count - 0.01
    assert max(training | evaluation) < 2**31
