"""EnvPool as simulator: the episodes of a pool are a function of (run, generation), so that a resumed run meets the same starts.

EnvPool takes seeds only when a pool is made; every further reset continues the random numbers of each environment.
Where steps draw random numbers too, or a pool costs little, it is made anew for each episode. Where resets alone draw
them and a pool is dear (MuJoCo: 1 ms an environment; CarRacing: memory is lost at each making), it lives for `LIFETIME`
generations, and a run that was resumed in the middle makes it and passes over the resets that it missed. Each slice of a
population has a pool of its own; where they hold more than `MOST_ENVIRONMENTS` together, those that were not used for the longest
time go, and are made again in the same way.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, MissingExtra, TaskError, UnknownName, install_command, require
from nchl.quiet import quiet_warnings
from nchl.seeds import environment_seed
from nchl.simulators import bullet, families
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds, Simulator, Start
from nchl.simulators.flatten import Packing, packing
from nchl.simulators.host import HostSimulator, Rows
from nchl.simulators.registry import Wanted
from nchl.simulators.settings import typed_for_envpool

LIFETIME = 20
MOST_ENVIRONMENTS = 4096  # in pools that are kept: some GB
ENDS_THE_PROCESS = frozenset(["Cig-v1", "MultiDuel-v1"])
HIDDEN = frozenset(["privileged_state"])
# Tested one by one: equal bits after passing over resets, and no random number drawn by a step.
_PERSISTENT = frozenset(
    [
        *("Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Humanoid-v5"),
        *("InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Ant-v4", "CarRacing-v3"),
    ]
)
# A second thread would cost more than it brings.
_LIGHT = ("CartPole", "Acrobot", "Pendulum", "MountainCar", "FrozenLake", "CliffWalking", "Taxi", "Blackjack", "NChain", "Catch")
# EnvPool's value for an environment without a limit.
_NO_LIMIT = 2**31 - 1


def persistent(task: str) -> bool:
    """Whether a pool of this task outlives a generation."""
    return task in _PERSISTENT


def hidden(task: str) -> frozenset[str]:
    """Parts of a task's observations that are seen only when they are named: values that a simulator has and a robot lacks."""
    return HIDDEN if families.of(task) == "playground" else frozenset()


def known_ids() -> list[str]:
    """All ids of the installed EnvPool.

    Raises:
        MissingExtra: EnvPool is not installed.
    """
    return list(require("envpool", "sim").list_all_envs())


class Pool:
    """One EnvPool in synchronous mode, stepped by subsets.

    Attributes:
        size: environments.
        resets: how often it was reset.
        whole: whether it has answered what it was asked; one that a signal kept from it would be an answer behind.
        pack: how observations become arrays.
    """

    def __init__(
        self, task: str, seeds: Sequence[int], threads: int, options: Mapping[str, Any], pack: Callable[[Any], Packing] | Packing
    ) -> None:
        envpool = require("envpool", "sim")
        self._task = task
        if task in ENDS_THE_PROCESS:
            raise TaskError(
                f"{task} cannot be played: EnvPool ends the process when it makes it (a game of several players over a network)"
            )
        if not seeds or threads < 1:
            raise InvalidArgument(f"a pool needs at least one environment and one thread, got {len(seeds)} and {threads}")
        with quiet_warnings(), simulator_arithmetic():  # Gymnasium's spaces complain of EnvPool's double precision bounds
            try:
                self._env = envpool.make(
                    task, env_type="gymnasium", num_envs=len(seeds), num_threads=min(threads, len(seeds)), seed=list(seeds), **options
                )
                self.whole_space, self.action_space = self._env.observation_space, self._env.action_space
            except (TypeError, AssertionError, RuntimeError, ValueError, ImportError) as error:
                raise TaskError(f"EnvPool cannot make {task!r} with {options}: {error or type(error).__name__}") from error
        players = int(self._env.config.get("max_num_players", 1))
        if players > 1:  # some end the process when one of them is stepped
            raise TaskError(f"{task} is a game of {players} players, of which a network plays one; choose a task of one player")
        self.pack = pack if isinstance(pack, Packing) else pack(self.whole_space)
        self.size, self.resets, self.whole = len(seeds), 0, True
        limit = int(self._env.config.get("max_episode_steps", _NO_LIMIT))
        self.step_limit = None if limit >= _NO_LIMIT else limit

    def reset(self) -> np.ndarray:
        """Begin an episode in every row; continues each environment's random numbers."""
        self.resets += 1
        self.whole = False
        observations = self.pack(self._env.reset()[0])
        self.whole = True
        if len(observations) != self.size:  # games of several players
            raise TaskError(f"{self._task} gives {len(observations)} observations for {self.size} environments: it has several players")
        return observations

    def picture(self) -> np.ndarray:
        """Picture of the first environment, (height, width, 3) uint8. For some tasks EnvPool ends the process here: see `render`."""
        picture: np.ndarray = self._env.render()[0]
        return picture

    def step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """Step some environments. A mistake that is not found before ends the process: see `HostSimulator.step`."""
        self.whole = False  # a signal may come between the question and the answer, which the next reset would then get
        observations, rewards, terminated, truncated, _ = self._env.step(np.ascontiguousarray(actions), rows)
        self.whole = True
        return Rows(self.pack(observations), rewards, terminated, truncated)


