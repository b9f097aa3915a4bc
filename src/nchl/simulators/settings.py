"""Settings of an environment (`--env KEY=VALUE`): held to the names and types of its own configuration.

EnvPool has a configuration with defaults for each task. For Gymnasium these are the keyword arguments of the environment's class (and of
those that it is derived from, where it hands further ones on), and what it was registered with.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from nchl.errors import InvalidArgument, TaskError, UnknownName, require
from nchl.quiet import quiet_warnings

# Options of EnvPool's that are no settings of an environment -> what to use in place of them.
_OWN = {
    "num_envs": "--population",
    "batch_size": "--population",
    "num_threads": "no option: results do not depend on threads",
    "max_num_players": "no option",
    "thread_affinity_offset": "no option",
    "seed": "--seed",
    "env_seed": "--seed",
    "gym_reset_return_info": "no option",
    "max_episode_steps": "--max-episode-steps",
    "render_mode": "nchl film",
    "disable_env_checker": "no option",
}


def typed_for_envpool(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of one of EnvPool's tasks, checked against its configuration.

    Raises:
        UnknownName: no such setting; the message offers the nearest.
        InvalidArgument: a value of another type, or a setting that is an option of `nchl evolve`.
        TaskError: EnvPool cannot make the task.
    """
    if not given:
        return {}
    with quiet_warnings():
        try:
            defaults: dict[str, Any] = require("envpool", "sim").make_spec(task).config._asdict()
        except (TypeError, AssertionError, RuntimeError, ValueError, ImportError) as error:
            raise TaskError(f"EnvPool cannot make {task!r}: {error or type(error).__name__}") from error
    return _typed(task, given, {name: value for name, value in defaults.items() if name not in _OWN})


def typed_for_gymnasium(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a Gymnasium environment, checked against the keyword arguments of its class; `name`: an id or `module:Id`.

    An id that is not registered, or a class that cannot be imported, is left for the making to complain of.

    Raises:
        UnknownName: no such keyword argument; the message offers the nearest.
        InvalidArgument: a value of another type, or a setting that is an option of `nchl evolve`.
    """
    if not given:
        return {}
    from nchl.simulators.gym_ids import import_module_of  # the module registers the id

    gymnasium = require("gymnasium", "sim")
    import_module_of(name)
    try:
        spec = gymnasium.spec(name.rpartition(":")[2])
        entry = spec.entry_point
        creator = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    except Exception:
        return _typed(name, given, None)
    known, is_open = _keywords(creator)
    known |= spec.kwargs
    return _typed(name, given, known, is_open)


def _keywords(creator: Any) -> tuple[dict[str, Any], bool]:
    """The keyword arguments of a class or function with their defaults, and whether it takes any others."""
    known: dict[str, Any] = {}
    makers = (
        [each.__dict__["__init__"] for each in creator.__mro__ if "__init__" in each.__dict__] if inspect.isclass(creator) else [creator]
    )
    for maker in makers:
        try:
            parameters = list(inspect.signature(maker).parameters.values())
        except (TypeError, ValueError):  # of object, or written in C
            return known, maker is not object.__init__
        for each in parameters[inspect.isclass(creator) :]:
            if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
                known.setdefault(each.name, None if each.default is each.empty else each.default)
        if not any(each.kind == each.VAR_KEYWORD for each in parameters):
            return known, False
    return known, True


def _typed(task: str, given: Mapping[str, Any], known: Mapping[str, Any] | None, is_open: bool = False) -> dict[str, Any]:
    """The settings with the types of their defaults; None of these: whatever is given."""
    typed = {}
    for name, value in given.items():
        if name in _OWN:
            raise InvalidArgument(f"env: {name} is not a setting of the environment here; use {_OWN[name]}")
        if known is not None and name not in known and not is_open:
            if not known:
                raise InvalidArgument(f"env: {task} has no settings, got {name!r}")
            raise UnknownName(f"setting of {task}", name, sorted(known))
        typed[name] = _as(task, name, value, None if known is None else known.get(name))
    return typed


def _as(task: str, name: str, value: Any, default: Any) -> Any:
    """A value as its default's type."""
    fits, wanted = True, ""
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        # EnvPool's and C++'s integers.
        fits = fits and -(2**31) <= value < 2**31
    elif isinstance(default, float):
        fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        value = float(value) if fits else value
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "text"
    elif isinstance(default, tuple | list):
        fits, wanted = isinstance(value, list | tuple), "a list, as in [1, 2]"
        value = type(default)(value) if fits and type(default) in (tuple, list) else value
    if not fits:
        # A text that looks like a number was read as one.
        hint = f"; for text that looks like this write --env {name}='\"{value}\"'" if wanted == "text" else ""
        raise InvalidArgument(f"env: {name} of {task} must be {wanted} (its default is {default!r}), got {value!r}{hint}")
    return value
