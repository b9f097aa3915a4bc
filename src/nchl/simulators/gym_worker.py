"""Plain Gymnasium environments, and the process that holds some of them.

Runs as a script of its own, so that a process costs numpy and Gymnasium, not torch, and so that the user's main module is
not run a second time. It talks over its standard input and output: JSON headers and raw arrays, no pickle. When the
parent ends, however suddenly, its input ends and so does the process: no orphans.
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
            here), `options` (keywords of `gymnasium.make`), `wrap` (places of wrappers, the innermost first; those in files of the user's
            stand with their texts in `texts`), `changes` (the place of a wrapper around these, then its texts) and `warm_up` (reset
            once, because the first episode of some simulators differs from all later ones).
    """
    gymnasium = importlib.import_module("gymnasium")
    if recipe.get("module"):
        importlib.import_module(recipe["module"])
    spec = recipe.get("spec")
    what = gymnasium.envs.registration.EnvSpec.from_json(spec) if spec else recipe["id"]
    environment = gymnasium.make(what, disable_env_checker=True, **recipe.get("options", {}))
    for place in recipe.get("wrap", ()):
        environment = wrapper(place, recipe.get("texts", {}))(environment)
    if recipe.get("changes"):
        place, *texts = recipe["changes"]
        environment = wrapper(place, {})(environment, texts)
    if recipe.get("warm_up"):
        environment.reset(seed=0)
    return environment


def wrapper(place: str, texts: Mapping[str, str]) -> Any:
    """What a wrapper's place names: a callable that takes an environment and gives one."""
    file, _, name = place.rpartition(":")
    if not file.endswith(".py"):
        found = importlib.import_module(file)
        for part in name.split("."):
            found = getattr(found, part)
        return found
    from nchl.user_code import load_object, using  # light: torch is loaded only by a file that draws from it

    with using({path: text.encode("latin-1") for path, text in texts.items()}):
        return load_object(place, "the wrapper")


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
        self._paths = [tuple(path) for path in recipe.get("observe", [()])]
        # Looked up once: through Gymnasium's wrappers it takes longer than a step of a light environment.
        self._spaces = [_part(self._environments[0].observation_space, path) for path in self._paths] if count else []
        self._scalar = count > 0 and not self._environments[0].action_space.shape
        self._progress = recipe.get("reward") == "progress"

    def reset(self, seeds: Sequence[int]) -> list[np.ndarray]:
        """Begin an episode in the first `len(seeds)` environments, a function of its seed; each part that is seen, as an array.

        Raises:
            Unexpected: not a pair, or an observation that is not of the space.
        """
        seen = []
        for row, seed in enumerate(seeds):
            answer = self._environments[row].reset(seed=int(seed))
            if not isinstance(answer, (tuple, list)) or len(answer) != 2:
                raise Unexpected(
                    "reset must return a pair, `return observation, info` (the old Gym returned the observation alone), "
                    f"got {type(answer).__name__} of {np.size(answer)} values"
                )
            seen.append(self._seen("reset", answer[0]))
        return [np.stack(part) for part in zip(*seen, strict=True)]

    def step(self, rows: Sequence[int], actions: np.ndarray) -> list[np.ndarray]:
        """Step some; each part that is seen, rewards (float64), terminated, truncated in the order of `rows`.

        Raises:
            Unexpected: not five values, an observation that is not of the space, or a reward that is no number.
        """
        seen, rewards, ends = [], np.empty(len(rows)), np.empty((2, len(rows)), dtype=np.bool_)
        choices = self._scalar and actions.dtype.kind in "iu"
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
            seen.append(self._seen("step", observation))
            rewards[k] = environment.unwrapped.rewards[1] if self._progress else _one(reward, "reward")
            ends[:, k] = bool(_one(terminated, "terminated")), bool(_one(truncated, "truncated"))
        return [*(np.stack(part) for part in zip(*seen, strict=True)), rewards, ends[0], ends[1]]

    def _seen(self, where: str, observation: Any) -> list[np.ndarray]:
        """The parts of one observation, as arrays of the shapes of their spaces."""
        return [_array(where, observation, path, space) for path, space in zip(self._paths, self._spaces, strict=True)]

    def first(self) -> Any:
        """The first environment itself, to be drawn."""
        return self._environments[0]

    def close(self) -> None:
        """Close all."""
        for environment in self._environments:
            environment.close()


def _part(space: Any, path: Sequence[str | int]) -> Any:
    """The space of a part."""
    for key in path:
        space = space.spaces[key]
    return space


def _array(where: str, observation: Any, path: Sequence[str | int], space: Any) -> np.ndarray:
    """One part of an observation in its space's shape. Numbers of another kind than the space's take its type, where they fit.

    Floating point numbers stay what they are: single precision is enough for some environments that declare double, and the reverse.
    """
    what = f"an observation{' with ' + '/'.join(map(str, path)) if path else ''}"
    try:
        for key in path:
            observation = observation[key]
        array = np.asarray(observation)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise Unexpected(f"{where} must return {what} as its observation_space says, got {str(observation)[:80]} ({told})") from error
    if array.shape != space.shape:
        if array.size != 1 or int(np.prod(space.shape)) != 1:
            raise Unexpected(
                f"{where} returned {what} of shape {array.shape}, but its observation_space has shape {space.shape}; make the two agree"
            )
        array = array.reshape(space.shape)
    dtype = space.dtype
    if array.dtype == dtype or (array.dtype.kind == "f" and dtype.kind == "f"):
        return array
    if array.dtype.kind not in "fiub":
        raise Unexpected(f"{where} returned {what} of {array.dtype}; expected numbers, {dtype}")
    if dtype.kind == "f":
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        cast = array.astype(dtype)
    if not np.array_equal(cast, array):
        if array.dtype.kind == "f" and len(space.shape) not in (0, 3):  # no choice and no picture: a vector may hold any numbers
            return array
        raise Unexpected(
            f"{where} returned {what} of {array.dtype} with numbers that its observation_space's {dtype} does not hold, for example "
            f"{array[cast != array].reshape(-1)[0]}; make the two agree"
        )
    return cast


def _one(value: Any, what: str) -> Any:
    """A reward or an end, which may come as an array of one number."""
    if isinstance(value, (float, int, np.generic)):
        return value
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise Unexpected(f"step must return one number as {what}, got {str(value)[:80]!r} ({type(value).__name__})")
    return array.reshape(()).item()


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the input ends, or nothing reads the answers any more."""
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
                answer = environments.reset(arrays[0].tolist())
            else:
                answer = environments.step(arrays[0].tolist(), arrays[1])
        except Unexpected as error:
            header = {"unexpected": str(error)}
        except Exception as error:  # of the user's environment: told to the parent, which ends the run with it
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
    # Python would complain of answers that were not read.
    os._exit(0)


if __name__ == "__main__":
    main()
