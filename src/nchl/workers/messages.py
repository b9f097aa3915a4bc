"""The requests to a worker and its answers, as plain data; the same over pipes and through Ray.

`shared` is sent once per generation: the population's description (for OpenAI-ES the centre and four numbers) and the observation
statistics. A request then names a slice; its answer holds scores and counters, which are checked before they are used.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from nchl.errors import NchlError
from nchl.networks.build import NetworkSpec
from nchl.rollout import ObservationStatistics, ObservationSums, Rollout
from nchl.seeds import Purpose
from nchl.simulators import SIMULATORS
from nchl.strategies import Population, population_from
from nchl.tasks import fingerprint
from nchl.wire import Message, ProtocolError
from nchl.workers.base import Recipe
from nchl.workers.local import LocalWorkers
from nchl.workers.slices import Slice

_SUMS = tuple(each.name for each in fields(ObservationSums))
_POPULATION, _STATISTICS = "population.", "statistics."


def describe_recipe(recipe: Recipe) -> Message:
    """A recipe as a message: its arrays are the network's constants. `read_recipe` is the inverse."""
    header = {**vars(recipe), "network": vars(recipe.network), "constants": recipe.constants is not None}
    for stays in ("template", "played"):
        assert header.pop(stays) is None, f"{stays} cannot be sent; see runs.search.objects.refuse_to_travel"
    # Latin-1 maps each byte to one character, so that JSON can hold any file.
    header["code"] = {path: text.decode("latin-1") for path, text in recipe.code.items()}
    return Message(header, dict(recipe.constants or {}))


def read_recipe(message: Message) -> Recipe:
    """The recipe of a message; the inverse of `describe_recipe`."""
    data = message.header
    own: dict[str, Any]
    network: dict[str, Any]
    own, network = (
        {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()} for part in (data, data["network"])
    )
    own["constants"] = message.arrays if data["constants"] else None
    own["code"] = {path: text.encode("latin-1") for path, text in data["code"].items()}
    return Recipe(**{**own, "network": NetworkSpec(**network)})


def describe_shared(population: Population | None, statistics: ObservationStatistics | None) -> Message:
    """The message that all slices of a generation need."""
    header: dict[str, Any] = {"population": {}, "statistics": statistics is not None}
    arrays: dict[str, np.ndarray] = {}
    for name, value in ({} if population is None else population.describe()).items():
        if isinstance(value, np.ndarray):
            arrays[_POPULATION + name] = value
        else:
            header["population"][name] = value.item() if isinstance(value, np.generic) else value
    if statistics is not None:
        arrays |= {_STATISTICS + name: array for name, array in statistics.state_dict().items()}
    return Message(header, arrays)


class Shared:
    """The population and the statistics of a generation, read from the message of `describe_shared`."""

    def __init__(self, message: Message, shape: tuple[int, ...]) -> None:
        own, header = message.arrays, message.header
        arrays = {name.removeprefix(_POPULATION): array for name, array in own.items() if name.startswith(_POPULATION)}
        self.population = population_from({**header["population"], **arrays}) if header["population"] else None
        self.statistics: ObservationStatistics | None = None
        if header["statistics"]:
            self.statistics = ObservationStatistics(shape)
            state = {name.removeprefix(_STATISTICS): array for name, array in own.items() if name.startswith(_STATISTICS)}
            self.statistics.load_state_dict(state)


def identity(workers: LocalWorkers) -> dict[str, Any]:
    """The values that must be equal for two workers to be bit-identical."""
    packages = ("torch", "numpy", *SIMULATORS[workers.simulator].packages)
    return {
        "nparams": workers.nparams,
        "constants": _digest(workers.constants),
        "backend": workers.backend,
        "simulator": workers.simulator,
        "environment": hashlib.sha256(json.dumps(fingerprint(workers.task), sort_keys=True).encode()).hexdigest()[:12],
        "instruction set": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        **{name: _version(name) for name in packages},
    }


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return digest.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


