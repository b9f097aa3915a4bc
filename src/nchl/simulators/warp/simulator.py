"""MuJoCo Warp as simulator: thousands of worlds on a device, from which nothing is read back within an episode."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nchl.errors import InvalidArgument, MissingExtra, OrderError, ShapeError, TaskError, UnknownName, require
from nchl.quiet import quiet_output
from nchl.simulators import gym_ids
from nchl.simulators.arithmetic import simulator_arithmetic
from nchl.simulators.base import Seeds, Simulator, Step
from nchl.simulators.flatten import Packing, packing
from nchl.simulators.registry import Wanted
from nchl.simulators.settings import typed_for_gymnasium
from nchl.simulators.warp.equations import TASKS, Equations
from nchl.simulators.warp.physics import Physics, load, refuse_unknown

# Keywords of Gymnasium's that concern pictures alone.
_PICTURES = frozenset(
    [
        *("default_camera_config", "width", "height", "camera_id", "camera_name", "max_geom", "visual_options", "render_mode"),
        "observation_space",
    ]
)
_PROJECTED, _NEWTON = 0, 2  # MuJoCo's solvers
_KEPT = 2  # batches of other sizes: validation has another than training
_LOOK_EVERY = 16
# Individuals that are played side by side at most: on the CPU, and on any GPU.
_ON_CPU, _ON_GPU = 1024, 65_536
_NETWORK = 1 << 19  # bytes of a GPU's memory that are counted for an individual's network
_SHARE = 3  # of the free memory, one part; steps need room of their own, and so do networks


class Warp(Simulator):
    """Worlds of one of Gymnasium's MuJoCo tasks.

    An episode's start is the one that Gymnasium gives for the same seed. A world that is not active keeps its state; another one stands in
    for it, at rest.

    Args:
        model: MuJoCo's model.
        equations: observations, rewards and ends.
        spaces: observation space and action space of one environment.
        step_limit: steps after which an episode is truncated; None where it never is.
        device: the CPU or a GPU.
        pack: how observations become arrays.
        file: the XML of the model.

    Attributes:
        model: as given.
        file: as given.
        most: environments that a batch should have at most.
    """

    name = "warp"

    def __init__(
        self,
        model: Any,
        equations: Equations,
        spaces: tuple[Any, Any],
        step_limit: int | None,
        device: torch.device,
        pack: Packing,
        file: str,
    ) -> None:
        self.model, self._equations, self.file = model, equations, file
        self.observation_space, self.action_space = spaces
        self.step_limit, self.device = step_limit, device
        self.packing = pack
        self.look_every = 1 if device.type == "cpu" else _LOOK_EVERY
        self._batches: dict[int, Physics] = {}  # the one that was used last stands last
        self._physics: Physics | None = None
        self._varied: frozenset[str] = frozenset()
        self._noise = require("gymnasium.utils.seeding", "sim").np_random

    def reset(self, seeds: Seeds) -> Float[Tensor, "size n"]:
        """See `Simulator.reset`."""
        return self.begin(*self.starts(seeds))

    def starts(self, seeds: Seeds) -> tuple[Float[np.ndarray, "size nq"], Float[np.ndarray, "size nv"]]:
        """Positions and velocities in which episodes begin, m, rad and seconds."""
        model, noise = self.model, {}
        for seed in set(seeds.each):
            noise[seed] = self._equations.noise(self._noise(seed)[0], int(model.nq), int(model.nv))
        qpos, qvel = (np.stack([noise[seed][which] for seed in seeds.each]) for which in (0, 1))
        return model.qpos0 + qpos, qvel

    def begin(self, qpos: Float[np.ndarray, "size nq"], qvel: Float[np.ndarray, "size nv"]) -> Float[Tensor, "size n"]:
        """Begin episodes in states of MuJoCo's, m, rad and seconds; their first observations."""
        self._physics = physics = self.prepare(len(qpos))
        self._weigh()
        with simulator_arithmetic():
            physics.restart(self._moved(qpos), self._moved(qvel))
        self._steps = torch.zeros(len(qpos), dtype=torch.int64, device=self.device)
        self._was_active = torch.ones(len(qpos), dtype=torch.bool, device=self.device)
        self._place = self._equations.place(physics.scene)
        return self._equations.observe(physics.scene)

    @property
    def physics(self) -> Physics:
        """The worlds of the batch.

        Raises:
            OrderError: there is none yet.
        """
        if self._physics is None:
            raise OrderError("there are no episodes yet; call reset first")
        return self._physics

    @property
    def qpos(self) -> Float[Tensor, "size nq"]:
        """Generalised positions of the batch, m and rad: a view, which changes with every step."""
        return self.physics.scene.qpos

    @property
    def steps(self) -> Int[Tensor, " size"]:
        """Steps that each world has taken in its episode."""
        return self._steps

    def vary(self, fields: Iterable[str]) -> None:
        """Let fields of the model differ from world to world (`Physics.rows`); batches that were made before are made anew."""
        if not self._varied.issuperset(fields):
            self.close()
            self._varied = self._varied.union(fields)

    def prepare(self, size: int) -> Physics:
        """The worlds of the next batch of this size; their rows of the model may be written to before it begins."""
        batch = self._batches.pop(size, None)
        while len(self._batches) >= _KEPT:
            self._batches.pop(next(iter(self._batches)))
        if batch is None:
            with simulator_arithmetic():
                batch = self._made(size, self.device)
        self._batches[size] = batch
        return batch

    def refresh(self) -> None:
        """Take over what was written to rows of the model since the last step."""
        if self._weigh():
            # As in Gymnasium, a step's way is measured with the masses that are in force at it.
            self._place = torch.where(self._was_active, self._equations.place(self.physics.scene), self._place)

    def step(self, actions: Float[Tensor, "size nu"], active: Bool[Tensor, " size"]) -> Step:
        """See `Simulator.step`."""
        physics = self.physics
        if not isinstance(actions, Tensor) or actions.shape != physics.ctrl.shape:
            raise ShapeError(f"actions: expected a tensor of shape {tuple(physics.ctrl.shape)}, got {_shape(actions)}")
        if not isinstance(active, Tensor) or active.dtype != torch.bool or active.shape != self._steps.shape:
            raise ShapeError(f"active: expected a tensor of {len(self._steps)} True or False, got {_shape(active)}")
        with simulator_arithmetic():
            physics.advance(actions, active)
        rewards, terminated = self._equations.judge(physics.scene, self._place, actions)
        rewards = torch.where(physics.overflowed, torch.nan, rewards)
        self._place = torch.where(active, self._equations.place(physics.scene), self._place)
        self._steps += active
        self._was_active = active.clone()
        truncated = active & (self._steps >= self.step_limit) if self.step_limit else torch.zeros_like(active)
        return Step(self._equations.observe(physics.scene), torch.where(active, rewards, 0), active & terminated, truncated)

    @property
    def most(self) -> int:
        """Environments that a batch should have at most: on a GPU as many as a third of its free memory holds, with their networks."""
        if self.device.type == "cpu":
            return _ON_CPU
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(2, min(_ON_GPU, free // _SHARE // (self._world() + _NETWORK)))

    def close(self) -> None:
        """See `Simulator.close`."""
        self._batches.clear()
        self._physics = None

    def _made(self, size: int, device: torch.device) -> Physics:
        return Physics(self.model, size, self._equations.frames, self._equations.forces, device, sorted(self._varied))

    def _weigh(self) -> bool:
        """Tell the equations the masses, where they differ from world to world; whether they do."""
        masses = self.physics.rows.get("body_mass")
        if masses is not None:
            self._equations.weigh(masses)
        return masses is not None

    def _world(self) -> int:
        """Bytes of a world, as two batches on the CPU have them."""
        few, more = (self._made(size, torch.device("cpu")).bytes for size in (8, 16))
        return (more - few) // 8

    def _moved(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device)


def make(wanted: Wanted) -> Warp:
    """The worlds of a task.

    Raises:
        UnknownName: a task or a setting that there is not.
        MissingExtra: MuJoCo Warp or Gymnasium is not installed.
        InvalidArgument: a device that is not there, or a setting that does not apply here.
        TaskError: wrappers, or parts of observations that have none; a model that MuJoCo Warp cannot simulate.
    """
    if wanted.id not in TASKS:
        raise UnknownName("task of the simulator warp", wanted.id, list(TASKS))
    if wanted.wrap:
        raise TaskError(f"--wrap {wanted.wrap[0]}: wrappers are Gymnasium's; use the simulator 'gymnasium'")
    device = _device(wanted.device)
    pictures = sorted(_PICTURES & set(wanted.env))
    if pictures:
        raise InvalidArgument(f"env: {pictures[0]} of {wanted.id} concerns pictures, and the simulator warp makes none; leave it out")
    settings = typed_for_gymnasium(wanted.id, wanted.env)
    warp, _ = load()
    limit = {} if wanted.max_episode_steps is None else {"max_episode_steps": wanted.max_episode_steps}
    with quiet_output():  # MuJoCo complains of Gymnasium's models
        environment = gym_ids.plain(wanted.id, **settings, **limit)
    try:
        inside = environment.unwrapped
        model = inside.model
        if model.opt.solver == _PROJECTED:
            model.opt.solver = _NEWTON
            wanted.notes.append(
                f"{wanted.id} asks for projected Gauss-Seidel, which MuJoCo Warp lacks: Newton's method solves its contacts"
            )
        try:
            equations = TASKS[wanted.id](model, {**_defaults(type(inside)), **settings}, device)
        except (KeyError, IndexError) as error:
            raise TaskError(f"{wanted.id}: the model has no body {settings['main_body']!r} ({error.args[0]})") from error
        refuse_unknown(model)
        spaces = environment.observation_space, environment.action_space
        pack = packing(spaces[0], wanted.observe, wanted.id)
        made = Warp(model, equations, spaces, environment.spec.max_episode_steps, device, pack, inside.fullpath)
    finally:
        environment.close()
    if not _compiled(warp):
        wanted.notes.append("MuJoCo Warp compiles its kernels when a task is first played, for about a minute; it keeps them for later")
    return made


def plays(wanted: Wanted) -> bool:
    """Never where no simulator is named: `auto` gives the same numbers with and without a GPU."""
    return False


def problem() -> str | None:
    """Why it cannot be used here, or None."""
    try:
        load()
    except MissingExtra as error:
        return str(error)
    return None


def known_ids() -> list[str]:
    """The six tasks."""
    return list(TASKS)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidArgument(f"device: expected cpu, cuda or cuda:0, got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"device: the simulator warp computes on cpu and cuda, got {name!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda":
        if (device.index or 0) >= count:
            there = ", ".join(f"cuda:{index}" for index in range(count)) or "no GPU"
            raise InvalidArgument(f"device: {name!r} is not there (torch sees {there}); --device cpu works everywhere")
        return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    return device


def _defaults(kind: type) -> dict[str, Any]:
    """The options of a Gymnasium class and what they are where they are not given."""
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _compiled(warp: Any) -> bool:
    """Whether kernels of MuJoCo Warp lie in Warp's cache."""
    folder = Path(warp.config.kernel_cache_dir)
    return any(folder.glob("wp_mujoco_warp*"))


def _shape(given: Any) -> Any:
    return tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
