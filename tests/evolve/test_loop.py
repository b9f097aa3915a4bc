"""The loop by itself, with workers that play nothing: counters, validation, the best, the target, ends and states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import nchl
from nchl import strategies
from nchl.errors import CheckpointError, InvalidArgument, NchlError
from nchl.evolve import Best, Evolution, Limits
from nchl.rollout import ObservationStatistics, Rollout
from nchl.rollout.statistics import ObservationSums
from nchl.seeds import Purpose


class Sphere:
    """Workers whose fitness is -|x|^2; validation is the same, plus a bonus."""

    nparams = 4
    observation_shape = (2,)
    backend = "eager"
    simulator = "none"
    constants: Mapping[str, np.ndarray] = {}
    sent_bytes = received_bytes = 0

    def __init__(self, bonus: float = 0.0) -> None:
        self.notes: list[str] = []
        self.bonus = bonus
        self.played: list[tuple[int, Purpose, int]] = []
        self.spoil: dict[int, Any] = {}

    def rollout(self, population: Any, *, generation: int, episodes: int = 1, statistics: ObservationStatistics | None = None) -> Rollout:
        rows = population.rows().astype(np.float64)
        fitness = -np.square(rows).sum(axis=1)
        fitness[self.spoil.get(generation, [])] = np.nan
        lengths = np.full((len(rows), episodes), 5)
        sums = None
        if statistics is not None:  # five observations that lie around the individual's own two numbers
            sums = ObservationSums(np.full(len(rows), 5), rows[:, :2], np.zeros((len(rows), 2)), np.full((len(rows), 2), 1.0 + generation))
        return Rollout(fitness, np.repeat(fitness[:, None], episodes, axis=1), lengths, int(np.isnan(fitness).sum()), sums)

    def evaluate(self, genomes: np.ndarray, *, generation: int, purpose: Purpose, episodes: int, statistics: Any = None) -> np.ndarray:
        self.played += [(generation, purpose, episodes)] * len(genomes)
        return np.repeat(self.bonus - np.square(genomes).sum(axis=1, keepdims=True), episodes, axis=1)

    def close(self) -> None:
        """Nothing to give back."""


def make(limits: Limits, workers: Sphere | None = None, *, normalise: bool = False, clock: Any = None, **more: Any) -> Evolution:
    strategy = strategies.make("openai-es", 4, 10, 0, sigma=0.3, lr=0.3)
    if normalise:
        more["statistics"] = ObservationStatistics((2,))
    if clock is not None:
        more["clock"] = clock
    return Evolution(strategy, workers or Sphere(), limits, **more)


def test_records_count_from_the_start() -> None:
    evolution = make(Limits(generations=3), episodes=2)
    records = list(evolution)
    assert [record.generation for record in records] == [1, 2, 3]
    assert [record.evaluations for record in records] == [10, 20, 30]
    assert [record.env_steps for record in records] == [100, 200, 300]
    assert [record.reason for record in records] == [None, None, "generations"]
    assert records[0].length == 5
    assert records[0].sigma == 0.3  # as used, before it shrinks
    assert records[1].sigma < 0.3
    for record in records:
        assert record.best == record.fitness.max()
        assert record.mean == record.fitness.mean()
        assert record.std == record.fitness.std()
    assert [record.best_so_far for record in records] == np.maximum.accumulate([record.best for record in records]).tolist()
    assert list(evolution) == []  # it has ended


@pytest.mark.parametrize(
    ("episodes", "counts"),
    [
        (np.int64(2), [2, 2, 2]),
        ([(0, 1), (2, 4)], [1, 1, 4]),
        (np.array([[1, 3], [0, 2]]), [2, 3, 3]),
        (((np.int32(0), np.int32(5)),), [5, 5, 5]),
    ],
    ids=str,
)
def test_episodes_are_a_number_or_pairs(episodes: Any, counts: list[int]) -> None:
    steps = [record.env_steps for record in make(Limits(generations=3), episodes=episodes)]
    assert np.diff([0, *steps]).tolist() == [10 * 5 * count for count in counts]


@pytest.mark.parametrize("episodes", [0, 1.5, None, "4", [], [(5, 2)], [(0, 1), (3, 0)], [(0, 1), (0, 2)], [2, 3], [(0, 1.5)]], ids=str)
def test_episodes_that_cannot_be_are_refused(episodes: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"episodes: expected a whole number.* pairs \(first generation, episodes"):
        make(Limits(generations=3), episodes=episodes)


def test_a_spoilt_individual_is_counted_and_left_out() -> None:
    workers = Sphere()
    workers.spoil = {0: [2, 5], 1: slice(None)}
    evolution = make(Limits(generations=3), workers)
    record = evolution.step()
    assert record.non_finite == 2
    assert np.isfinite([record.mean, record.std, record.best]).all()
    before, _ = evolution.state()
    with pytest.raises(NchlError, match="no finite score"):
        evolution.step()
    after, about = evolution.state()
    assert about["evaluations"] == 10
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_without_validation_the_best_has_the_highest_fitness_seen() -> None:
    evolution = make(Limits(generations=20))
    records = list(evolution)
    assert evolution.best is not None
    assert evolution.best.fitness == max(record.best for record in records)
    assert evolution.best.validated is None
    assert -np.square(evolution.best.genome.astype(np.float64)).sum() == pytest.approx(evolution.best.fitness)
    assert records[evolution.best.generation - 1].best == evolution.best.fitness


def test_with_validation_the_best_has_the_highest_validated_mean() -> None:
    workers = Sphere()
    evolution = make(Limits(generations=6, validation_episodes=7), workers)
    records = list(evolution)
    assert workers.played == [(number, Purpose.VALIDATION, 7) for number in range(6) for _ in ("best", "centre")]
    assert evolution.best is not None
    assert evolution.best.validated == max(max(record.validation_best, record.validation_centre) for record in records)


def test_the_validated_stand_above_the_others_and_ties_go_to_the_later() -> None:
    genome = np.zeros(2)
    lucky, solid, equal = Best(genome, 9.0, None, 1, None), Best(genome, 1.0, 4.0, 2, None), Best(genome, None, 4.0, 3, None)
    assert lucky.gives_way_to(solid)
    assert not solid.gives_way_to(lucky)
    assert solid.gives_way_to(equal)
    assert not solid.gives_way_to(Best(genome, 1.0, 3.9, 3, None))
    assert lucky.gives_way_to(Best(genome, 9.0, None, 2, None))


def test_a_target_is_validated_by_twenty_episodes_and_ends_the_run() -> None:
    workers = Sphere(bonus=-100.0)
    records = list(make(Limits(generations=4, target=-50.0), workers))
    assert {episodes for _, _, episodes in workers.played} == {20}
    assert len(records) == 4  # passed in training, never in validation
    workers = Sphere(bonus=100.0)
    records = list(make(Limits(generations=50, target=-2.0), workers))
    assert records[-1].reason == "target"
    assert max(record.best for record in records[:-1]) < -2 <= records[-1].best
    assert len(workers.played) == 2


class Varying(Sphere):
    """Workers whose validation gives the same episodes whatever their number: the first of each is 100 better than the others."""

    def evaluate(self, genomes: np.ndarray, *, generation: int, purpose: Purpose, episodes: int, statistics: Any = None) -> np.ndarray:
        returns = super().evaluate(genomes, generation=generation, purpose=purpose, episodes=episodes, statistics=statistics)
        return returns + np.where(np.arange(episodes) == 0, 100.0, 0.0)


@pytest.mark.parametrize("own", [1, 8])
def test_few_validation_episodes_reach_no_target(own: int) -> None:
    workers = Varying(bonus=-2.0)
    records = list(make(Limits(generations=4, target=4.0, validation_episodes=own), workers))
    assert [record.reason for record in records] == [None, None, None, "generations"]
    assert {episodes for _, _, episodes in workers.played} == {20}


def test_with_a_target_all_validations_have_the_same_number_of_episodes() -> None:
    workers = Varying()
    evolution = make(Limits(generations=60, target=4.5, validation_episodes=8), workers)  # fitness, at most 0, never passes it
    records = list(evolution)
    assert records[-1].reason == "target"
    assert evolution.best is not None
    assert evolution.best.validated == max(records[-1].validation_best, records[-1].validation_centre) >= 4.5
    assert {episodes for _, _, episodes in workers.played} == {20}
    workers = Sphere(bonus=-100.0)
    list(make(Limits(generations=4, target=-50.0, validation_episodes=32), workers))
    assert [episodes for _, _, episodes in workers.played] == [32] * 8


@pytest.mark.parametrize(("limits", "reason"), [(Limits(None, max_steps=140), "max_steps"), (Limits(None, max_minutes=1), "max_minutes")])
def test_budgets_end_the_run_with_a_whole_generation(limits: Limits, reason: str) -> None:
    ticks = iter(range(0, 100_000, 2))
    records = list(make(limits, clock=lambda: float(next(ticks))))
    assert records[-1].reason == reason
    if reason == "max_steps":
        assert [record.env_steps for record in records] == [50, 100, 150]


@pytest.mark.parametrize("normalise", [False, True])
def test_a_state_continues_bit_by_bit(normalise: bool) -> None:
    limits = Limits(generations=8, validation_episodes=3)
    whole = make(limits, normalise=normalise)
    expected = list(whole)
    first = make(Limits(generations=3, validation_episodes=3), normalise=normalise)
    list(first)
    tensors, about = first.state()
    about["reason"] = None
    second = make(limits, normalise=normalise)
    second.restore(tensors, about)
    records = list(second)
    assert [record.mean for record in records] == [record.mean for record in expected[3:]]
    assert second.seconds >= first.seconds - 1
    (one, about_one), (two, about_two) = whole.state(), second.state()
    assert {name: array.tobytes() for name, array in one.items()} == {name: array.tobytes() for name, array in two.items()}
    assert about_one | {"seconds": 0} == about_two | {"seconds": 0}


def test_a_state_of_something_else_is_refused() -> None:
    tensors, about = make(Limits()).state()
    with pytest.raises(CheckpointError, match="elite"):
        make(Limits()).restore(tensors, {**about, "strategy": "elite"})
    with pytest.raises(CheckpointError, match=r"\(9,\).*\(4,\)"):
        make(Limits()).restore({**tensors, "strategy.centre": np.zeros(9)}, about)
    with pytest.raises(CheckpointError):
        make(Limits(), normalise=True).restore(tensors, about)
    with pytest.raises(CheckpointError):
        make(Limits()).restore(tensors, {})


def test_the_best_keeps_the_statistics_that_it_acted_with() -> None:
    evolution = make(Limits(generations=2), normalise=True)
    evolution.step()
    assert evolution.best is not None
    assert evolution.best.statistics is not None
    assert evolution.best.statistics.count == 0
    assert evolution.statistics is not None
    assert evolution.statistics.count == 50


@pytest.mark.parametrize("task", ["CartPole-v1", "Hopper-v5"])
@pytest.mark.parametrize("strategy", ["openai-es", "cma-es", "lm-ma-es", "elite"])
def test_a_generation_that_was_interrupted_in_its_validation_is_played_again(
    strategy: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"hidden": [4], "population": 8, "validation_episodes": 2, "generations": 5, "normalise_observations": True}
    whole = nchl.evolution(task, strategy=strategy, **options)
    wanted = [(generation.generation, generation.mean, generation.validation_centre) for generation in whole]
    search = nchl.evolution(task, strategy=strategy, **options)
    evaluate = search.workers.evaluate

    def interrupted(*given: Any, generation: int, **named: Any) -> np.ndarray:
        if generation == 1:
            monkeypatch.undo()
            raise KeyboardInterrupt
        return evaluate(*given, generation=generation, **named)

    monkeypatch.setattr(search.workers, "evaluate", interrupted)
    first = search.step()
    seen = [(first.generation, first.mean, first.validation_centre)]
    with pytest.raises(KeyboardInterrupt):
        search.step()
    assert (search.generation, search.evaluations) == (1, 8)
    seen += [(generation.generation, generation.mean, generation.validation_centre) for generation in search]
    assert seen == wanted
    (tensors, about), (wanted_tensors, wanted_about) = search.state(), whole.state()
    for name, tensor in wanted_tensors.items():
        np.testing.assert_array_equal(tensors[name], tensor)
    assert {**about, "seconds": 0} == {**wanted_about, "seconds": 0}


def test_a_search_in_three_lines() -> None:
    search = nchl.evolution("CartPole-v1", hidden=[4], population=6, generations=2, seed=5)
    means = [generation.mean for generation in search]
    assert len(means) == 2
    assert search.best is not None
    assert search.best.genome.shape == (44,)
    again = nchl.evolution("CartPole-v1", hidden=[4], population=6, generations=2, seed=5)
    assert [generation.mean for generation in again] == means
