"""Observations, rewards and terminations of Gymnasium's MuJoCo tasks (v5), written once in torch for a batch of worlds.

Each class follows the class of the same name in `gymnasium.envs.mujoco`, with its options, and is held to it by tests. All tensors have the
worlds as their first axis and lie on the simulator's device; nothing here reads a value back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """Quantities of a batch of worlds, as views of the simulator's memory: they change with every step.

    Gymnasium reads positions of bodies, inertias and forces as MuJoCo leaves them after a step: those of the step's last evaluation of the
    dynamics, one integration behind `qpos`. So it is here.

    Attributes:
        qpos: generalised positions (size, nq), m and rad.
        qvel: generalised velocities (size, nv), m/s and rad/s.
        xpos: positions of the bodies (size, nbody, 3), m.
        xipos: centres of mass of the bodies (size, nbody, 3), m.
        cinert: inertias about the centre of mass of the tree (size, nbody, 10).
        cvel: velocities of the bodies (size, nbody, 6), rotation first.
        cfrc_ext: external forces on the bodies (size, nbody, 6), torque first.
        qfrc_actuator: forces of the actuators (size, nv).
    """

    qpos: Float[Tensor, "size nq"]
    qvel: Float[Tensor, "size nv"]
    xpos: Float[Tensor, "size nbody 3"]
    xipos: Float[Tensor, "size nbody 3"]
    cinert: Float[Tensor, "size nbody 10"]
    cvel: Float[Tensor, "size nbody 6"]
    cfrc_ext: Float[Tensor, "size nbody 6"]
    qfrc_actuator: Float[Tensor, "size nv"]


class Equations:
    """Observations, rewards and ends of a scene; each task derives a class from this one.

    Args:
        model: MuJoCo's model.
        options: all options of the task in Gymnasium, with their defaults.
        device: where the scenes lie.

    Attributes:
        forces: whether forces on the bodies (`cfrc_ext`) are needed.
        skipped: numbers of `qpos` that tell where the body is, and that `exclude_current_positions_from_observation` leaves out.
        normal_velocities: whether a start's velocities are drawn from a normal distribution, in place of a uniform one.
        frames: steps of the physics in one of the task.
        seconds: of one step of the task.
    """

    forces: ClassVar[bool] = False
    skipped: ClassVar[int] = 1
    normal_velocities: ClassVar[bool] = False

    def __init__(self, model: Any, options: Mapping[str, Any], device: torch.device) -> None:
        self._options: dict[str, Any] = dict(options)
        self.frames = int(options["frame_skip"])
        self.seconds = float(model.opt.timestep) * self.frames

    def noise(self, generator: np.random.Generator, nq: int, nv: int) -> tuple[Float[np.ndarray, " nq"], Float[np.ndarray, " nv"]]:
        """The noise that an episode's start adds to positions and velocities: Gymnasium's draws, in its order."""
        scale = self._options["reset_noise_scale"]
        positions = generator.uniform(-scale, scale, nq)
        if self.normal_velocities:
            return positions, scale * generator.standard_normal(nv)
        return positions, generator.uniform(-scale, scale, nv)

    def weigh(self, masses: Float[Tensor, "size nbody"]) -> None:
        """Take the masses of bodies, kg, where they differ from world to world."""

    def place(self, scene: Scene) -> Float[Tensor, " size"]:
        """Where the worlds' bodies are along the axis that counts, m. A copy."""
        return scene.qpos[:, 0].clone()

    def observe(self, scene: Scene) -> Float[Tensor, "size n"]:
        """The observations, a copy."""
        skipped = self.skipped if self._options["exclude_current_positions_from_observation"] else 0
        return torch.cat((scene.qpos[:, skipped:], self._velocities(scene), *self._further(scene)), dim=1)

    def judge(
        self, scene: Scene, before: Float[Tensor, " size"], actions: Float[Tensor, "size nu"]
    ) -> tuple[Float[Tensor, " size"], Bool[Tensor, " size"]]:
        """Rewards and terminations of a step.

        Args:
            scene: after the step.
            before: `place` before it.
            actions: of the step.
        """
        rewards = self._options["forward_reward_weight"] * (self.place(scene) - before) / self.seconds
        rewards = rewards - self._options["ctrl_cost_weight"] * actions.square().sum(1)
        healthy = self._healthy(scene)
        if healthy is None:
            return rewards, torch.zeros_like(rewards, dtype=torch.bool)
        rewards = rewards + self._options["healthy_reward"] * healthy - self._contact_cost(scene)
        return rewards, ~healthy if self._options["terminate_when_unhealthy"] else torch.zeros_like(healthy)

    def _velocities(self, scene: Scene) -> Float[Tensor, "size nv"]:
        return scene.qvel

    def _further(self, scene: Scene) -> tuple[Tensor, ...]:
        """Observations beside positions and velocities."""
        return ()

    def _healthy(self, scene: Scene) -> Bool[Tensor, " size"] | None:
        """Which worlds are healthy; None where the task does not ask."""
        return None

    def _contact_cost(self, scene: Scene) -> Float[Tensor, " size"] | float:
        return 0.0

    def _within(self, values: Float[Tensor, "size ..."], option: str) -> Bool[Tensor, "size ..."]:
        """Which values lie strictly within a range; NaN does not."""
        low, high = map(float, self._options[option])
        return (values > low) & (values < high)


