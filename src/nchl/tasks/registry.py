"""From a name to a task: which simulator, which extra is missing, and what the user may have meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nchl import cores
from nchl.errors import InvalidArgument, UnknownName
from nchl.perturbations import Perturbation, parse_all, plan, signals
from nchl.perturbations.language import check_moments
from nchl.simulators import Wanted, bullet
from nchl.simulators.described import DESCRIBED
from nchl.simulators.registry import unknown_task
from nchl.tasks import perturbed
from nchl.tasks.early_stop import PUBLISHED
from nchl.tasks.spaces import action_map, observation_map
from nchl.tasks.task import FALLBACK_LIMIT, Task

_ALIASES = {
    "CarRacing": "CarRacing-v3",
    "CarRacing-v2": "CarRacing-v3",
    "AntBulletEnv": bullet.ID,
    f"{bullet.MODULE}:{bullet.ID}": bullet.ID,
}
# A car needs 3 MB in its network (and as much again in the simulator); PyBullet has room for a limited number of worlds.
_LARGEST_SLICE = {"CarRacing-v3": 64, bullet.ID: 256}


def make(
    id: str,
    simulator: str = "auto",
    max_episode_steps: int | None = None,
    image_size: Sequence[int] | None = None,
    threads: int | None = None,
    observe: Sequence[str] | None = None,
    env: Mapping[str, Any] | None = None,
    action_repeat: int = 1,
    wrap: Sequence[str] | None = None,
    texts: Mapping[str, bytes] | None = None,
    device: str = "cpu",
    perturb: Sequence[str | Perturbation] | str | None = None,
    perturb_training: Sequence[str] | None = None,
) -> Task:
    """Make a task by name.

    Args:
        id: an id of EnvPool or Gymnasium, `module:Id` (the module is imported first), or an id that you registered.
        simulator: "envpool", "gymnasium", "warp", or "auto": EnvPool for what it has, Gymnasium otherwise.
        max_episode_steps: another limit of steps than the task's own.
        image_size: (height, width) for tasks with pictures; None gives the network a vector.
        threads: threads or processes of the simulator, by default one per processor. Results do not depend on them.
        observe: parts of a Dict or Tuple that are seen, as keys or paths (`desired_goal/kettle`); None: all, but not Playground's
            `privileged_state`.
        env: settings of the environment: EnvPool's options for the task, or keyword arguments of a Gymnasium environment.
        action_repeat: steps of the simulator for each action, whose rewards are added.
        wrap: wrappers for a Gymnasium environment, as `MODULE:NAME` or `FILE.py:NAME`, the innermost first.
        texts: the user's files that `wrap` names, by path; None: as they lie on the disk.
        device: of the simulator "warp"; the others compute on the CPU.
        perturb: perturbations of every episode, as `"motor:3=0@500"`; see `nchl.perturbations.language`.
        perturb_training: sets of further perturbations, one of which each episode has, by its seed.

    Raises:
        UnknownName: no such task, simulator, part or setting; the message offers the nearest.
        MissingExtra: the task's package is not installed; the message names the extra.
        TaskError: a task that cannot be used, for example for its spaces.
        InvalidArgument: a number that cannot be, or an object in place of the id.
    """
    if not isinstance(id, str):
        raise no_name(id)
    limit = _positive("max_episode_steps", max_episode_steps)
    if image_size is not None and len(image_size) != 2:
        raise InvalidArgument(f"image_size: expected two numbers (height, width), got {image_size}")
    name = _ALIASES.get(id, id)
    repeat = _positive("action_repeat", action_repeat) or 1
    observe, wrap, env = _texts("observe", observe), _texts("wrap", wrap), _settings(env)
    wrong = plan(perturb, perturb_training)
    most = _positive("threads", threads) or len(cores.available())
    wanted = Wanted(name, most, limit, observe, env, wrap, texts, device)
    try:
        made = perturbed.make(simulator, wanted, wrong)
    except UnknownName as error:
        if error.name != name or simulator != "auto":
            raise
        raise unknown_task(name, {*error.choices, *(row.id for row in DESCRIBED)}) from None
    size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
    step_limit = limit or made.step_limit
    notes = wanted.notes
    if step_limit is None:
        step_limit = FALLBACK_LIMIT
        notes.append(
            f"{name} sets no limit to an episode: here it ends after {FALLBACK_LIMIT:,} steps; --max-episode-steps N sets another limit"
        )
    task = Task(
        id=name,
        simulator=made,
        observation=observation_map(made.packing, made.observation_space, size, name),
        action=action_map(made.action_space, name),
        early_stop=PUBLISHED.get(name),
        step_limit=step_limit,
        largest_slice=_LARGEST_SLICE.get(name, made.most),
        action_repeat=repeat,
        plan=wrong,
        notes=notes,
    )
    if wrong:
        check_moments(wrong.all, step_limit, repeat)
        signals.check(wrong.all, name, task.observation_shape, made.action_space)
    return task.made_by(
        task=id,
        simulator=simulator,
        max_episode_steps=limit,
        image_size=None if size is None else list(size),
        observe=list(observe) or None,
        env=env or None,
        action_repeat=repeat if repeat > 1 else None,
        wrap=list(wrap) or None,
        perturb=[str(each) for each in parse_all(perturb)] or None,
        perturb_training=list(perturb_training or ()) or None,
    )


def no_name(given: object) -> InvalidArgument:
    """The error for an object in place of a task's name; it says how to name an environment."""
    kind = given if isinstance(given, type) else type(given)
    name = kind.__name__
    if not all(callable(getattr(kind, each, None)) for each in ("reset", "step", "close")):
        return InvalidArgument(
            f"task: expected a task's name, for example 'CartPole-v1', got {name}; register an environment of your own with Gymnasium, and "
            "name it 'MODULE:ID'"
        )
    why = f"task: expected a task's name, got an environment ({name}). A run makes one copy for each individual, so it needs the name: "
    spec = getattr(given, "spec", None)
    if spec is not None:
        return InvalidArgument(f"{why}write {spec.id!r}, and 'MODULE:{spec.id}' if MODULE registers it")
    module = "my_robot" if kind.__module__ == "__main__" else kind.__module__
    return InvalidArgument(
        f"{why}in {module.rpartition('.')[2]}.py write gymnasium.register('{name}-v0', entry_point={name}), then "
        f"nchl.run('{module}:{name}-v0')"
    )


def _texts(name: str, given: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(each, str) and each for each in given or ()):
        raise InvalidArgument(f"{name}: expected a list of texts, got {given!r}")
    return tuple(given or ())


def _settings(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and (not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given)):
        raise InvalidArgument(f"env: expected settings by name, as in {{'frame_skip': 2}}, got {given!r}")
    return dict(given or {})


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or int(value) != value or not 1 <= value < 2**31):
        raise InvalidArgument(f"{name}: expected a positive whole number, got {value!r}")
    return None if value is None else int(value)
