"""Lanes: several threads, one outcome; whatever ends one of them ends all, and threads of others are left alone."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from nchl import tasks
from nchl.networks.back_ends import fused as step
from nchl.networks.build import NetworkSpec
from nchl.rollout import Lanes, ObservationStatistics
from nchl.rollout.play import Interrupted
from nchl.seeds import Purpose
from nchl.simulators.base import Seeds, Start
from nchl.simulators.envpool import Pool
from nchl.simulators.host import Rows
from nchl.strategies import GaussianPopulation
from nchl.workers import LocalWorkers, Recipe

needs_compiler = pytest.mark.skipif(step.missing_compiler(torch.device("cpu")) is not None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _threads_for_lanes() -> Iterator[None]:
    """As on a machine with two cores, whatever OMP_NUM_THREADS says here."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_two_jobs_meet_and_their_results_keep_the_order() -> None:
    lanes, meeting = Lanes(2), threading.Barrier(2, timeout=30)

    def job(name: str) -> tuple[str, str]:
        meeting.wait()
        return name, threading.current_thread().name

    for _ in range(3):
        first, second = lanes.run([lambda: job("first"), lambda: job("second")])
        assert (first[0], second[0]) == ("first", "second")
        assert {first[1], second[1]} == {"nchl-lane_0", "nchl-lane_1"}
    lanes.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nchl-lane")]


def test_a_single_job_stays_with_the_caller() -> None:
    assert Lanes(2).run([threading.current_thread]) == [threading.current_thread()]


def test_the_lanes_share_the_threads_of_torch_and_nobody_else_notices() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        lanes = Lanes(2)
        assert lanes.run([torch.get_num_threads] * 2) == [2, 2]
        assert torch.get_num_threads() == 4
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 4
        lanes.close()
    finally:
        torch.set_num_threads(before)


def patient(lanes: Lanes) -> None:
    """Plays until it is stopped."""
    if lanes.stop.wait(30):
        raise Interrupted


def test_the_error_of_one_ends_the_others_and_comes_out() -> None:
    lanes = Lanes(2)

    def fails() -> None:
        raise ZeroDivisionError("the cause")

    for jobs in ([fails, lambda: patient(lanes)], [lambda: patient(lanes), fails]):
        with pytest.raises(ZeroDivisionError, match="the cause"):
            lanes.run(jobs)
    assert lanes.run([lambda: 1, lambda: 2]) == [1, 2]
    lanes.close()


def test_a_signal_ends_all_before_it_goes_on() -> None:
    lanes, still, both = Lanes(2), threading.Event(), threading.Barrier(2, timeout=30)

    def interrupts() -> None:
        both.wait()
        _thread.interrupt_main()

    def plays() -> None:
        both.wait()
        try:
            patient(lanes)
        finally:
            time.sleep(0.2)
            still.set()

    with pytest.raises(KeyboardInterrupt):
        lanes.run([interrupts, plays])
    assert still.is_set()
    assert lanes.run([lambda: 1, lambda: 2]) == [1, 2]
    lanes.close()


def test_nothing_is_left_playing_by_a_signal_that_comes_while_the_first_one_ends_it() -> None:
    """Two Ctrl-C in a notebook: the next call would meet lives of this one."""
    lanes, still, both = Lanes(2), threading.Event(), threading.Barrier(2, timeout=30)
    ending, struck = threading.Event(), threading.Event()

    def strike() -> None:
        both.wait()
        os.kill(os.getpid(), signal.SIGINT)
        if ending.wait(30):  # otherwise a second one would end the tests
            os.kill(os.getpid(), signal.SIGINT)
        struck.set()

    def plays() -> None:
        both.wait()
        try:
            patient(lanes)
        finally:
            ending.set()
            struck.wait(60)
            time.sleep(0.1)  # the second signal reaches the caller while this still plays
            still.set()

    striker = threading.Thread(target=strike)
    striker.start()
    with pytest.raises(KeyboardInterrupt):
        lanes.run([plays, lambda: patient(lanes)])
    assert still.is_set()
    striker.join()
    assert lanes.run([lambda: 1, lambda: 2]) == [1, 2]
    lanes.close()


@pytest.mark.parametrize("end", [Lanes.close, lambda lanes: lanes.run([lambda: 1])], ids=["close", "the next call"])
def test_what_was_left_playing_is_ended(end: Callable[[Lanes], Any]) -> None:
    """As where a signal left `run` before that could end it."""
    lanes, begun, still = Lanes(2), threading.Barrier(3), []

    def plays() -> None:
        begun.wait()
        try:
            patient(lanes)
        finally:
            still.append(True)

    def run() -> None:
        with pytest.raises(Interrupted):
            lanes.run([plays, plays])

    other = threading.Thread(target=run)
    other.start()
    begun.wait()
    end(lanes)
    assert len(still) == 2
    other.join()


def shorten(workers: LocalWorkers, steps: int) -> None:
    """Let no episode be longer than that."""
    for task in (workers.task, *(lane.task for lane in workers._lanes)):
        task.step_limit = steps


