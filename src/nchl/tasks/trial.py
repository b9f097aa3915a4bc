"""Checks of a user's Gymnasium environment before a run: it steps, an episode is a function of its seed, and its numbers are finite."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nchl.simulators import bullet
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.gym_environments import Environments, Unexpected, in_words
from nchl.tasks.fingerprint import fingerprint
from nchl.tasks.task import Task

_SEED = 1
_STEPS = 8
_Values = list[dict[str, list[np.ndarray]]]  # of a reset and of each step, by name


class _StepFailed(Exception):
    """A step of a trial episode has raised an error; the message says which."""


def notes_on_environment(task: Task) -> list[str]:
    """Lines for the user on two short episodes with one seed and equal actions; empty for Gymnasium's own environments.

    One line if they differ, and one if a reward or an observation is not finite; or one if a step raises an error, which the run may do
    much later only. Both are played in an environment made for them, so that the environments of the run are not touched. An error of
    making or resetting it is not reported: the run ends with it at once, unless there can be no second environment of this kind.
    """
    simulator: Any = task.simulator
    recipe: Mapping[str, Any] = getattr(simulator, "recipe", {})
    if simulator.name != "gymnasium" or task.id == bullet.ID or not (recipe.get("wrap") or fingerprint(task)):
        return []
    lines: list[str] = []
    with contextlib.suppress(Exception), simulator_arithmetic(), _global_generators():
        environments = Environments({key: value for key, value in recipe.items() if key != "changes"}, 1)
        try:
            one, other = _episodes(environments, copy.deepcopy(simulator.action_space))
        except _StepFailed as error:
            return [f"{task.id} failed in {error}. The run ends with this error where an individual acts likewise"]
        finally:
            environments.close()
        if (found := _not_finite(one)) is not None:
            lines.append(
                f"{task.id} gives numbers that are not finite: {found}, for random actions. Such a number ends the episode "
                "with the worst rank"
            )
        if (found := _difference(one, other)) is not None:
            lines.append(
                f"{task.id} does not follow its seed: two episodes with the same seed and the same actions differ in {found}. The run is "
                "not a function of its seed: it cannot be repeated or resumed exactly, and comparisons of seeds are not exact. In reset, "
                "call super().reset(seed=seed) first and set everything that an episode changes; draw random numbers from self.np_random "
                "only"
            )
    return lines


def _not_finite(episode: _Values) -> str | None:
    """The first reward or observation that is not finite, in words."""
    for step, values in enumerate(episode):
        for name, parts in values.items():
            if not all(np.isfinite(part).all() for part in parts):
                return _words(name, step)
    return None


def _difference(one: _Values, other: _Values) -> str | None:
    """The first difference between two episodes, in words."""
    for step, (first, second) in enumerate(zip(one, other, strict=False)):
        for name, parts in first.items():
            if not all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(parts, second[name], strict=True)):
                return _words(name, step)
    return None


def _words(name: str, step: int) -> str:
    return f"the first {name}" if step == 0 else f"the {name} of step {step}"


def _episodes(environments: Environments, actions: Any) -> list[_Values]:
    """Two episodes with one seed and equal actions."""
    actions.seed(_SEED)
    chosen = [np.asarray(actions.sample())[None] for _ in range(_STEPS)]
    return [_episode(environments, chosen) for _ in range(2)]


def _episode(environments: Environments, actions: list[np.ndarray]) -> _Values:
    """The values of a reset and of each step until the end of the episode, by name."""
    values: _Values = [{"observation": [np.array(part) for part in environments.reset([_SEED])]}]
    for number, action in enumerate(actions, 1):
        try:
            *seen, rewards, terminated, truncated = environments.step([0], action)
        except Unexpected:  # whatever the actions are
            raise
        except Exception as error:
            raise _StepFailed(f"step {number} of a trial episode with random actions: {in_words(error)}") from error
        values.append({"observation": [np.array(part) for part in seen], "reward": [rewards], "end": [terminated, truncated]})
        if terminated[0] or truncated[0]:
            break
    return values


@contextlib.contextmanager
def _global_generators() -> Iterator[None]:
    """Restore the global generators of NumPy and Python, from which an environment may draw."""
    numpy, python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy)  # noqa: NPY002
        random.setstate(python)
