"""Gymnasium as simulator: plain environments, of which only the living are stepped, spread over processes.

A life is a function of its seed, so it does not matter which process plays it, nor how many there are. Light
environments, and those that only this process knows, are played in this process.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import MissingExtra, TaskError, UnknownName, require
from nchl.seeds import environment_seed
from nchl.tasks import gym_worker
from nchl.tasks.arithmetic import simulator_arithmetic
from nchl.tasks.base import Lives, Simulator, Start, Step

# A process must have some work to be worth its pipe.
_ROWS_PER_PROCESS = 4
_NOT_AS_GYMNASIUM = "the environment does not answer as Gymnasium's do"
_LIGHT = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text")


@contextlib.contextmanager
def _arithmetic_and_errors(where: str) -> Iterator[None]:
    """Run code of an environment, which may be the user's: whatever it raises is told as this package's error."""
    try:
        with simulator_arithmetic():
            yield
    except gym_worker.Unexpected as error:
        raise TaskError(f"{_NOT_AS_GYMNASIUM}: {error}") from error
    except Exception as error:
        raise TaskError(f"the environment failed {where}: {type(error).__name__}: {error}") from error


class _InProcess(Lives):
    """Environments in this process."""

    whole = True

    def __init__(self, recipe: Mapping[str, Any], size: int, spaces: tuple[Any, Any]) -> None:
        super().__init__(size, *spaces)
        with _arithmetic_and_errors("when it was made"):
            self._environments = gym_worker.Environments(recipe, size)

    def reset(self, seeds: list[int]) -> np.ndarray:
        with _arithmetic_and_errors("in a reset"):
            return self._environments.reset(seeds)

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Step:
        with _arithmetic_and_errors("in a step"):
            return Step(*self._environments.step(rows.tolist(), actions))

    def close(self) -> None:
        self._environments.close()


class _Processes(Lives):
    """Environments in several processes; row `i` lives in process `i % processes`, so that the dying spread.

    Attributes:
        whole: whether each process has answered what it was asked; one that a signal kept from it would be a message behind.
    """

    def __init__(self, recipe: Mapping[str, Any], size: int, spaces: tuple[Any, Any], processes: int) -> None:
        super().__init__(size, *spaces)
        self.whole = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._finalizer = weakref.finalize(self, _end, self._children)
        # -P: the script's folder must not hide packages of the same names as its neighbours.
        command = [sys.executable, "-P", str(Path(gym_worker.__file__))]
        try:
            for _ in range(processes):
                self._children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            make = {"do": "make", "recipe": dict(recipe), "path": sys.path}
            self._exchange({k: ({**make, "count": len(range(k, size, processes))}, []) for k in range(processes)})
        except OSError as error:
            self.close()
            started = len(self._children)
            raise TaskError(f"only {started} of {processes} processes of environments could be started ({error}); use fewer") from error
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: list[int]) -> np.ndarray:
        count = len(self._children)
        busy = [k for k in range(count) if seeds[k::count]]
        parts = self._exchange({k: ({"do": "reset"}, [np.array(seeds[k::count], dtype=np.int64)]) for k in busy})
        observations = np.empty((len(seeds), *parts[0][0].shape[1:]), dtype=parts[0][0].dtype)
        for k, part in zip(busy, parts, strict=True):
            observations[k::count] = part[0]
        return observations

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Step:
        count = len(self._children)
        places = [np.flatnonzero(rows % count == k) for k in range(count)]
        busy = [k for k in range(count) if len(places[k])]
        parts = self._exchange({k: ({"do": "step"}, [rows[places[k]] // count, actions[places[k]]]) for k in busy})
        merged = [np.empty((len(rows), *array.shape[1:]), dtype=array.dtype) for array in parts[0]]
        for k, part in zip(busy, parts, strict=True):
            for whole, array in zip(merged, part, strict=True):
                whole[places[k]] = array
        return Step(*merged)

    def _exchange(self, questions: Mapping[int, tuple[dict[str, Any], list[np.ndarray]]]) -> list[list[np.ndarray]]:
        """Ask some of the processes, all before the first answer is waited for; their answers."""
        self.whole = False
        for k, (header, arrays) in questions.items():
            self._ask(k, header, arrays)
        answers = [self._answer(k) for k in questions]
        self.whole = True
        return answers

    def _ask(self, k: int, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
        try:
            gym_worker.send(self._children[k].stdin, header, arrays)  # type: ignore[arg-type]
        except (BrokenPipeError, OSError) as error:
            raise self._gone(k) from error

    def _answer(self, k: int) -> list[np.ndarray]:
        try:
            header, arrays = gym_worker.receive(self._children[k].stdout)  # type: ignore[arg-type]
        except EOFError as error:
            raise self._gone(k) from error
        if "unexpected" in header:
            self.close()
            raise TaskError(f"{_NOT_AS_GYMNASIUM}: {header['unexpected']}")
        if "error" in header:
            self.close()
            raise TaskError(f"an environment failed in its process: {header['error']}\n{header['traceback']}")
        return arrays

    def _gone(self, k: int) -> TaskError:
        child = self._children[k]
        self.close()
        return TaskError(f"a process of environments ended unexpectedly (exit status {child.returncode}); its last words are above")

    def close(self) -> None:
        self._finalizer()


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Close the input of each child and wait; one that does not go is killed."""
    for child in children:
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # the child went first
                pass
    for child in children:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Gymnasium(Simulator):
    """Environments of one task, made once and reset with a seed for each life.

    Args:
        recipe: plain data from which an environment is made, see `gym_worker.make_environment`.
        spaces: observation space and action space of one environment.
        step_limit: steps after which an environment truncates; None where it never does.
        threads: most processes to use; the results do not depend on them.
        where: "here", "processes", or "auto": processes where there are environments enough.
    """

    name = "gymnasium"

    def __init__(self, recipe: Mapping[str, Any], spaces: tuple[Any, Any], step_limit: int | None, threads: int, where: str) -> None:
        self.recipe, self._threads, self._where = recipe, threads, where
        self.observation_space, self.action_space = spaces
        self.step_limit = step_limit
        self._lives: _InProcess | _Processes | None = None

    def common(self, size: int, start: Start) -> tuple[Lives, np.ndarray]:
        """See `Simulator.common`."""
        return self.separate([environment_seed(start.run_seed, start.purpose, start.generation, start.episode)] * size)

    def separate(self, seeds: list[int]) -> tuple[Lives, np.ndarray]:
        """See `Simulator.separate`."""
        if self._lives is None or not self._lives.whole or self._lives.size < len(seeds):
            self.close()
            self._lives = self._make(len(seeds))
        return self._lives, self._lives.reset(seeds)

    def _make(self, size: int) -> _InProcess | _Processes:
        processes = min(self._threads, max(1, size // _ROWS_PER_PROCESS))
        if self._where == "processes" or (self._where == "auto" and processes > 1):
            return _Processes(self.recipe, size, (self.observation_space, self.action_space), processes)
        return _InProcess(self.recipe, size, (self.observation_space, self.action_space))

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._lives is not None:
            self._lives.close()
            self._lives = None


def make(name: str, threads: int, max_episode_steps: int | None, notes: list[str]) -> Gymnasium:
    """Gymnasium environments of `name`, an id or `module:Id`; Gymnasium's own warnings are added to `notes`."""
    module, _, plain_id = name.rpartition(":")
    options = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    with warnings.catch_warnings(record=True) as caught, simulator_arithmetic():
        warnings.simplefilter("always")
        probe = plain(name, **options)
    notes.extend(
        str(warning.message).replace("\x1b[33m", "").replace("\x1b[0m", "")
        for warning in caught
        if issubclass(warning.category, UserWarning)
    )
    try:
        spec, spaces = probe.spec, (probe.observation_space, probe.action_space)
    except AttributeError as error:
        raise TaskError(
            f"{name} does not say what it observes and how it acts ({error}); an environment needs an `observation_space` and an "
            "`action_space`, set in the class or in __init__, for example gymnasium.spaces.Box(-1, 1, (3,))"
        ) from error
    finally:
        probe.close()
    recipe: dict[str, Any] = {"id": plain_id, "module": module, "options": options}
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
    return Gymnasium(recipe, spaces, spec.max_episode_steps, threads, where)


def plain(name: str, **options: Any) -> Any:
    """One Gymnasium environment, with this package's errors in place of Gymnasium's.

    Raises:
        UnknownName: no such id is registered.
        MissingExtra: Gymnasium, or what the environment needs, is not installed.
        TaskError: the module of `module:Id` cannot be imported, or the environment cannot be made.
    """
    gymnasium = require("gymnasium", "sim")
    module, _, plain_id = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # the module may be the user's: whatever goes wrong there
            hint = ""
            # Not a module that it imports in its turn.
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                hint = f"; it must be importable: from the folder that holds it, write `PYTHONPATH=. nchl ...` (here: {name})"
            raise TaskError(f"the module of {name!r} could not be imported: {type(error).__name__}: {error}{hint}") from error
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