class EnvPool(HostSimulator):
    """Pools of one task, one for each part of the population.

    Args:
        task: EnvPool's id.
        threads: threads of each pool; the results do not depend on them.
        max_episode_steps: another limit than the task's own.
        observe: parts of the observations that are seen; None: all but `HIDDEN`.
        settings: further options of EnvPool's for the task.
    """

    name = "envpool"

    def __init__(
        self,
        task: str,
        threads: int,
        max_episode_steps: int | None,
        observe: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._task, self._threads = task, 1 if task.startswith(_LIGHT) else threads
        self._most = MOST_ENVIRONMENTS
        self.options = typed_for_envpool(task, settings or {}) | (
            {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        )
        probe = Pool(task, [0], 1, self.options, lambda space: packing(space, observe, task, hidden(task)))
        self.packing = probe.pack
        self.observation_space, self.action_space, self.step_limit = probe.whole_space, probe.action_space, probe.step_limit
        self._pool: Pool | None = None  # of the batch that is played
        # Key: purpose and slot. Value: the pool's settings, and the pool. The one that was used last stands last.
        self._pools: dict[tuple[int, int], tuple[tuple[int, ...], Pool]] = {}

    def _reset(self, seeds: Seeds) -> np.ndarray:
        """See `HostSimulator`."""
        self._pool = None
        if seeds.start is not None and persistent(self._task):
            self._pool, observations = self._kept_pool(len(seeds), seeds.start)
            return observations
        release_memory()  # of the pool that was just let go
        self._pool = self._made(seeds.each)
        return self._pool.reset()

    def _step(self, actions: np.ndarray, rows: np.ndarray) -> Rows:
        """See `HostSimulator`."""
        assert self._pool is not None
        return self._pool.step(actions, rows)

    def _kept_pool(self, size: int, start: Start) -> tuple[Pool, np.ndarray]:
        """The pool that lives for `LIFETIME` generations, and its observations at a start."""
        born, age = start.generation - start.generation % LIFETIME, start.generation % LIFETIME
        index = age * start.episodes + start.episode
        made_from = (size, start.run_seed, born, start.episodes)
        key = (int(start.purpose), start.slot)
        held = self._pools.pop(key, None)
        if held is None or held[0] != made_from or held[1].resets > index or not held[1].whole:
            if held is not None:
                del held
                release_memory()
            self._make_room(size)
            held = made_from, self._made([environment_seed(start.run_seed, start.purpose, born, 0)] * size)
        self._pools[key] = held
        pool = held[1]
        while pool.resets <= index:
            observations = pool.reset()
        return pool, observations

    def _made(self, seeds: Sequence[int]) -> Pool:
        return Pool(self._task, seeds, self._threads, self.options, self.packing)

    def _make_room(self, size: int) -> None:
        """Drop the pools that were not used for the longest time until so many environments more may be kept."""
        kept = sum(pool.size for _, pool in self._pools.values())
        dropped = False
        while self._pools and kept + size > self._most:
            kept -= self._pools.pop(next(iter(self._pools)))[1].size
            dropped = True
        if dropped:
            release_memory()

    def divided(self, count: int) -> list[Simulator]:
        """See `Simulator.divided`; a pool of one thread is not divided."""
        shares = [self._threads // count + (part < self._threads % count) for part in range(count)]
        if not shares[-1]:
            return [self]
        parts = [copy.copy(self) for _ in shares]
        for part, share in zip(parts, shares, strict=True):
            part._threads, part._most, part._pools, part._pool = share, self._most // count, {}, None
        return list(parts)

    def one(self, seed: int, **options: Any) -> Pool:
        """A pool of one environment, made with more of EnvPool's options, for example to be drawn."""
        return Pool(self._task, [seed], 1, {**self.options, **options}, self.packing)

    def close(self) -> None:
        """See `Simulator.close`."""
        self._pool = None
        self._pools.clear()
        release_memory()


def make(wanted: Wanted) -> Simulator:
    """EnvPool's task of a name.

    Raises:
        TaskError: wrappers or a module, which are Gymnasium's; or a task that cannot be played.
        MissingExtra: EnvPool is not installed.
        UnknownName: EnvPool has no such task, part or setting.
    """
    if wanted.wrap:
        raise TaskError(f"--wrap {wanted.wrap[0]}: wrappers are Gymnasium's; use the simulator 'gymnasium' or 'auto'")
    if wanted.id == bullet.ID:
        raise TaskError(f"EnvPool does not have {wanted.id}; use the simulator 'gymnasium' or 'auto'")
    if ":" in wanted.id:
        raise TaskError(f"{wanted.id!r} names a module of Gymnasium environments; use the simulator 'gymnasium' or 'auto'")
    missing = problem()
    if missing is not None:
        raise MissingExtra(missing)
    if wanted.id not in known_ids():
        raise UnknownName("EnvPool task", wanted.id, known_ids(), see="nchl tasks")
    made = EnvPool(wanted.id, wanted.threads, wanted.max_episode_steps, wanted.observe or None, wanted.env)
    wanted.notes.extend(_hidden_parts(wanted.id, made.observation_space, wanted.observe))
    return made


def plays(wanted: Wanted) -> bool:
    """Whether the simulator `auto` is this one: for every task that EnvPool has. Where it is missing, a line goes to the notes."""
    if wanted.wrap or ":" in wanted.id or wanted.id == bullet.ID:
        return False
    if problem() is not None:
        wanted.notes.append(f"EnvPool is not available here, so {wanted.id} runs on Gymnasium (slower)")
        return False
    return wanted.id in known_ids()


def problem() -> str | None:
    """Why EnvPool cannot be used here, or None."""
    if importlib.util.find_spec("envpool") is None:
        return (
            f"'envpool' is needed here but is not installed; install it with: {install_command('sim')} "
            "(there is no wheel for some machines)"
        )
    try:
        known_ids()
    except MissingExtra as error:
        return str(error)
    return None


def _hidden_parts(name: str, space: Any, observe: Sequence[str]) -> list[str]:
    """A line where parts of the observations are left out that were not named."""
    parts = getattr(space, "spaces", {})
    left = [] if observe else sorted(str(key) for key in parts if key in hidden(name))
    if not left:
        return []
    others = " ".join(str(key) for key in parts if key not in left)
    return [
        f"{name} also gives {' '.join(left)}, which only the simulator knows: the network does not see it; "
        f"--observe {others} {' '.join(left)} shows it"
    ]


def release_memory() -> None:
    """Hand freed memory back to the system. Pools that come and go fragment glibc's heap: it grew by 5 MB for each 200 ants."""
    if sys.platform != "linux":
        return
    gc.collect(0)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library: nothing to trim
        return
