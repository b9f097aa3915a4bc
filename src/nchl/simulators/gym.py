"""Gymnasium as simulator: plain environments, of which only the active are stepped, spread over processes.

An episode is a function of its seed, so it does not matter which process plays it, nor how many there are. Light
environments, and those that only this process knows, are played in this process.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nchl.errors import MissingExtra, NchlError, TaskError, require
from nchl.simulators import bullet, gym_environments
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds, Simulator
from nchl.simulators.flatten import Packing, packing
from nchl.simulators.gym_ids import plain, registered_here
from nchl.simulators.gym_processes import NOT_AS_GYMNASIUM, Processes
from nchl.simulators.host import HostSimulator, Rows
from nchl.simulators.registry import Wanted
from nchl.simulators.settings import typed_for_gymnasium

# A process must have some work to be worth its pipe.
_ROWS_PER_PROCESS = 4
_LIGHT = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text")


@contextlib.contextmanager
def _arithmetic_and_errors(where: str) -> Iterator[None]:
    """Run code of an environment, which may be the user's: whatever it raises is told as this package's error."""
    try:
        with simulator_arithmetic():
            yield
    except gym_environments.Unexpected as error:
        raise TaskError(f"{NOT_AS_GYMNASIUM}: {error}") from error
    except Exception as error:
        raise TaskError(f"the environment failed {where}: {gym_environments.in_words(error)}") from error


def close(environment: Any) -> None:
    """Close an environment, or several.

    Raises:
        TaskError: its `close` raises, and no other error is on its way to the user.
    """
    # A `finally` and the end of a `with` come here with an earlier error, which says more.
    earlier = sys.exc_info()[1]
    try:
        with _arithmetic_and_errors("when it was closed"):
            environment.close()
    except TaskError:
        if earlier is None:
            raise


class _InProcess:
    """Environments in this process."""

    whole = True

    def __init__(self, recipe: Mapping[str, Any], size: int, pack: Packing) -> None:
        self.size, self._pack = size, pack
        with _arithmetic_and_errors("when it was made"):
            self._environments = gym_environments.Environments(recipe, size)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        with _arithmetic_and_errors("in a reset"):
            return self._pack.put_together(self._environments.reset(seeds))

    def step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        with _arithmetic_and_errors("in a step"):
            *seen, rewards, terminated, truncated = self._environments.step(rows.tolist(), actions)
            return Rows(self._pack.put_together(seen), rewards, terminated, truncated)

    def close(self) -> None:
        close(self._environments)


class Gymnasium(HostSimulator):
    """Environments of one task, made once and reset with a seed for each episode.

    Args:
        recipe: plain data from which an environment is made, see `gym_environments.make_environment`.
        spaces: observation space and action space of one environment.
        pack: how observations become arrays.
        step_limit: steps after which an environment truncates; None where it never does.
        threads: most processes to use; the results do not depend on them.
        where: "here", "processes", or "auto": processes where there are environments enough.
    """

    name = "gymnasium"

    def __init__(
        self, recipe: Mapping[str, Any], spaces: tuple[Any, Any], pack: Packing, step_limit: int | None, threads: int, where: str
    ) -> None:
        self.recipe, self._threads, self._where = {**recipe, "observe": pack.paths}, threads, where
        self.observation_space, self.action_space = spaces
        self.packing = pack
        self.step_limit = step_limit
        self._environments: _InProcess | Processes | None = None

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`."""
        if self._environments is None or not self._environments.whole or self._environments.size < len(seeds):
            self.close()
            self._environments = self._made(len(seeds))
        return self._environments.reset(seeds.each)

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        assert self._environments is not None
        return self._environments.step(actions, rows)

    def _made(self, size: int) -> _InProcess | Processes:
        processes = min(self._threads, max(1, size // _ROWS_PER_PROCESS))
        if self._where == "processes" or (self._where == "auto" and processes > 1):
            return Processes(self.recipe, size, self.packing, processes)
        return _InProcess(self.recipe, size, self.packing)

    def close(self) -> None:
        """See `Simulator.close`."""
        environments, self._environments = self._environments, None
        if environments is not None:
            environments.close()


def make(wanted: Wanted) -> Simulator:
    """Gymnasium environments of an id or `module:Id`; Gymnasium's own warnings are added to the notes.

    Raises:
        UnknownName: no such id, part or keyword argument.
        MissingExtra: a package is not installed.
        TaskError: an environment that cannot be made or used.
    """
    name, notes, texts = wanted.id, wanted.notes, wanted.texts
    if name == bullet.ID:
        bullet.refuse_settings(wanted)
        how = bullet.recipe(wanted.max_episode_steps)
        return Gymnasium(how.recipe, how.spaces, how.pack, how.step_limit, wanted.threads, "processes")
    limit = {} if wanted.max_episode_steps is None else {"max_episode_steps": wanted.max_episode_steps}
    wrap = wanted.wrap
    module, _, plain_id = name.rpartition(":")
    options = typed_for_gymnasium(name, wanted.env) | limit
    files = {path: text.decode("latin-1") for path, text in (texts or {}).items()} if wrap else {}
    with warnings.catch_warnings(record=True) as caught, simulator_arithmetic():
        warnings.simplefilter("always")
        probe = plain(name, **options)
        spec = probe.spec
        for place in wrap:
            probe = _wrapped(probe, place, files)
    notes.extend(
        str(warning.message).replace("\x1b[33m", "").replace("\x1b[0m", "")
        for warning in caught
        if issubclass(warning.category, UserWarning)
    )
    try:
        spaces = probe.observation_space, probe.action_space
        spaces[0].shape, spaces[1].shape
    except AttributeError as error:
        raise TaskError(
            f"{name} does not say what it observes and how it acts ({error}); an environment needs an `observation_space` and an "
            "`action_space`, set in the class or in __init__, for example gymnasium.spaces.Box(-1, 1, (3,))"
        ) from error
    finally:
        close(probe)
    recipe: dict[str, Any] = {"id": plain_id, "module": module, "options": options}
    if wrap:
        recipe |= {"wrap": list(wrap), "texts": files}
    if wanted.changes:
        recipe["changes"] = list(wanted.changes)
    where = "auto"
    if isinstance(spec.entry_point, str) and spec.entry_point.startswith(_LIGHT):
        where = "here"
    elif module:
        pass  # the other processes import the module too
    elif isinstance(spec.entry_point, str) and not spec.entry_point.startswith("__main__"):
        try:
            recipe["spec"] = spec.to_json()
        except (TypeError, ValueError):  # keywords that are no plain data
            where = "here"
        if registered_here(spec.entry_point):
            its = spec.entry_point.partition(":")[0]
            notes.append(f"{name} was registered in this process; in another one it is found as '{its}:{name}', if {its} registers it")
    else:
        where = "here"
        notes.append(f"{name} was registered with a class of this process: its environments share one processor; 'module:Id' spreads them")
    pack = packing(spaces[0], wanted.observe or None, name)
    return Gymnasium(recipe, spaces, pack, spec.max_episode_steps, wanted.threads, where)


def plays(wanted: Wanted) -> bool:
    """Whether the simulator `auto` is this one: for every task that the simulators before it do not have."""
    return True


def problem() -> str | None:
    """Why Gymnasium cannot be used here, or None."""
    try:
        require("gymnasium", "sim")
    except MissingExtra as error:
        return str(error)
    return None


def known_ids() -> list[str]:
    """All ids that are registered with Gymnasium."""
    return sorted(require("gymnasium", "sim").registry)


def _wrapped(environment: Any, place: str, texts: Mapping[str, str]) -> Any:
    """An environment within a wrapper of the user's.

    Raises:
        TaskError: there is no such wrapper, it raises, or it gives no environment.
    """
    try:
        inside = gym_environments.wrapper(place, texts)(environment)
    except NchlError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(f"the wrapper {place} cannot be used: {type(error).__name__}: {error}") from error
    if not all(callable(getattr(inside, name, None)) for name in ("reset", "step", "close")):
        raise TaskError(
            f"the wrapper {place} must take an environment and return one, as a class derived from gymnasium.Wrapper does; it returned "
            f"{type(inside).__name__}"
        )
    return inside
