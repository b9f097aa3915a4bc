"""Real processes: the same bits as in this process, whatever happens to them. Ray has a file of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl.errors import InvalidArgument, NchlError, WorkerError
from nchl.networks.build import NetworkSpec
from nchl.rollout import ObservationStatistics
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.seeds import Purpose
from nchl.strategies import GaussianPopulation, MatrixPopulation
from nchl.workers import LocalWorkers, Recipe, process_workers, processes
from nchl.workers.timeouts import Timeouts
from reference.runs import results, start, wait_for

psutil = pytest.importorskip("psutil")

SMALL = Recipe("CartPole-v1", NetworkSpec(hidden=(4,)), seed=2, population=26)
RUN: dict[str, Any] = {"task": "CartPole-v1", "hidden": [4], "population": 26, "generations": 3, "seed": 1}


def generation(nparams: int, count: int) -> GaussianPopulation:
    return GaussianPopulation(np.linspace(-1, 1, nparams), 0.5, count, seed=2, generation=0, antithetic=True)


def workers_of(pid: int | None = None) -> list[Any]:
    """The worker processes of a process, without those that are ending."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and "nchl-worker" in child.name():
                found.append(child)
    return found


def all_equal(one: Any, other: Any) -> None:
    for name in ("fitness", "returns", "lengths", "non_finite"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_an_empty_pool_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray cluster may be empty when a generation is cut, while a node comes or goes."""
    here, there = LocalWorkers(SMALL), process_workers(SMALL, 2)
    try:
        sizes, size = [0, 0], processes.Processes.size.fget  # type: ignore[attr-defined]
        monkeypatch.setattr(processes.Processes, "size", property(lambda pool: sizes.pop() if sizes else size(pool)))
        rows = generation(here.nparams, 26).rows(0, 2)
        how: dict[str, Any] = {"generation": 3, "purpose": Purpose.VALIDATION, "episodes": 5}
        np.testing.assert_array_equal(here.evaluate(rows, **how), there.evaluate(rows, **how))
        sizes = [0]
        all_equal(here.rollout(generation(here.nparams, 26), generation=0), there.rollout(generation(here.nparams, 26), generation=0))
    finally:
        here.close()
        there.close()


def test_two_processes_give_the_bits_of_this_one() -> None:
    here, there = LocalWorkers(SMALL), process_workers(SMALL, 2)
    try:
        statistics = ObservationStatistics(here.observation_shape)
        for _ in range(2):
            one = here.rollout(generation(here.nparams, 26), generation=0, episodes=2, statistics=statistics)
            other = there.rollout(generation(here.nparams, 26), generation=0, episodes=2, statistics=statistics)
            all_equal(one, other)
            assert one.observation_sums is not None
            assert other.observation_sums is not None
            for name in ("count", "first", "total", "squares"):
                np.testing.assert_array_equal(getattr(one.observation_sums, name), getattr(other.observation_sums, name))
            statistics.update(other.observation_sums)
        rows = generation(here.nparams, 26).rows(0, 2)
        played = [w.evaluate(rows, generation=3, purpose=Purpose.VALIDATION, episodes=5, statistics=statistics) for w in (here, there)]
        np.testing.assert_array_equal(*played)
        matrix = MatrixPopulation(np.random.default_rng(0).normal(size=(5, here.nparams)))
        all_equal(here.rollout(matrix, generation=4), there.rollout(matrix, generation=4))
        assert len(workers_of()) == 2
    finally:
        there.close()
    assert workers_of() == []


def test_what_cannot_be_made_is_said_before_any_process_is_started() -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        process_workers(SMALL, 0)
    with pytest.raises(NchlError):
        process_workers(Recipe("CartPole-v2", NetworkSpec(), 0, 4), 2)


@pytest.mark.parametrize("refused", ["process", "thread"])
def test_a_system_that_starts_no_more_processes_is_reported_and_those_started_end(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    real, started, asked = subprocess.Popen, list[Any](), itertools.count(1)

    def popen(words: list[str], **named: Any) -> Any:
        if refused == "process" and next(asked) > 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(real([sys.executable, "-c", "input()"], **named))
        return started[-1]

    class Thread(threading.Thread):
        def start(self) -> None:
            if refused == "thread" and next(asked) > 2:
                raise RuntimeError("can't start new thread")
            super().start()

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", popen)
        patched.setattr(processes.threading, "Thread", Thread)
        with pytest.raises(WorkerError, match=r"2 of 5 worker processes could be started.*use fewer"):
            process_workers(SMALL, 5)
    assert len(started) == (2 if refused == "process" else 3)
    assert all(process.poll() is not None for process in started)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["nchl", "hl"])
def test_the_compiled_step_gives_the_same_bits_with_any_number_of_workers_and_threads(network: str) -> None:
    recipe = Recipe("Hopper-v5", NetworkSpec(network=network, hidden=(128, 64)), seed=2, population=22, backend="compiled")
    here = LocalWorkers(recipe)
    assert here.backend == "compiled"
    population = generation(here.nparams, 22)
    wanted = here.rollout(population, generation=1)
    for count in (1, 2, 3, 4) if network == "nchl" else (3,):
        there = process_workers(recipe, count)
        try:
            all_equal(wanted, there.rollout(population, generation=1))
            all_equal(wanted, there.rollout(population, generation=1))  # slices may have gone to others
        finally:
            there.close()


@pytest.mark.slow
def test_a_run_with_workers_is_the_run_without(tmp_path: Path) -> None:
    options = {**RUN, "normalise_observations": True, "validation_episodes": 3}
    run(options.pop("task"), tmp_path / "here", **options)
    for count in (1, 2, 3):
        run("CartPole-v1", tmp_path / f"{count}", workers=count, **options)
        assert results(tmp_path / f"{count}") == results(tmp_path / "here")


class Killer:
    """Kills half of this process's workers in each generation, at a random moment of it."""

    def __init__(self, seed: int, within: float) -> None:
        self._chance, self._within = random.Random(seed), within
        self.struck = 0

    def strike(self, _: object = None) -> None:
        def kill() -> None:
            time.sleep(self._chance.uniform(0, self._within))
            until = time.monotonic() + 20
            while not (alive := workers_of()) and time.monotonic() < until:
                time.sleep(0.02)  # a slow machine may still be starting the next one
            for victim in self._chance.sample(alive, -(-len(alive) // 2)):
                with contextlib.suppress(psutil.Error):
                    victim.kill()
                    self.struck += 1

        threading.Thread(target=kill, daemon=True).start()


@pytest.mark.slow
def test_killing_half_of_the_workers_in_each_of_20_generations_changes_nothing(tmp_path: Path) -> None:
    options = {"hidden": [4], "population": 16, "generations": 20, "seed": 1}
    run("HalfCheetah-v5", tmp_path / "whole", **options)
    killer, told = Killer(seed=0, within=0.5), []
    killer.strike()
    run("HalfCheetah-v5", tmp_path / "killed", workers=2, on_generation=killer.strike, on_note=told.append, **options)
    assert killer.struck >= 15
    assert any("evaluated again elsewhere" in line for line in told)
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_suspended_worker_is_replaced() -> None:
    recipe = Recipe("HalfCheetah-v5", NetworkSpec(hidden=(4,)), seed=2, population=16)
    here = LocalWorkers(recipe)
    there = process_workers(recipe, 2, Timeouts(floor=2, factor=2))
    try:
        population = generation(here.nparams, 16)
        wanted = here.rollout(population, generation=0)
        all_equal(wanted, there.rollout(population, generation=0))
        suspended = workers_of()[0]
        suspended.send_signal(signal.SIGSTOP)
        all_equal(wanted, there.rollout(population, generation=0))
        assert "no answer within" in there.notes[-1]
        assert not suspended.is_running()
    finally:
        there.close()


@pytest.mark.slow
def test_workers_that_only_die_end_the_run_with_an_error_and_it_can_be_resumed(tmp_path: Path) -> None:
    generations = iter(range(100))

    def massacre() -> None:
        while next(generations, None) is not None:
            for victim in workers_of():
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            time.sleep(0.05)

    killer = threading.Thread(target=massacre, daemon=True)
    options = {"hidden": [4], "population": 8, "generations": 2, "seed": 1}

    def endless(_: object) -> None:
        nonlocal generations
        generations = iter(range(10**9))
        killer.start()

    try:
        with pytest.raises(WorkerError, match="resume"):
            run("HalfCheetah-v5", tmp_path / "a", workers=2, on_generation=endless, **options)
    finally:
        generations = iter(())
        killer.join()
    run("HalfCheetah-v5", tmp_path / "b", **options)
    resume(tmp_path / "a", workers=1)
    assert results(tmp_path / "a") == results(tmp_path / "b")


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_orphan_and_resumes_exactly(tmp_path: Path) -> None:
    options = {**RUN, "task": "HalfCheetah-v5", "population": 16, "generations": 4}
    run(**options, out=tmp_path / "whole")
    driver = start("run", tmp_path / "killed", json.dumps({**options, "workers": 3}))
    assert driver.stdout is not None
    assert driver.stdout.readline()
    orphans = workers_of(driver.pid)
    assert len(orphans) == 3
    orphans[0].send_signal(signal.SIGSTOP)
    wait_for(lambda: orphans[0].status() == psutil.STATUS_STOPPED, "the stop of a worker")
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(orphans, timeout=60)
    assert alive == []
    resume(tmp_path / "killed")
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