class RequestHandler:
    """Answers requests with its own `LocalWorkers`; errors become answers."""

    def __init__(self) -> None:
        self._workers: LocalWorkers | None = None
        self._generation: tuple[int, int] | None = None
        self._slots = 0
        self._shared: tuple[int, Shared] | None = None

    def hello(self, recipe: Message) -> Message:
        """Make the task and the networks; the answer holds the identity."""
        try:
            self._workers = LocalWorkers(read_recipe(recipe))
            self._workers.warm_up()
            return Message({"hello": identity(self._workers)}, {})
        except Exception as error:  # a user's own rule may raise anything
            return _failed(error)

    def answer(self, request: Message, shared: Message) -> Message:
        """Evaluate a request, with the message of `describe_shared` for its generation."""
        header = request.header
        try:
            held = self._take_up(header["shared"], shared)
            played = self._rollout(header, held) if header["do"] == "rollout" else self._evaluate(header, request.arrays, held)
        except Exception as error:
            played = _failed(error)
        return Message({**played.header, "id": header["id"]}, played.arrays)

    def _take_up(self, key: int, message: Message) -> Shared:
        assert self._workers is not None
        if self._shared is None or self._shared[0] != key:
            self._shared = key, Shared(message, self._workers.task.observation_shape)
        return self._shared[1]

    def _rollout(self, header: dict[str, Any], shared: Shared) -> Message:
        assert self._workers is not None
        assert shared.population is not None
        # The simulator's slot is the ordinal of the slice within the generation, whichever slice it is.
        when = (header["generation"], header["shared"])
        self._slots = self._slots + 1 if when == self._generation else 0
        self._generation = when
        scores = self._workers.rollout(
            Slice(shared.population, *header["slice"]),
            generation=header["generation"],
            episodes=header["episodes"],
            statistics=shared.statistics,
            slot=self._slots,
        )
        arrays = {"fitness": scores.fitness, "returns": scores.returns, "lengths": scores.lengths}
        if scores.observation_sums is not None:
            arrays |= {name: getattr(scores.observation_sums, name) for name in _SUMS}
        return Message({"non_finite": scores.non_finite}, arrays)

    def _evaluate(self, header: dict[str, Any], arrays: dict[str, np.ndarray], shared: Shared) -> Message:
        assert self._workers is not None
        returns = self._workers.evaluate(
            arrays["genomes"],
            generation=header["generation"],
            purpose=Purpose(header["purpose"]),
            episodes=header["episodes"],
            first_episode=header["first_episode"],
            statistics=shared.statistics,
        )
        return Message({}, {"returns": returns})


def _failed(error: Exception) -> Message:
    known = isinstance(error, NchlError)
    return Message({"error": str(error) if known else f"{type(error).__name__}: {error}", "known": known}, {})


def parse_scores(answer: Message, count: int, episodes: int, step_limit: int, observation: tuple[int, ...] | None) -> Rollout:
    """The scores of a slice, checked.

    Args:
        answer: the answer of a worker.
        count: individuals of the slice.
        episodes: of each.
        step_limit: upper bound of an episode's length.
        observation: shape of an observation if observations are summed, else None.

    Raises:
        ProtocolError: an array or number is missing, has another shape or type, or is out of range.
    """
    wanted = {"fitness": ((count,), "f8"), "returns": ((count, episodes), "f8"), "lengths": ((count, episodes), "i8")}
    if observation is not None:
        wanted |= dict.fromkeys(_SUMS, ((count, *observation), "f8")) | {"count": ((count,), "i8")}
    _check_arrays(answer, wanted)
    arrays = answer.arrays
    non_finite = answer.header.get("non_finite")
    lengths, returns, fitness = arrays["lengths"], arrays["returns"], arrays["fitness"]
    if not isinstance(non_finite, int) or isinstance(non_finite, bool) or not 0 <= non_finite <= count:
        raise ProtocolError(f"{non_finite!r} individuals that are not finite, of {count}")
    if (lengths < 0).any() or (lengths > step_limit).any():
        raise ProtocolError(f"an episode of {int(lengths.max())} steps, more than {step_limit}")
    if not np.array_equal(returns.mean(axis=1), fitness, equal_nan=True):
        raise ProtocolError("a fitness that is not the mean of its returns")
    sums = None if observation is None else ObservationSums(*(arrays[name] for name in _SUMS))
    return Rollout(fitness, returns, lengths, non_finite, sums)


def parse_returns(answer: Message, count: int, episodes: int) -> np.ndarray:
    """Returns of a few individuals (count, episodes).

    Raises:
        ProtocolError: another shape or type.
    """
    _check_arrays(answer, {"returns": ((count, episodes), "f8")})
    return answer.arrays["returns"]


def _check_arrays(answer: Message, wanted: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    if set(answer.arrays) != set(wanted):
        raise ProtocolError(f"arrays {sorted(answer.arrays)} instead of {sorted(wanted)}")
    for name, (shape, dtype) in wanted.items():
        array = answer.arrays[name]
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ProtocolError(f"{name} is {array.dtype} {array.shape} instead of {dtype} {shape}")
