"""A Ray cluster as users start it, by `ray start`: a node joins in mid-run, works, and is killed, and no number changes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# In a process of its own, because Ray reads its environment when it is imported.
RUN = """
import contextlib, json, sys, time
import numpy as np
from nchl.errors import WorkerError
from nchl.networks.build import NetworkSpec
from nchl.strategies import GaussianPopulation
from nchl.workers import LocalWorkers, Recipe, cluster_workers

recipe = Recipe("CartPole-v1", NetworkSpec(hidden=(8,)), seed=2, population=24)
here = LocalWorkers(recipe)
population = GaussianPopulation(np.zeros(here.nparams), 0.5, 24, seed=2, generation=0, antithetic=True)
wanted = here.rollout(population, generation=0).returns
there, until = None, time.monotonic() + 100
while there is None:
    try:
        there = cluster_workers(recipe, sys.argv[1])
    except WorkerError:  # the head is still starting
        if time.monotonic() > until:
            raise


def play_until(workers):
    until = time.monotonic() + 100
    while True:
        there._pool._looked = float("-inf")  # at once, instead of every few seconds
        np.testing.assert_array_equal(there.rollout(population, generation=0).returns, wanted)
        names = [worker.name for worker in there._pool.workers if worker.ready]
        if len(names) == workers:
            break
        assert time.monotonic() < until, there._pool.workers
    print(json.dumps(names), flush=True)


for workers in map(int, sys.stdin):
    play_until(workers)
there.close()
"""


def own_address() -> str:
    """Of this machine, as Ray finds it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.fixture
def ours() -> Iterator[dict[str, str]]:
    """A user with a token, and a folder for Ray: a short one, because sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="nchl-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"} | {
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
            "RAY_TMPDIR": folder,
        }


@contextmanager
def node(environment: dict[str, str], log: Path, *words: str) -> Iterator[Any]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--num-cpus=1", "--object-store-memory=80000000", "--block"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env={**environment, "RAY_AUTH_MODE": "token"}, start_new_session=True, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_a_node_that_joins_works_and_one_that_dies_is_done_without(ours: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    address = f"{own_address()}:{port}"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        node(ours, tmp_path / "head.log", "--head", f"--port={port}", "--include-dashboard=false"),
        subprocess.Popen([sys.executable, "-c", RUN, address], env=ours, **pipes) as run,
    ):
        asked, answered = run.stdin, run.stdout
        assert asked is not None
        assert answered is not None

        def ask(workers: int) -> list[str]:
            print(workers, file=asked, flush=True)
            answer = answered.readline()
            assert answer, (tmp_path / "head.log").read_text()[-2000:]
            names: list[str] = json.loads(answer)
            return names

        (first,) = ask(1)
        with node(ours, tmp_path / "node.log", f"--address={address}"):
            both = ask(2)
            assert both[0] == first
        assert ask(1) == [first]
        asked.close()
        assert run.wait(300) == 0
