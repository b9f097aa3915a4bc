"""Lanes: several threads, one outcome; whatever ends one of them ends all, and threads of others are left alone."""

from __future__ import annotations

import _thread
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from nchl import tasks
from nchl.networks.build import NetworkSpec
from nchl.rollout import Lanes
from nchl.rollout.play import Interrupted
from nchl.seeds import Purpose
from nchl.strategies import GaussianPopulation
from nchl.tasks import Start
from nchl.workers import LocalWorkers, Recipe


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
    lanes, still = Lanes(2), threading.Event()

    def interrupts() -> None:
        time.sleep(0.2)
        _thread.interrupt_main()

    def plays() -> None:
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


def test_lives_end_at_the_step_at_which_they_are_told_to() -> None:
    workers = LocalWorkers(Recipe("HalfCheetah-v5", NetworkSpec(hidden=(8,)), seed=0, population=8, threads=2))
    population = GaussianPopulation(np.zeros(workers.nparams), 1.0, 8, seed=0, generation=0)
    whole = workers.evaluate(population, generation=0)
    timer = threading.Timer(0.05, _thread.interrupt_main)
    timer.start()
    begun = time.monotonic()

    def again_and_again() -> None:
        while True:
            workers.evaluate(population, generation=0)

    with pytest.raises(KeyboardInterrupt):
        again_and_again()
    assert time.monotonic() - begun < 20
    # What was dropped leaves nothing behind.
    np.testing.assert_array_equal(workers.evaluate(population, generation=0).returns, whole.returns)
    workers.close()


@pytest.mark.parametrize(("task", "divided"), [("Ant-v5", True), ("CartPole-v1", False), ("MountainCarContinuous-v0", False)])
def test_what_is_worth_two_threads_is_divided(task: str, divided: bool) -> None:
    for threads in (1, 2, 3):
        whole = tasks.make(task, threads=threads)
        parts = whole.divided(2)
        assert len(parts) == 1 + (divided and threads > 1)
        assert all(part.observation_shape == whole.observation_shape and part.step_limit == whole.step_limit for part in parts)
        if len(parts) == 2:
            assert sum(part.back_end._threads for part in parts) == threads  # type: ignore[attr-defined]
        for part in parts:
            lives, first = part.back_end.common(2, Start(0, Purpose.TRAINING, 0))
            assert len(first) == lives.size == 2
            part.close()


@pytest.mark.parametrize(
    ("task", "network"), [("HalfCheetah-v5", NetworkSpec(hidden=(8,))), ("Hopper-v5", NetworkSpec(network="wnchl", hidden=(6,)))]
)
@pytest.mark.parametrize("size", [2, 3, 13])
def test_lanes_change_no_bit(task: str, network: NetworkSpec, size: int) -> None:
    outcomes = []
    for threads in (1, 2, 3):
        workers = LocalWorkers(Recipe(task, network, seed=1, population=size, threads=threads))
        workers.task.step_limit = 40
        for lane in workers._player._lanes:
            lane.task.step_limit = 40
        population = GaussianPopulation(np.zeros(workers.nparams), 1.0, size, seed=1, generation=0, antithetic=size % 2 == 0)
        played = [workers.evaluate(population, generation=g, episodes=2) for g in (0, 1)]
        rows = population.rows(0, 2)
        validated = [workers.play(rows, generation=1, purpose=Purpose.VALIDATION, episodes=e) for e in (1, 5)]
        outcomes.append([*(one.returns for one in played), *(one.lengths for one in played), *validated])
        workers.close()
    for other in outcomes[1:]:
        for mine, his in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(mine, his)
