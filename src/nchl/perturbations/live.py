"""Changes of an environment in the middle of an episode: a wrapper around one of Gymnasium's, which takes them back at each reset.

It runs where environments run, in processes without torch. Moments and numbers follow from the seed that the episode begins with
(`perturbations.draws`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import TaskError, UnknownName
from nchl.perturbations import bodies
from nchl.perturbations.objects import Attribute, Perturbation, Scaled
from nchl.perturbations.plan import Change, plan_of_texts

# CartPole computes these of its attributes when it is made.
_FOLLOWS = {"total_mass": ("masspole", "masscart", "__add__"), "polemass_length": ("masspole", "length", "__mul__")}
_GRAVITY = ("gravity", "g")


class Changing:
    """A Gymnasium environment with changes of its body, ground or attributes; a reset takes them back.

    Args:
        environment: as Gymnasium made it, with its wrappers.
        texts: sets of perturbations of kind "body", one of which each episode has, see `plan.Plan`.

    Raises:
        TaskError: an environment without bodies, or without such an attribute, or a change that its body cannot have.
        InvalidArgument: a body or joint that is not there, or something that is changed twice.
    """

    def __init__(self, environment: Any, texts: Sequence[str]) -> None:
        self._environment, self._core = environment, environment.unwrapped
        self._plan = plan_of_texts(texts)
        self._model = getattr(self._core, "model", None) if hasattr(self._core, "data") and hasattr(self._core, "fullpath") else None
        self._attributes = frozenset(_numbers(self._core))
        self._own: dict[str, Any] = {}  # of the attributes that are changed now: what the environment itself had set
        # Box2D's environments: LunarLander has the attribute, BipedalWalker and CarRacing do not.
        self._world_follows = "gravity" in self._attributes and hasattr(getattr(self._core, "world", None), "gravity")
        self._kept: dict[str, np.ndarray] = {}
        if self._model is not None:
            # Few are kept: factors may be drawn anew for each episode.
            self._differences = lru_cache(64)(partial(bodies.differences, self._core.fullpath))
        self._due: list[tuple[int, Change]] = []
        self._done: list[Change] = []
        self._pushes: list[tuple[int, int, int, float]] = []
        self._step, self._seed = 0, 0
        for entry in self._plan.entries:
            self._check(entry)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Take everything back, draw for the episode of this seed, and begin it."""
        self._seed = self._seed + 1 if seed is None else seed
        self._restore()
        changes, pushes = self._plan.schedule(self._seed)
        self._pushes = [(begin, end, bodies.body_index(self._model, each, each.place), newtons) for begin, end, each, newtons in pushes]
        self._due = list(changes)
        self._step, self._done = 0, []
        self._come()
        given = {name: _object_of_its_own(getattr(self._core, name)) for name in self._own}
        for name, value in given.items():
            setattr(self._core, name, value)
        begun = self._environment.reset(seed=seed, options=options)
        self._set_again(given)
        self._set_world_gravity()
        return begun

    def step(self, action: Any) -> Any:
        """One step, with what is in force at it."""
        self._come()
        for _, _, body, _ in self._pushes:
            self._core.data.xfrc_applied[body, 0] = 0.0
        for begin, end, body, newtons in self._pushes:
            if begin <= self._step < end:
                self._core.data.xfrc_applied[body, 0] += newtons
        self._step += 1
        return self._environment.step(action)

    def _come(self) -> None:
        """Let come what is due."""
        new = [change for moment, change in self._due if moment <= self._step]
        if not new:
            return
        self._due = self._due[len(new) :]
        self._done += new
        for each, value in new:
            if isinstance(each, Attribute) or self._model is None:
                self._set(each, value)
        if self._model is not None:
            self._write(tuple(change for change in self._done if not isinstance(change[0], Attribute)))

    def _write(self, changes: tuple[Change, ...]) -> None:
        """The arrays of the model that all changes so far alter together."""
        for name, (where, new) in self._differences(changes).items():
            array = bodies.array(self._model, name)
            self._kept.setdefault(name, array.copy())
            array[where] = new[where]

    def _set(self, each: Perturbation, value: float) -> None:
        name = self._name_of(each)
        now = getattr(self._core, name)
        if not _is_number(now):
            raise TaskError(f"{str(each)!r}: {name} was a number when the environment was made, and is {type(now).__name__} now")
        new = now * value if not isinstance(each, Attribute) or each.times else value
        self._put(name, type(now)(new) if float(new).is_integer() else float(new))
        for derived, (first, second, operation) in _FOLLOWS.items():
            if name in (first, second) and derived in self._attributes:
                self._put(derived, getattr(float(getattr(self._core, first)), operation)(float(getattr(self._core, second))))
        self._set_world_gravity()

    def _put(self, name: str, value: Any) -> None:
        self._own.setdefault(name, getattr(self._core, name))
        setattr(self._core, name, value)

    def _set_again(self, given: dict[str, Any]) -> None:
        """Set once more, of the changes from the start, those of attributes that the environment's reset has set to a number of its own."""
        renewed = set()
        for name, value in given.items():
            if getattr(self._core, name) is not value:
                renewed.add(name)
                del self._own[name]
            elif isinstance(value, _Integer):
                setattr(self._core, name, int(value))
        for each, value in self._done:
            named = isinstance(each, Attribute) or self._model is None
            if named and self._name_of(each) in renewed:
                self._set(each, value)

    def _name_of(self, each: Perturbation) -> str:
        """The attribute that a change sets."""
        return each.place if isinstance(each, Attribute) else _gravity_of(self._core, each)

    def _set_world_gravity(self) -> None:
        """Set the gravity of the Box2D world, which is otherwise that of its construction."""
        if self._world_follows:
            self._core.world.gravity = (self._core.world.gravity[0], float(self._core.gravity))

    def _restore(self) -> None:
        for name, array in self._kept.items():
            bodies.array(self._model, name)[...] = array
        for name, value in self._own.items():
            setattr(self._core, name, value)
        self._own.clear()
        if self._model is not None:
            self._core.data.xfrc_applied[...] = 0.0

    def _check(self, entry: Sequence[Perturbation]) -> None:
        """Refuse perturbations that an episode cannot have together."""
        numbers = [each for each in entry if isinstance(each, Attribute) or self._model is None]
        bodies.refuse_twice([(each, self._attribute(each)) for each in numbers])
        if self._model is not None:
            path = str(self._core.fullpath)
            _check_body(path, Path(path).stat().st_mtime_ns, tuple(each for each in entry if not isinstance(each, Attribute)))

    def _attribute(self, each: Perturbation) -> str:
        """The name of the attribute that a perturbation sets."""
        task = getattr(getattr(self._environment, "spec", None), "id", None) or type(self._core).__name__
        if isinstance(each, Attribute):
            if not self._attributes:
                raise TaskError(f"{str(each)!r}: {task} has no attribute that is a number")
            if each.place not in self._attributes:
                raise UnknownName(f"attribute of {task}", each.place, sorted(self._attributes))
            return each.place
        if isinstance(each, Scaled) and each.quantity == "gravity":
            return _gravity_of(self._core, each)
        raise without_bodies(task, each, sorted(self._attributes))


