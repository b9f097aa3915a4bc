"""Running normalisation of observations against numpy, in any slicing, exactly restored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nchl.errors import CheckpointError, ShapeError
from nchl.rollout import Accumulator, ObservationStatistics, ObservationSums


def collect(observations: np.ndarray) -> ObservationSums:
    """Sums of (steps, population, n) observations."""
    sums = Accumulator(observations.shape[1], observations.shape[2:])
    for number, step in enumerate(observations):
        sums.add(torch.from_numpy(step), torch.ones(len(step), dtype=torch.bool), fresh=number == 0)
    return sums.sums()


def normalised(statistics: ObservationStatistics, observations: np.ndarray) -> np.ndarray:
    return statistics.normalise(torch.from_numpy(observations)).numpy()


def test_mean_and_variance_are_those_of_all_observations_so_far() -> None:
    statistics = ObservationStatistics((3,))
    generations = [np.random.default_rng(k).normal(k, 1 + k, (20 + k, 5, 3)).astype(np.float32) for k in range(4)]
    for observations in generations:
        statistics.update(collect(observations))
    everything = np.concatenate([observations.reshape(-1, 3) for observations in generations]).astype(np.float64)
    assert statistics.count == len(everything)
    np.testing.assert_allclose(statistics.mean, everything.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.variance, everything.var(axis=0), rtol=1e-10)
    normal = normalised(statistics, everything[:10])
    np.testing.assert_allclose(
        normal, np.clip((everything[:10] - everything.mean(0)) / np.sqrt(everything.var(0) + 1e-8), -5, 5), rtol=1e-9
    )


def test_slices_put_together_are_the_whole() -> None:
    observations = np.random.default_rng(0).normal(size=(30, 10, 2))
    whole = ObservationStatistics((2,))
    whole.update(collect(observations))
    for cuts in ([4], [1, 5, 9]):
        sliced = ObservationStatistics((2,))
        sliced.update(ObservationSums.concatenate([collect(part) for part in np.split(observations, cuts, axis=1)]))
        for name, array in whole.state_dict().items():
            np.testing.assert_array_equal(sliced.state_dict()[name], array)


def test_state_is_restored_exactly() -> None:
    statistics = ObservationStatistics((2,))
    statistics.update(collect(np.random.default_rng(0).normal(size=(30, 10, 2))))
    again = ObservationStatistics((2,))
    again.load_state_dict(statistics.state_dict())
    more = collect(np.random.default_rng(1).normal(size=(3, 4, 2)))
    statistics.update(more)
    again.update(more)
    for name, array in statistics.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_nothing_seen_changes_nothing() -> None:
    statistics = ObservationStatistics((2,))
    statistics.update(ObservationSums.zeros(3, (2,)))
    observations = np.array([[100.0, -7.0]])
    np.testing.assert_array_equal(normalised(statistics, observations), observations)


def test_individuals_that_saw_something_not_finite_are_left_out() -> None:
    observations = np.random.default_rng(0).normal(size=(5, 3, 2))
    expected = ObservationStatistics((2,))
    expected.update(collect(observations[:, [0, 2]]))
    observations[2, 1, 0] = np.nan
    statistics = ObservationStatistics((2,))
    statistics.update(collect(observations))
    np.testing.assert_array_equal(statistics.mean, expected.mean)
    assert statistics.count == 10


@pytest.mark.parametrize(("mean", "deviation"), [(1e7, 0.01), (-1e7, 0.01), (1e9, 1e-3), (0.0, 1e-3)])
def test_a_small_deviation_around_a_large_mean_is_kept(mean: float, deviation: float) -> None:
    """A sum of squares has 16 digits: of 1e14 the last is 0.03, far more than the variance of 1e-4."""
    draw = np.random.default_rng(0)
    statistics, seen = ObservationStatistics((2,)), []
    for _ in range(3):
        observations = mean + deviation * draw.normal(size=(200, 7, 2))
        seen.append(observations.reshape(-1, 2))
        statistics.update(collect(observations))
    wanted = np.concatenate(seen)
    np.testing.assert_allclose(np.sqrt(statistics.variance), np.sqrt((wanted - mean).var(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(statistics.mean, mean + (wanted - mean).mean(axis=0), rtol=1e-15, atol=1e-12)
    normal = normalised(statistics, wanted)
    assert np.abs(normal.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(normal.std(axis=0), 1 / np.sqrt(1 + 1e-8 / deviation**2), rtol=0.02)


def test_a_first_observation_far_from_the_others_costs_no_digits() -> None:
    observations = np.random.default_rng(1).normal(3, 0.5, size=(300, 6, 2))
    observations[0] = -1e4
    statistics = ObservationStatistics((2,))
    statistics.update(collect(observations))
    np.testing.assert_allclose(statistics.variance, observations.reshape(-1, 2).var(axis=0), rtol=1e-10)
    np.testing.assert_allclose(statistics.mean, observations.reshape(-1, 2).mean(axis=0), rtol=1e-10)


def test_a_number_whose_square_overflows_is_left_out() -> None:
    observations = np.zeros((4, 3, 1))
    observations[:, 1] = 1e200
    statistics = ObservationStatistics((1,))
    statistics.update(collect(observations))
    assert (statistics.count, statistics.mean[0], statistics.variance[0]) == (8, 0, 0)


def test_a_constant_coordinate_is_no_trouble() -> None:
    statistics = ObservationStatistics((1,))
    statistics.update(collect(np.full((1000, 4, 1), 1e6)))
    assert np.isfinite(normalised(statistics, np.array([[1e6], [1e6 + 1]]))).all()


def test_other_shapes_are_refused() -> None:
    statistics = ObservationStatistics((2,))
    with pytest.raises(ShapeError, match=r"expected observations of shape \(2,\), got \(3,\)"):
        statistics.update(ObservationSums.zeros(4, (3,)))
    with pytest.raises(CheckpointError, match="missing"):
        statistics.load_state_dict({"count": np.array(1)})
    with pytest.raises(CheckpointError, match=r"got \(3,\)"):
        statistics.load_state_dict({"count": np.array(1), "mean": np.zeros(3), "deviation": np.zeros(3)})