class HalfCheetah(Equations):
    """`HalfCheetah-v5`."""

    normal_velocities = True


class Swimmer(Equations):
    """`Swimmer-v5`."""

    skipped = 2


class Hopper(Equations):
    """`Hopper-v5`."""

    def _velocities(self, scene: Scene) -> Float[Tensor, "size nv"]:
        return scene.qvel.clamp(-10, 10)

    def _healthy(self, scene: Scene) -> Bool[Tensor, " size"]:
        state = torch.cat((scene.qpos, scene.qvel), dim=1)[:, 2:]
        upright = self._within(scene.qpos[:, 1], "healthy_z_range") & self._within(scene.qpos[:, 2], "healthy_angle_range")
        return upright & self._within(state, "healthy_state_range").all(1)


class Walker2d(Hopper):
    """`Walker2d-v5`."""

    def _healthy(self, scene: Scene) -> Bool[Tensor, " size"]:
        return self._within(scene.qpos[:, 1], "healthy_z_range") & self._within(scene.qpos[:, 2], "healthy_angle_range")


class Ant(Equations):
    """`Ant-v5`."""

    forces = True
    skipped = 2
    normal_velocities = True

    def __init__(self, model: Any, options: Mapping[str, Any], device: torch.device) -> None:
        super().__init__(model, options, device)
        self._body = int(model.body(options["main_body"]).id)

    def place(self, scene: Scene) -> Float[Tensor, " size"]:
        """Along x, of the main body. A copy."""
        return scene.xpos[:, self._body, 0].clone()

    def _forces(self, scene: Scene) -> Float[Tensor, "size nbody 6"]:
        return scene.cfrc_ext.clamp(*self._options["contact_force_range"])

    def _further(self, scene: Scene) -> tuple[Tensor, ...]:
        return (self._forces(scene)[:, 1:].flatten(1),) if self._options["include_cfrc_ext_in_observation"] else ()

    def _healthy(self, scene: Scene) -> Bool[Tensor, " size"]:
        low, high = map(float, self._options["healthy_z_range"])
        height = scene.qpos[:, 2]
        finite = scene.qpos.isfinite().all(1) & scene.qvel.isfinite().all(1)
        return finite & (height >= low) & (height <= high)

    def _contact_cost(self, scene: Scene) -> Float[Tensor, " size"]:
        return self._forces(scene).square().sum((1, 2)) * float(self._options["contact_cost_weight"])


class Humanoid(Equations):
    """`Humanoid-v5`."""

    forces = True
    skipped = 2

    def __init__(self, model: Any, options: Mapping[str, Any], device: torch.device) -> None:
        super().__init__(model, options, device)
        masses = torch.as_tensor(model.body_mass, dtype=torch.float64)
        self._shares = (masses / masses.sum()).to(device, torch.float32)

    def weigh(self, masses: Float[Tensor, "size nbody"]) -> None:
        """See `Equations`."""
        self._shares = masses / masses.sum(1, keepdim=True)

    def place(self, scene: Scene) -> Float[Tensor, " size"]:
        """Along x, of the centre of mass."""
        x = scene.xipos[:, :, 0]
        return x @ self._shares if self._shares.ndim == 1 else (x * self._shares).sum(1)

    def _further(self, scene: Scene) -> tuple[Tensor, ...]:
        parts = {
            "cinert": scene.cinert[:, 1:],
            "cvel": scene.cvel[:, 1:],
            "qfrc_actuator": scene.qfrc_actuator[:, 6:],
            "cfrc_ext": scene.cfrc_ext[:, 1:],
        }
        return tuple(part.flatten(1) for name, part in parts.items() if self._options[f"include_{name}_in_observation"])

    def _healthy(self, scene: Scene) -> Bool[Tensor, " size"]:
        return self._within(scene.qpos[:, 2], "healthy_z_range")

    def _contact_cost(self, scene: Scene) -> Float[Tensor, " size"]:
        cost = scene.cfrc_ext.square().sum((1, 2)) * float(self._options["contact_cost_weight"])
        return cost.clamp(*map(float, self._options["contact_cost_range"]))


TASKS: dict[str, type[Equations]] = {
    "HalfCheetah-v5": HalfCheetah,
    "Ant-v5": Ant,
    "Hopper-v5": Hopper,
    "Walker2d-v5": Walker2d,
    "Swimmer-v5": Swimmer,
    "Humanoid-v5": Humanoid,
}