@lru_cache(256)
def _check_body(path: str, written: int, entry: tuple[Perturbation, ...]) -> None:
    """`bodies.check`, once for all environments of a process with the same file, which was last `written` at that time."""
    bodies.check(path, entry)


def without_bodies(task: str, each: Perturbation, attributes: Sequence[str]) -> TaskError:
    """The error for a body that cannot be changed, with what can."""
    more = f"; of its attributes: {', '.join(f'attribute:{name}' for name in attributes)}" if attributes else ""
    return TaskError(
        f"{task} has no bodies of MuJoCo's, so {str(each)!r} cannot be done; it takes sensor:, sensor-noise, sensor-delay, lesion:weights, "
        f"lesion:neurons and shuffle:weights, and motor: and action-noise where actions are numbers{more}"
    )


def wrap(environment: Any, texts: Sequence[str]) -> Any:
    """The environment with changes, see `Changing`."""
    return Changing(environment, texts)


def _numbers(core: Any) -> list[str]:
    """Names of an environment's attributes that are numbers: its own, and those of its class, as Acrobot's are."""
    held = dict(vars(core))
    for each in type(core).__mro__:
        held = {**vars(each), **held}
    return sorted(name for name, value in held.items() if _is_number(value) and not name.startswith("_"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


class _Integer(int):
    """A whole number that is no other object, which Python's own small ones are."""


def _object_of_its_own(value: Any) -> Any:
    """The same number. By its identity a reset that sets an equal one is told from a reset that leaves it."""
    return _Integer(value) if type(value) is int else value


def _gravity_of(core: Any, each: Perturbation) -> str:
    numbers = _numbers(core)
    found = next((name for name in _GRAVITY if name in numbers), None)
    if found is None:
        raise without_bodies(type(core).__name__, each, numbers)
    return found
