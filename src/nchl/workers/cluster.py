"""Workers on a Ray cluster: one actor per processor, on whatever nodes there are, those that join later included.

The one file that knows Ray. What holds for a generation is put into Ray's object store once, and goes to each node once,
by reference. Ray itself serialises with cloudpickle: whoever can reach its ports can run code, so they stay on loopback
unless the user starts a cluster of his own.
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
from nchl.workers.patience import Patience
from nchl.workers.remote import RemoteWorkers
from nchl.workers.requests import Servant, describe_recipe
from nchl.workers.supervisor import Crew, Event, Hand, Job

_OBJECT_STORE_BYTES = 512 << 20
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_TO_ANSWER = 5.0
_HOW = "start one with `ray start --head`, and on other machines `ray start --address=HOST:PORT`; or give --cluster auto"

_TOKEN = "a cluster that asks for a token needs the same one here, in ~/.ray/auth_token"


class ClusterWorker:
    """What runs on the cluster: a `Servant`, as a Ray actor."""

    def __init__(self) -> None:
        self._servant = Servant()

    def hello(self, recipe: Message) -> Message:
        """See `Servant.hello`."""
        return self._servant.hello(Message(*recipe))

    def answer(self, request: Message, shared: Message) -> Message:
        """See `Servant.answer`."""
        with contextlib.suppress(ImportError):
            import setproctitle

            setproctitle.setproctitle("nchl-worker")
        return self._servant.answer(Message(*request), Message(*shared))


class _Actor(Hand):
    """An actor, and the reference of what it owes us."""

    def __init__(self, number: int, handle: Any) -> None:
        super().__init__(f"worker {number} (Ray actor)")
        self.handle = handle
        self.owes: Any = None


class Cluster(Crew):
    """A crew of Ray actors.

    Args:
        recipe: from `describe_recipe`.
        address: HOST:PORT, or "auto": the cluster that runs on this machine, else one that is started here.

    Raises:
        MissingExtra: Ray is not installed.
        WorkerError: there is no cluster at that address.
    """

    def __init__(self, recipe: Message, address: str) -> None:
        self.hands: list[Hand] = []
        self._recipe = recipe
        self._ray, self._ours = connect(address)
        self._shared: Any = None
        self._started, self._refused = 0, 0
        self._looked, self._processors = float("-inf"), 0

    @property
    def size(self) -> int:
        """Processors of the living nodes, without those that compute other digits; looked at every few seconds."""
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked, self._processors = now, int(self._ray.cluster_resources().get("CPU", 0))
        return max(0, self._processors - self._refused)

    def muster(self) -> None:
        """See `Crew.muster`."""
        for _ in range(self.size - len(self.hands)):
            self._started += 1
            handle = self._ray.remote(ClusterWorker).options(num_cpus=1, max_restarts=0, max_task_retries=0).remote()
            actor = _Actor(self._started, handle)
            actor.owes = handle.hello.remote(tuple(self._recipe))
            self.hands.append(actor)

    def share(self, key: int, message: Message) -> None:
        """See `Crew.share`."""
        self.sent_bytes += _size(message)
        self._shared = self._ray.put(tuple(message))

    def give(self, hand: Hand, job: Job) -> None:
        """See `Crew.give`."""
        assert isinstance(hand, _Actor)
        self.sent_bytes += _size(job.request)
        hand.owes = hand.handle.answer.remote(job.request, self._shared)

    def wait(self, seconds: float) -> list[Event]:
        """See `Crew.wait`."""
        owing = {hand.owes: hand for hand in self.hands if isinstance(hand, _Actor) and hand.owes is not None}
        if not owing:
            time.sleep(min(seconds, 0.1))
            return []
        done, _ = self._ray.wait(list(owing), num_returns=1, timeout=seconds)
        also, _ = self._ray.wait(list(owing), num_returns=len(owing), timeout=0)
        return [self._hear(owing[reference]) for reference in dict.fromkeys([*done, *also])]

    def _hear(self, hand: _Actor) -> Event:
        owed, hand.owes = hand.owes, None
        try:
            message = Message(*self._ray.get(owed))
        except (self._ray.exceptions.RayError, TypeError) as error:
            return Event(hand, None, str(error).strip().splitlines()[0])
        self.received_bytes += _size(message)
        return Event(hand, message)

    def dismiss(self, hand: Hand) -> None:
        """See `Crew.dismiss`."""
        assert isinstance(hand, _Actor)
        self.hands.remove(hand)
        hand.owes = None
        with contextlib.suppress(Exception):  # it may be gone already, or its node
            self._ray.kill(hand.handle)
        self._looked = float("-inf")

    def refuse(self, hand: Hand) -> None:
        """See `Crew.refuse`."""
        self.dismiss(hand)
        self._refused += 1

    def close(self) -> None:
        """See `Crew.close`; a cluster that was started here ends with it."""
        for hand in list(self.hands):
            self.dismiss(hand)
        self._shared = None
        if self._ours:
            self._ray.shutdown()


def connect(address: str) -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether the connection is ours to end.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidArgument: an address of another form.
        WorkerError: nothing answers there.
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
            raise WorkerError(
                f"what answers at {address} is no Ray cluster that this process could join ({error}); {_HOW}; {_TOKEN}"
            ) from error
        _start(ray, quiet)
    except RuntimeError as error:  # another version of Ray or of Python
        raise WorkerError(f"the Ray cluster at {address} cannot be joined: {str(error).splitlines()[0]}") from error
    return ray, True


def _offer_token() -> None:
    """Let Ray show the user's token, if there is one. `ray start` asks for it then, but `ray.init` shows it only where it is told to."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "ray" not in sys.modules and (named or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a cluster without tokens does not mind


def _start(ray: Any, quiet: dict[str, Any]) -> None:
    try:
        with _loopback():
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
    except Exception as error:  # Ray raises the bare class
        raise WorkerError(f"Ray could not be started here ({str(error).splitlines()[0]}); --workers N does without it") from error


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let what Ray starts here listen on 127.0.0.1 alone, as it does by itself on other systems than Linux; a test looks at the ports."""
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
    """Ray itself would try for minutes and log pages."""
    try:
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise WorkerError(f"no Ray cluster answers at {address} ({error}); {_HOW}") from error


def _head_is_gone() -> bool:
    """Whether the cluster that Ray has written down for this machine has died without taking its note along: Ray would wait for it."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        host, _, port = (Path(folder) / "ray" / "ray_current_cluster").read_text().strip().rpartition(":")
        _knock(host.strip("[]"), int(port), "auto")
    except WorkerError:
        return not os.environ.get("RAY_ADDRESS")
    except (OSError, ValueError):  # no note, or none that could be read here
        return False
    return False


def _size(message: Message) -> int:
    """Bytes of a message, without what Ray adds."""
    return len(json.dumps(message.header)) + sum(array.nbytes for array in message.arrays.values())


def cluster_workers(recipe: Recipe, address: str, patience: Patience | None = None) -> RemoteWorkers:
    """Workers on a Ray cluster, one thread each.

    Args:
        recipe: what to build; its `threads` are each worker's, None: one.
        address: HOST:PORT, or "auto".
        patience: how long they may take.

    Raises:
        MissingExtra: Ray is not installed.
        WorkerError: there is no such cluster.
        NchlError: the task or the network cannot be made.
    """
    here = LocalWorkers(replace(recipe, threads=recipe.threads or 1))
    here.warm_up()
    return RemoteWorkers(here, Cluster(describe_recipe(here.recipe), address), patience)
