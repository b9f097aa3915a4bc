"""Gymnasium as simulator: plain environments, of which only the living are stepped, spread over processes.

A life is a function of its seed, so it does not matter which process plays it, nor how many there are. Light
environments, and those that only this process knows, are played in this process.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nchl.errors import MissingExtra, NchlError, TaskError, UnknownName, require
from nchl.seeds import environment_seed
from nchl.tasks import gym_worker
from nchl.tasks.arithmetic import simulator_arithmetic
from nchl.tasks.base import Lives, Simulator, Start, Step
from nchl.tasks.flatten import Packing, packing
from nchl.tasks.gym_processes import NOT_AS_GYMNASIUM, Processes
from nchl.tasks.settings import typed_for_gymnasium

# A process must have some work to be worth its pipe.
_ROWS_PER_PROCESS = 4
_LIGHT = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text")


@contextlib.contextmanager
def _arithmetic_and_errors(where: str) -> Iterator[None]:
    """Run code of an environment, which may be the user's: whatever it raises is told as this package's error."""
    try:
        with simulator_arithmetic():
            yield
    except gym_worker.Unexpected as error:
        raise TaskError(f"{NOT_AS_GYMNASIUM}: {error}") from error
    except Exception as error:
        raise TaskError(f"the environment failed {where}: {type(error).__name__}: {error}") from error


class _InProcess(Lives):
    """Environments in this process."""

    whole = True

    def __init__(self, recipe: Mapping[str, Any], size: int, pack: Packing, action_space: Any) -> None:
        super().__init__(size, pack.space, action_space)
        self._pack = pack
        with _arithmetic_and_errors("when it was made"):
            self._environments = gym_worker.Environments(recipe, size)

    def reset(self, seeds: list[int]) -> np.ndarray:
        with _arithmetic_and_errors("in a reset"):
            return self._pack.put_together(self._environments.reset(seeds))

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Step:
        with _arithmetic_and_errors("in a step"):
            *seen, rewards, terminated, truncated = self._environments.step(rows.tolist(), actions)
            return Step(self._pack.put_together(seen), rewards, terminated, truncated)

    def close(self) -> None:
        self._environments.close()


class Gymnasium(Simulator):
    """Environments of one task, made once and reset with a seed for each life.

    Args:
        recipe: plain data from which an environment is made, see `gym_worker.make_environment`.
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
        self._lives: _InProcess | Processes | None = None

    def common(self, size: int, start: Start) -> tuple[Lives, np.ndarray]:
        """See `Simulator.common`."""
        return self.separate([environment_seed(start.run_seed, start.purpose, start.generation, start.episode)] * size)

    def separate(self, seeds: list[int]) -> tuple[Lives, np.ndarray]:
        """See `Simulator.separate`."""
        if self._lives is None or not self._lives.whole or self._lives.size < len(seeds):
            self.close()
            self._lives = self._make(len(seeds))
        return self._lives, self._lives.reset(seeds)

    def _make(self, size: int) -> _InProcess | Processes:
        processes = min(self._threads, max(1, size // _ROWS_PER_PROCESS))
        if self._where == "processes" or (self._where == "auto" and processes > 1):
            return Processes(self.recipe, size, self.packing, self.action_space, processes)
        return _InProcess(self.recipe, size, self.packing, self.action_space)

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._lives is not None:
            self._lives.close()
            self._lives = None


def make(
    name: str,
    threads: int,
    max_episode_steps: int | None,
    notes: list[str],
    *,
    observe: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    wrap: Sequence[str] = (),
    texts: Mapping[str, bytes] | None = None,
) -> Gymnasium:
    """Gymnasium environments of `name`, an id or `module:Id`; Gymnasium's own warnings are added to `notes`.

    Args:
        name: an id or `module:Id`.
        threads: most processes.
        max_episode_steps: another limit than the task's own.
        notes: get lines for the user.
        observe: parts of the observations that are seen; None: all.
        settings: keyword arguments of the environment.
        wrap: wrappers, `MODULE:NAME` or `FILE.py:NAME`, the innermost first.
        texts: the user's files by path.
    """
    module, _, plain_id = name.rpartition(":")
    options = typed_for_gymnasium(name, settings or {}) | ({} if max_episode_steps is None else {"max_episode_steps": max_episode_steps})
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
        probe.close()
    recipe: dict[str, Any] = {"id": plain_id, "module": module, "options": options}
    if wrap:
        recipe |= {"wrap": list(wrap), "texts": files}
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
    else:
        where = "here"
        notes.append(f"{name} was registered with a class of this process: its environments share one processor; 'module:Id' spreads them")
    return Gymnasium(recipe, spaces, packing(spaces[0], observe, name), spec.max_episode_steps, threads, where)


def _wrapped(environment: Any, place: str, texts: Mapping[str, str]) -> Any:
    """An environment within a wrapper of the user's.

    Raises:
        TaskError: there is no such wrapper, it raises, or it gives no environment.
    """
    try:
        inside = gym_worker.wrapper(place, texts)(environment)
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


def plain(name: str, **options: Any) -> Any:
    """One Gymnasium environment, with this package's errors in place of Gymnasium's.

    Raises:
        UnknownName: no such id is registered.
        MissingExtra: Gymnasium, or what the environment needs, is not installed.
        TaskError: the module of `module:Id` cannot be imported, or the environment cannot be made.
    """
    gymnasium = require("gymnasium", "sim")
    import_module_of(name)
    plain_id = name.rpartition(":")[2]
    try:
        return gymnasium.make(plain_id, disable_env_checker=True, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtra(
            f"{plain_id} needs a package that is not installed ({error}); install it with: pip install 'nchl[sim]'"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise UnknownName("task", name, sorted(gymnasium.registry)) from error
    except Exception as error:
        raise TaskError(f"Gymnasium cannot make {name!r}: {type(error).__name__}: {error}") from error


def import_module_of(name: str) -> None:
    """Import the module of `module:Id`, which registers the id.

    Raises:
        TaskError: it cannot be imported.
    """
    module = name.rpartition(":")[0]
    if not module:
        return
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the module may be the user's: whatever goes wrong there
        hint = ""
        # Not a module that it imports in its turn.
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = f"; it must be importable: from the folder that holds it, write `PYTHONPATH=. nchl ...` (here: {name})"
        raise TaskError(f"the module of {name!r} could not be imported: {type(error).__name__}: {error}{hint}") from error
