"""Workers on a Ray cluster: one actor per processor, nodes that join later included. The only module that imports Ray.

The message that all slices of a generation need is put into Ray's object store once, and sent to each node once. Ray itself serialises
with cloudpickle: any program that reaches its ports can run code, so a cluster that is started here listens on loopback only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, WorkerError, require
from nchl.wire import Message
from nchl.workers.base import Recipe
from nchl.workers.local import LocalWorkers
from nchl.workers.messages import RequestHandler, describe_recipe
from nchl.workers.remote import RemoteWorkers
from nchl.workers.supervisor import Event, Job, Pool, Worker
from nchl.workers.timeouts import Timeouts

_OBJECT_STORE_BYTES = 512 << 20
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_TO_ANSWER = 5.0
_HOW = "start one with `ray start --head`, and on other machines `ray start --address=HOST:PORT`; or give --cluster auto"

_TOKEN = "a cluster that asks for a token needs the same one here, in ~/.ray/auth_token"


class ClusterWorker:
    """A `RequestHandler` as a Ray actor."""

    def __init__(self) -> None:
        self._handler = RequestHandler()

    def hello(self, recipe: Message) -> Message:
        """See `RequestHandler.hello`."""
        return self._handler.hello(Message(*recipe))

    def answer(self, request: Message, shared: Message) -> Message:
        """See `RequestHandler.answer`."""
        with contextlib.suppress(ImportError):
            import setproctitle

            setproctitle.setproctitle("nchl-worker")
        return self._handler.answer(Message(*request), Message(*shared))


class _Actor(Worker):
    """An actor, and the reference of the answer that it owes."""

    def __init__(self, number: int, handle: Any) -> None:
        super().__init__(f"worker {number} (Ray actor)")
        self.handle = handle
        self.owes: Any = None


class Cluster(Pool):
    """A pool of Ray actors.

    Args:
        recipe: from `describe_recipe`.
        address: HOST:PORT, or "auto": the cluster that runs on this machine, else a new one.

    Raises:
        MissingExtra: Ray is not installed.
        WorkerError: there is no cluster at that address.
    """

    def __init__(self, recipe: Message, address: str) -> None:
        self.workers: list[Worker] = []
        self._recipe = recipe
        self._ray, self._ours = connect(address)
        self._shared: Any = None
        self._started, self._refused = 0, 0
        self._looked, self._processors = float("-inf"), 0

    @property
    def size(self) -> int:
        """Processors of the present nodes, without excluded workers; updated every few seconds."""
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked, self._processors = now, int(self._ray.cluster_resources().get("CPU", 0))
        return max(0, self._processors - self._refused)

    def start_missing(self) -> None:
        """See `Pool.start_missing`."""
        for _ in range(self.size - len(self.workers)):
            self._started += 1
            handle = self._ray.remote(ClusterWorker).options(num_cpus=1, max_restarts=0, max_task_retries=0).remote()
            actor = _Actor(self._started, handle)
            actor.owes = handle.hello.remote(tuple(self._recipe))
            self.workers.append(actor)

    def share(self, key: int, message: Message) -> None:
        """See `Pool.share`."""
        self.sent_bytes += _size(message)
        self._shared = self._ray.put(tuple(message))

    def assign(self, worker: Worker, job: Job) -> None:
        """See `Pool.assign`."""
        assert isinstance(worker, _Actor)
        self.sent_bytes += _size(job.request)
        worker.owes = worker.handle.answer.remote(job.request, self._shared)

    def wait(self, seconds: float) -> list[Event]:
        """See `Pool.wait`."""
        owing = {worker.owes: worker for worker in self.workers if isinstance(worker, _Actor) and worker.owes is not None}
        if not owing:
            time.sleep(min(seconds, 0.1))
            return []
        done, _ = self._ray.wait(list(owing), num_returns=1, timeout=seconds)
        also, _ = self._ray.wait(list(owing), num_returns=len(owing), timeout=0)
        return [self._hear(owing[reference]) for reference in dict.fromkeys([*done, *also])]

    def _hear(self, worker: _Actor) -> Event:
        owed, worker.owes = worker.owes, None
        try:
            message = Message(*self._ray.get(owed))
        except (self._ray.exceptions.RayError, TypeError) as error:
            return Event(worker, None, str(error).strip().splitlines()[0])
        self.received_bytes += _size(message)
        return Event(worker, message)

    def remove_worker(self, worker: Worker) -> None:
        """See `Pool.remove_worker`."""
        assert isinstance(worker, _Actor)
        self.workers.remove(worker)
        worker.owes = None
        with contextlib.suppress(Exception):  # the actor or its node may have ended
            self._ray.kill(worker.handle)
        self._looked = float("-inf")

    def exclude(self, worker: Worker) -> None:
        """See `Pool.exclude`."""
        self.remove_worker(worker)
        self._refused += 1

    def close(self) -> None:
        """See `Pool.close`; also ends a cluster that was started here."""
        for worker in list(self.workers):
            self.remove_worker(worker)
        self._shared = None
        if self._ours:
            self._ray.shutdown()


def connect(address: str) -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether this process has to end the connection.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidArgument: an address of another form.
        WorkerError: no cluster answers at the address.
    """
    host = re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})", address)
    if address != "auto" and host is None:
        raise InvalidArgument(f"--cluster must be HOST:PORT of a Ray cluster, or auto; got {address!r}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _offer_token()
    ray = require("ray", "cluster")
    if ray.is_initialized():
        return ray, False
    if host is not None:
        _knock(host[1].strip("[]"), int(host[2]), address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "auto" and _head_is_gone():
        _start(ray, quiet)
        return ray, True
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise WorkerError(f"{address} is not a Ray cluster that this process can join ({error}); {_HOW}; {_TOKEN}") from error
        _start(ray, quiet)
    except RuntimeError as error:  # another version of Ray or of Python
        raise WorkerError(f"the Ray cluster at {address} cannot be joined: {str(error).splitlines()[0]}") from error
    return ray, True


def _offer_token() -> None:
    """Make `ray.init` present the user's token, if there is one; by default only `ray start` does."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "ray" not in sys.modules and (named or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a cluster without tokens ignores it


def _start(ray: Any, quiet: dict[str, Any]) -> None:
    try:
        with _loopback():
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
    except Exception as error:  # Ray raises the bare class
        raise WorkerError(f"Ray could not be started here ({str(error).splitlines()[0]}); --workers N needs no Ray") from error


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Make Ray listen on 127.0.0.1 alone, as it does by default on systems other than Linux; a test checks the ports."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    name = constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    held = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(name)
        if held is not None:
            os.environ[name] = held


def _knock(host: str, port: int, address: str) -> None:
    """Check that the port answers; Ray itself would try for minutes and log pages."""
    try:
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise WorkerError(f"no Ray cluster answers at {address} ({error}); {_HOW}") from error


def _head_is_gone() -> bool:
    """Whether the cluster that Ray has recorded for this machine has ended without removing the record; Ray would wait for it."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        host, _, port = (Path(folder) / "ray" / "ray_current_cluster").read_text().strip().rpartition(":")
        _knock(host.strip("[]"), int(port), "auto")
    except WorkerError:
        return not os.environ.get("RAY_ADDRESS")
    except (OSError, ValueError):  # no record, or one that cannot be read
        return False
    return False


def _size(message: Message) -> int:
    """Bytes of a message, without Ray's overhead."""
    return len(json.dumps(message.header)) + sum(array.nbytes for array in message.arrays.values())


def cluster_workers(recipe: Recipe, address: str, timeouts: Timeouts | None = None) -> RemoteWorkers:
    """Workers on a Ray cluster, one thread each.

    Args:
        recipe: the task and the network; its `threads` are those of each worker, None: one.
        address: HOST:PORT, or "auto".
        timeouts: their time limits.

    Raises:
        MissingExtra: Ray is not installed.
        WorkerError: no cluster answers at the address.
        NchlError: the task or the network cannot be made.
    """
    here = LocalWorkers(replace(recipe, threads=recipe.threads or 1))
    here.warm_up()
    return RemoteWorkers(here, Cluster(describe_recipe(here.recipe), address), timeouts)
