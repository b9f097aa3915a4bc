"""Ray: the same bits, actors that are killed, ports on loopback. All tests share one cluster, because it takes seconds to start."""

from __future__ import annotations

import contextlib
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl.errors import InvalidArgument, WorkerError
from nchl.networks.build import NetworkSpec
from nchl.runs.session.run import run
from nchl.strategies import GaussianPopulation
from nchl.workers import LocalWorkers, Recipe, cluster_workers
from nchl.workers.cluster import _head_is_gone, connect
from reference.runs import results

RECIPE = Recipe("HalfCheetah-v5", NetworkSpec(hidden=(128, 64)), seed=2, population=10, backend="compiled")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, ours = connect("auto")
        assert ours
        yield found
        raylets = [child for child in psutil.Process().children(recursive=True) if "ray" in child.name() or "gcs" in child.name()]
        assert raylets
        # Nothing listens on any other address than loopback.
        for process in raylets:
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections(kind="tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        assert connection.laddr.ip.removeprefix("::ffff:") in ("127.0.0.1", "::1"), (process.name(), connection)
        found.shutdown()


@pytest.mark.parametrize("address", ["nowhere", "http://a:1", "a:b", ""])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        connect(address)


def test_an_address_where_nothing_answers_is_an_error_at_once() -> None:
    pytest.importorskip("ray")
    with pytest.raises(WorkerError, match=r"ray start --head"):
        connect("127.0.0.1:1")


def test_a_note_of_a_cluster_that_is_gone_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not _head_is_gone()
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        note.write_text(f"127.0.0.1:{head.getsockname()[1]}\n")
        assert not _head_is_gone()
    assert _head_is_gone()
    note.write_text("nothing of use")
    assert not _head_is_gone()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_bits_of_this_process_though_an_actor_dies(ray: Any) -> None:
    here = LocalWorkers(RECIPE)
    population = GaussianPopulation(np.linspace(-1, 1, here.nparams), 0.5, 10, seed=2, generation=0, antithetic=True)
    wanted = here.rollout(population, generation=0)
    there = cluster_workers(RECIPE, "auto")
    try:
        for k in range(2):
            got = there.rollout(population, generation=0)
            np.testing.assert_array_equal(wanted.fitness, got.fitness)
            np.testing.assert_array_equal(wanted.lengths, got.lengths)
            if k == 0:
                ray.kill(there._pool.workers[0].handle)  # type: ignore[attr-defined]
    finally:
        there.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_on_a_cluster_is_the_run_here(ray: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"hidden": [4], "population": 26, "generations": 3, "seed": 1, "validation_episodes": 3}
    run("CartPole-v1", tmp_path / "here", **options)
    run("CartPole-v1", tmp_path / "there", cluster="auto", **options)
    assert results(tmp_path / "there") == results(tmp_path / "here")