def test_episodes_end_at_the_step_at_which_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = LocalWorkers(Recipe("HalfCheetah-v5", NetworkSpec(hidden=(8,)), seed=0, population=8, threads=2))
    shorten(workers, 30)
    population = GaussianPopulation(np.zeros(workers.nparams), 1.0, 8, seed=0, generation=0)
    whole = workers.rollout(population, generation=0)
    stop, step, steps = workers._threads.stop, Pool.step, dict[int, int]()
    both_have_begun = threading.Barrier(2)

    def counted(pool: Pool, actions: np.ndarray, rows: np.ndarray) -> Rows:
        steps[id(pool)] = steps.get(id(pool), 0) + 1
        if steps[id(pool)] == 1:
            both_have_begun.wait(30)
        if max(steps.values()) == 5:
            stop.set()
        return step(pool, actions, rows)

    monkeypatch.setattr(Pool, "step", counted)
    with pytest.raises(Interrupted):
        workers.rollout(population, generation=0)
    assert len(steps) == 2
    assert max(steps.values()) == 5
    monkeypatch.undo()
    # What was dropped leaves nothing behind.
    np.testing.assert_array_equal(workers.rollout(population, generation=0).returns, whole.returns)
    workers.close()


@pytest.mark.parametrize(("task", "divided"), [("Ant-v5", True), ("CartPole-v1", False), ("MountainCarContinuous-v0", False)])
def test_what_is_worth_two_threads_is_divided(task: str, divided: bool) -> None:
    for threads in (1, 2, 3):
        whole = tasks.make(task, threads=threads)
        parts = whole.divided(2)
        assert len(parts) == 1 + (divided and threads > 1)
        assert all(part.observation_shape == whole.observation_shape and part.step_limit == whole.step_limit for part in parts)
        if len(parts) == 2:
            assert sum(part.simulator._threads for part in parts) == threads  # type: ignore[attr-defined]
        for part in parts:
            assert len(part.reset(Seeds.shared(2, Start(0, Purpose.TRAINING, 0)))) == 2
            part.close()


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(NetworkSpec(hidden=(8,)), marks=needs_compiler),
        pytest.param(NetworkSpec("hl", hidden=(5,)), marks=[needs_compiler, pytest.mark.slow]),
    ],
    ids=["nchl", "hl"],
)
def test_two_lanes_make_their_first_compiled_step_at_the_same_time(network: NetworkSpec) -> None:
    """Both lanes make their first compiled step, and their pools, at the same time."""
    workers = LocalWorkers(Recipe("HalfCheetah-v5", network, seed=0, population=4, threads=2, backend="compiled"))
    shorten(workers, 5)
    workers.rollout(GaussianPopulation(np.zeros(workers.nparams), 1.0, 4, seed=0, generation=0), generation=0)
    assert workers.backend == "compiled"
    workers.close()
    assert ("ignore", None, Warning, None, 0) not in warnings.filters


def test_who_asks_for_one_thread_gets_one_lane() -> None:
    recipe = Recipe("Hopper-v5", NetworkSpec(hidden=(6,)), seed=1, population=4, threads=2)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        workers = LocalWorkers(recipe)
        assert [lane.largest for lane in workers._lanes] == [workers.task.largest_slice // threads] * threads
        workers.close()


@pytest.mark.parametrize(
    ("task", "network", "size", "backend"),
    [
        ("HalfCheetah-v5", NetworkSpec(hidden=(8,)), 2, "auto"),
        ("HalfCheetah-v5", NetworkSpec(hidden=(8,)), 11, "auto"),
        pytest.param("HalfCheetah-v5", NetworkSpec(hidden=(8,)), 11, "compiled", marks=needs_compiler),
        ("Hopper-v5", NetworkSpec(network="wnchl", hidden=(6,)), 3, "auto"),
        ("Hopper-v5", NetworkSpec(network="wnchl", hidden=(6,)), 12, "auto"),
    ],
)
def test_lanes_change_no_bit(task: str, network: NetworkSpec, size: int, backend: str) -> None:
    outcomes = []
    for threads in (1, 3):
        workers = LocalWorkers(Recipe(task, network, seed=1, population=size, threads=threads, backend=backend))
        assert backend in ("auto", workers.backend)
        shorten(workers, 25)
        for lane in workers._lanes:
            lane.largest = 4 // len(workers._lanes)  # so that it has several slices, each with a pool of its own
        statistics = ObservationStatistics(workers.observation_shape)
        population = GaussianPopulation(np.zeros(workers.nparams), 1.0, size, seed=1, generation=0, antithetic=size % 2 == 0)
        outcome = []
        for generation in (0, 1):
            played = workers.rollout(population, generation=generation, episodes=2, statistics=statistics)
            sums = played.observation_sums
            assert sums is not None
            statistics.update(sums)
            outcome += [played.returns, played.lengths, sums.count, sums.first, sums.total, sums.squares, statistics.mean]
        rows = population.rows(0, 2)
        for episodes in (1, 5):
            outcome.append(workers.evaluate(rows, generation=1, purpose=Purpose.VALIDATION, episodes=episodes, statistics=statistics))
        outcomes.append(outcome)
        workers.close()
    for other in outcomes[1:]:
        for first, second in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(first, second)
