"""Changes of an environment in the middle of an episode: a wrapper around one of Gymnasium's, which takes them back at each reset.

It runs where environments run, in processes without torch. What is drawn for an episode follows from the seed that the episode begins
with, as everywhere (`perturbations.draws`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, TaskError, UnknownName
from nchl.perturbations import bodies
from nchl.perturbations.draws import moment_of, value_of
from nchl.perturbations.objects import Attribute, Perturbation, Push, Range, Scaled, Slope
from nchl.perturbations.plan import plan_of_texts

# CartPole computes these of its attributes when it is made.
_FOLLOWS = {"total_mass": ("masspole", "masscart", "__add__"), "polemass_length": ("masspole", "length", "__mul__")}
_GRAVITY = ("gravity", "g")


class Changing:
    """A Gymnasium environment whose body, ground or attributes change; a reset takes it back.

    Args:
        environment: as Gymnasium made it, with its wrappers.
        texts: sets of perturbations of kind "body", one of which each episode has, see `plan.Plan`.

    Raises:
        TaskError: an environment without bodies, or without such an attribute.
        InvalidArgument: a body or joint that is not there.
    """

    def __init__(self, environment: Any, texts: Sequence[str]) -> None:
        self._environment, self._core = environment, environment.unwrapped
        self._plan = plan_of_texts(texts)
        self._model = getattr(self._core, "model", None) if hasattr(self._core, "data") else None
        self._attributes = {name: getattr(self._core, name) for name in _numbers(self._core)}
        self._kept: dict[str, np.ndarray] = {}
        self._known: dict[tuple[tuple[str, float], ...], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        self._due: list[tuple[int, bodies.Change]] = []
        self._done: list[bodies.Change] = []
        self._pushes: list[tuple[int, int, int, float]] = []
        self._step, self._seed = 0, 0
        for each in self._plan.all:
            self._check(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Take everything back, draw for the episode of this seed, and begin it."""
        self._seed = self._seed + 1 if seed is None else seed
        self._restore()
        changes = [(moment_of(each, self._seed), (each, value_of(each, _number(each), self._seed))) for each in self._plan.of(self._seed)]
        self._pushes = [
            (moment, moment + each.steps, bodies.body_index(self._model, each, each.place), value)
            for moment, (each, value) in changes
            if isinstance(each, Push)
        ]
        self._due = sorted(((m, change) for m, change in changes if not isinstance(change[0], Push)), key=lambda entry: entry[0])
        self._step, self._done = 0, []
        self._come()
        return self._environment.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """One step, with what is in force at it."""
        self._come()
        for begin, end, body, newtons in self._pushes:
            self._core.data.xfrc_applied[body, 0] = newtons if begin <= self._step < end else 0.0
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
            self._write([change for change in self._done if not isinstance(change[0], Attribute)])

    def _write(self, changes: Sequence[bodies.Change]) -> None:
        """The arrays of the model that all changes so far alter together."""
        key = tuple((str(each), value) for each, value in changes)
        if key not in self._known:
            if len(self._known) >= 64:  # factors that are drawn anew for each episode
                self._known.clear()
            self._known[key] = bodies.differences(self._core.fullpath, changes)
        for name, (where, new) in self._known[key].items():
            array = _array(self._model, name)
            self._kept.setdefault(name, array.copy())
            array[where] = new[where]

    def _set(self, each: Perturbation, value: float) -> None:
        name = each.place if isinstance(each, Attribute) else _gravity_of(self._core, each)
        own = self._attributes[name]
        new = own * value if not isinstance(each, Attribute) or each.times else value
        setattr(self._core, name, type(own)(new) if float(new).is_integer() else float(new))
        for derived, (first, second, operation) in _FOLLOWS.items():
            if name in (first, second) and derived in self._attributes:
                setattr(self._core, derived, getattr(float(getattr(self._core, first)), operation)(float(getattr(self._core, second))))

    def _restore(self) -> None:
        for name, array in self._kept.items():
            _array(self._model, name)[...] = array
        for name, value in self._attributes.items():
            if getattr(self._core, name) != value:
                setattr(self._core, name, value)
        if self._model is not None:
            self._core.data.xfrc_applied[...] = 0.0

    def _check(self, each: Perturbation) -> None:
        task = getattr(getattr(self._environment, "spec", None), "id", None) or type(self._core).__name__
        if isinstance(each, Attribute):
            if each.place not in self._attributes:
                raise UnknownName(f"attribute of {task}", each.place, sorted(self._attributes))
        elif self._model is not None and hasattr(self._core, "fullpath"):
            bodies.check(self._core.fullpath, [each])
        elif isinstance(each, Scaled) and each.quantity == "gravity":
            _gravity_of(self._core, each)
        else:
            raise without_bodies(task, each, sorted(self._attributes))


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


def _number(each: Perturbation) -> Range:
    if isinstance(each, Scaled):
        return each.factor
    if isinstance(each, Slope):
        return each.degrees
    if isinstance(each, Push):
        return each.newtons
    if isinstance(each, Attribute):
        return each.value
    raise InvalidArgument(f"{str(each)!r} is no change of a body")


def _numbers(core: Any) -> Iterator[str]:
    """Attributes of an environment that are numbers of its own."""
    for name, value in vars(core).items():
        if not name.startswith("_") and isinstance(value, int | float) and not isinstance(value, bool):
            yield name


def _gravity_of(core: Any, each: Perturbation) -> str:
    found = next((name for name in _GRAVITY if isinstance(vars(core).get(name), int | float)), None)
    if found is None:
        raise without_bodies(type(core).__name__, each, sorted(_numbers(core)))
    return found


def _array(model: Any, name: str) -> np.ndarray:
    part, _, rest = name.rpartition(".")
    array: np.ndarray = getattr(getattr(model, part) if part else model, rest)
    return array
