"""Plain Gymnasium environments, and the process that holds some of them.

Runs as a script of its own, so that a process costs numpy and Gymnasium, not torch, and so that the user's main module is
not run a second time. It talks over its standard input and output: JSON headers and raw arrays, no pickle. When the
parent dies, however suddenly, its input ends and so does the process: no orphans.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

_SIZES = struct.Struct("<II")


class Unexpected(Exception):
    """An environment answers otherwise than Gymnasium's do; the message says what came and what is expected."""


def send(pipe: IO[bytes], header: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Write one message: a JSON header and arrays."""
    arrays = [np.ascontiguousarray(array) for array in arrays]
    described = json.dumps({**header, "arrays": [[array.dtype.str, array.shape] for array in arrays]}).encode()
    payload = b"".join(array.tobytes() for array in arrays)
    pipe.write(_SIZES.pack(len(described), len(payload)) + described + payload)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    header_size, payload_size = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    header: dict[str, Any] = json.loads(_exactly(pipe, header_size))
    payload, offset, arrays = _exactly(pipe, payload_size), 0, []
    for name, shape in header.pop("arrays"):
        dtype = np.dtype(name)
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(payload, dtype, count, offset).reshape(shape))
        offset += count * dtype.itemsize
    return header, arrays


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError("the other process is gone")
    return data


def make_environment(recipe: Mapping[str, Any]) -> Any:
    """One environment from plain data.

    Args:
        recipe: `id`, and optionally `module` (imported first), `spec` (Gymnasium's own JSON, where the id may be unknown
            here), `options` (keywords of `gymnasium.make`) and `warm_up` (reset once, because the first life of some
            simulators differs from all later ones).
    """
    gymnasium = importlib.import_module("gymnasium")
    if recipe.get("module"):
        importlib.import_module(recipe["module"])
    spec = recipe.get("spec")
    what = gymnasium.envs.registration.EnvSpec.from_json(spec) if spec else recipe["id"]
    environment = gymnasium.make(what, disable_env_checker=True, **recipe.get("options", {}))
    if recipe.get("warm_up"):
        environment.reset(seed=0)
    return environment


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what C and C++ libraries print: PyBullet and MuJoCo write the same line for each environment made."""
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        _flush()
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            for place, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, place)
                os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


class Environments:
    """Some environments of one kind, stepped one after the other.

    Args:
        recipe: see `make_environment`; `reward` is "own" or "progress" (PyBullet's walkers: the second of the summands).
        count: how many.
    """

    def __init__(self, recipe: Mapping[str, Any], count: int) -> None:
        with quiet():
            self._environments = [make_environment(recipe) for _ in range(count)]
        # Looked up once: through Gymnasium's wrappers it takes longer than a step of a light environment.
        self._shapes = [environment.observation_space.shape for environment in self._environments]
        self._progress = recipe.get("reward") == "progress"

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin a life in the first `len(seeds)` environments; a life is a function of its seed.

        Raises:
            Unexpected: not a pair, or an observation of another shape than the space's.
        """
        observations = []
        for row, seed in enumerate(seeds):
            answer = self._environments[row].reset(seed=int(seed))
            if not isinstance(answer, (tuple, list)) or len(answer) != 2:
                raise Unexpected(
                    "reset must return a pair, `return observation, info` (the old Gym returned the observation alone), "
                    f"got {type(answer).__name__} of {np.size(answer)} values"
                )
            observation = np.asarray(answer[0])
            if observation.shape != self._shapes[row]:
                raise self._misshapen("reset", observation, row)
            observations.append(observation)
        return np.stack(observations)

    def step(self, rows: Sequence[int], actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step some; observations, rewards (float64), terminated, truncated in the order of `rows`.

        Raises:
            Unexpected: not five values, or an observation of another shape than the space's.
        """
        observations, rewards, ends = [], np.empty(len(rows)), np.empty((2, len(rows)), dtype=np.bool_)
        choices = actions.dtype.kind in "iu"
        for k, row in enumerate(rows):
            environment = self._environments[row]
            action = int(actions[k]) if choices else actions[k, ...]
            try:
                observation, reward, terminated, truncated, _ = environment.step(action)
            except ValueError as error:  # of ours, or of Gymnasium's own wrapper that counts the steps
                if "to unpack (expected 5" not in str(error):
                    raise
                raise Unexpected(
                    "step must return five values, `return observation, reward, terminated, truncated, info` "
                    f"(the old Gym returned four): {error}"
                ) from error
            observation = np.asarray(observation)
            if observation.shape != self._shapes[row]:
                raise self._misshapen("step", observation, row)
            observations.append(observation)
            rewards[k] = environment.unwrapped.rewards[1] if self._progress else reward
            ends[:, k] = terminated, truncated
        return np.stack(observations), rewards, ends[0], ends[1]

    def _misshapen(self, where: str, observation: np.ndarray, row: int) -> Unexpected:
        return Unexpected(
            f"{where} returned an observation of shape {observation.shape}, but its observation_space has shape {self._shapes[row]}; "
            "make the two agree"
        )

    def first(self) -> Any:
        """The first environment itself, to be drawn."""
        return self._environments[0]

    def close(self) -> None:
        """Close all."""
        for environment in self._environments:
            environment.close()


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the input ends, or nobody listens any more."""
    environments: Environments | None = None
    while True:
        try:
            request, arrays = receive(requests)
        except EOFError:
            break
        header: dict[str, Any] = {}
        answer: Sequence[np.ndarray] = ()
        try:
            if request["do"] == "make":
                sys.path[:] = request["path"]
                environments = Environments(request["recipe"], request["count"])
            elif environments is None:
                raise RuntimeError(f"{request['do']!r} before 'make'")
            elif request["do"] == "reset":
                answer = [environments.reset(arrays[0].tolist())]
            else:
                answer = environments.step(arrays[0].tolist(), arrays[1])
        except Unexpected as error:
            header = {"unexpected": str(error)}
        except Exception as error:  # of the user's environment: told to the parent, who ends the run with it
            header = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        try:
            send(replies, header, answer)
        except BrokenPipeError:  # the parent was interrupted in mid-step
            break
    if environments is not None:
        environments.close()


def main() -> None:
    """Serve standard input; what environments print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)
    _flush()
    # Python would complain of what nobody has read.
    os._exit(0)


if __name__ == "__main__":
    main()
