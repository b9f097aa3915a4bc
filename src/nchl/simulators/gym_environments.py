"""Plain Gymnasium environments, made from plain data and stepped one after the other; without torch."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl.quiet import quiet_output

# Folders of this package, of Python and of installed packages.
_FOLDERS = (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
_NOT_THE_USERS = tuple(f"{folder}{os.sep}" for folder in _FOLDERS)


class Unexpected(Exception):
    """An environment breaks Gymnasium's interface; the message says what was expected and what it returned."""


def in_words(error: Exception) -> str:
    """An error of an environment, with the line of the user's file in which it was raised, or which called what raised it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<", *_NOT_THE_USERS)):
            return f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno}, in {frame.name}){advice(error)}"
    return f"{type(error).__name__}: {error}{advice(error)}"


def advice(error: Exception) -> str:
    """What to write where an environment's `reset` is the old Gym's; else empty."""
    if not isinstance(error, TypeError) or not re.search(r"reset\(\) got an unexpected keyword argument '(seed|options)'", str(error)):
        return ""
    return (
        "; write `def reset(self, *, seed=None, options=None):` and `super().reset(seed=seed)` as its first line, and return "
        "`observation, info` (the old Gym had neither argument)"
    )


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


class Environments:
    """Some environments of one kind, stepped one after the other.

    Args:
        recipe: see `make_environment`; `reward` is "own" or "progress" (PyBullet's walkers: the second of the summands).
        count: how many.
    """

    def __init__(self, recipe: Mapping[str, Any], count: int) -> None:
        with quiet_output():
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
        """Close all, also behind one whose `close` raises."""
        with contextlib.ExitStack() as stack:
            for environment in reversed(self._environments):
                stack.callback(environment.close)


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
