"""MuJoCo Warp: many worlds of one model on a device; torch shares its arrays without a copy.

A step of the task is one graph of Warp's: Python launches no kernel (which cost 30 ms a step). On a GPU it is a CUDA graph, for which
nothing is waited; on the CPU the kernels run one after another in the caller's thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nchl.errors import OrderError, TaskError, require
from nchl.quiet import quiet_output
from nchl.simulators.warp.equations import Scene

# Contacts of two geometries at most, by their types in MuJoCo (0 a plane, 2 a sphere, 3 a capsule).
_CONTACTS = {(0, 2): 1, (0, 3): 2, (2, 2): 1, (2, 3): 1, (3, 3): 2}
_OTHER_CONTACTS = 8
# Contacts of a body with itself for which a world has rows of constraints; those with what stands still all have some.
_OWN_CONTACTS = 24


def load() -> tuple[Any, Any]:
    """The packages `warp` and `mujoco_warp`.

    Raises:
        MissingExtra: they are not installed.
    """
    warp, mujoco_warp = require("warp", "warp"), require("mujoco_warp", "warp")
    _begin(warp)
    return warp, mujoco_warp


@cache
def _begin(warp: Any) -> None:
    """Start Warp without its announcement on stdout, and its complaint on stderr of a machine without a GPU."""
    warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)
    with quiet_output():
        warp.init()


def refuse_unknown(model: Any) -> None:
    """Nothing, where MuJoCo Warp can simulate a model.

    Raises:
        TaskError: it cannot; the message names what it lacks.
    """
    warp, mjw = load()
    try:
        with warp.ScopedDevice("cpu"):
            mjw.put_model(model)
    except (NotImplementedError, ValueError) as error:
        raise TaskError(f"MuJoCo Warp cannot simulate this model: {error}") from error


class Physics:
    """Worlds of one model.

    Args:
        model: MuJoCo's model, of which `refuse_unknown` has found nothing wrong.
        size: number of worlds.
        frames: steps of the physics in a step of the task.
        forces: whether `cfrc_ext` is computed.
        device: the CPU or a GPU.
        varied: fields of MuJoCo Warp's model that have a row for each world, as `body_mass` or `opt.gravity`.

    Attributes:
        scene: views of the state of the worlds.
        ctrl: actions of the last step (size, nu).
        applied: forces and torques on the bodies (size, nbody, 6), N and N m; they stay until they are changed, or the worlds begin anew.
        rows: views of the varied fields, each (size, ...); they may be written to.
    """

    def __init__(self, model: Any, size: int, frames: int, forces: bool, device: torch.device, varied: Collection[str] = ()) -> None:
        self._warp, self._mjw = load()
        mujoco = require("mujoco", "sim")
        self._frames, self._forces, self._device = frames, forces, device
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        with self._on_device():
            self._model = self._mjw.put_model(model)
            self._model.opt.warn_overflow = 0  # it would print; see `overflowed`
            self._model.callback.contactfilter = _aligned()
            self.rows = {name: self._varied(name, size) for name in varied}
            contacts, rows = _room(model, self._model.nxn_geom_pair_filtered.numpy())
            contacts, rows = max(contacts, int(data.ncon), 1), max(rows, int(data.nefc), 1)
            self._data = self._mjw.put_data(model, data, nworld=size, naconmax=contacts * size, njmax=rows)
        names = [field.name for field in dataclasses.fields(Scene)]
        self.scene = Scene(**{name: self._view(name) for name in names})
        self.ctrl, self._warmstart, self._overflow = self._view("ctrl"), self._view("qacc_warmstart"), self._view("overflow")
        self.applied = self._view("xfrc_applied")
        self._rest = torch.as_tensor(model.qpos0, dtype=torch.float32, device=device)
        self._nothing = torch.zeros((), device=device)
        kinds = self._mjw.OverflowType
        self._lost = int(kinds.NEFC | kinds.NJMAX_NNZ | kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD | kinds.EPA_HORIZON)
        self._graphs: list[Any] | None = None

    def restart(self, qpos: Float[Tensor, "size nq"], qvel: Float[Tensor, "size nv"]) -> None:
        """Begin anew in every world; nothing is left of former episodes."""
        if self._graphs is None:
            self._graphs = self._captured()
        self.scene.qpos.copy_(qpos)
        self.scene.qvel.copy_(qvel)
        for each in (self.ctrl, self.applied, self._warmstart, self._overflow):
            each.zero_()
        self._run(0)
        self.scene.cfrc_ext.zero_()  # as MuJoCo's after a reset, until the first step

    def advance(self, actions: Float[Tensor, "size nu"], active: Bool[Tensor, " size"]) -> None:
        """One step of the task in the worlds that are active.

        In the others a world at rest is computed, so that nothing of theirs, such as NaN or a pile of contacts, costs time; afterwards they
        have the state that they had. The rest of their scene is then that of the world at rest.
        """
        moving = active[:, None]
        self.ctrl.copy_(torch.where(moving, actions, 0.0))
        state = self.scene.qpos, self.scene.qvel, self._warmstart
        before = [each.clone() for each in state]
        for each, rest in zip(state, (self._rest, self._nothing, self._nothing), strict=True):
            each.copy_(torch.where(moving, each, rest))
        self._run(1)
        for each, kept in zip(state, before, strict=True):
            each.copy_(torch.where(moving, each, kept))

    @property
    def overflowed(self) -> Bool[Tensor, " size"]:
        """Worlds that had more contacts or constraints than there was room for since they began; their physics was wrong."""
        return (self._overflow & self._lost) != 0

    @property
    def bytes(self) -> int:
        """Memory of all worlds."""
        return _bytes(self._data, self._warp.array) + _bytes(self._model, self._warp.array)

    def _run(self, which: int) -> None:
        if self._graphs is None:
            raise OrderError("a step needs a state to begin in; call restart first")
        stream = None
        if self._device.type == "cuda":  # in the order of torch's operations
            stream = self._warp.stream_from_torch(torch.cuda.current_stream(self._device))
        self._warp.capture_launch(self._graphs[which], stream=stream)

    def _begin(self) -> None:
        self._mjw.forward(self._model, self._data)

    def _step(self) -> None:
        for _ in range(self._frames):
            self._mjw.step(self._model, self._data)
        if self._forces:
            self._mjw.rne_postconstraint(self._model, self._data)

    def _captured(self) -> list[Any]:
        """`_begin` and `_step` as graphs; both are run, which changes the state of the worlds."""
        graphs = []
        with self._on_device():
            for run in (self._begin, self._step):
                run()  # compiles and loads the kernels, which a capture must not do
            self._warp.synchronize_device()
            for run in (self._begin, self._step):
                with self._warp.ScopedCapture() as capture:
                    run()
                graphs.append(capture.graph)
        return graphs

    def _on_device(self) -> Any:
        return self._warp.ScopedDevice(str(self._device))

    def _varied(self, name: str, size: int) -> Tensor:
        """Give a field a row for each world, at first equal ones; a view of them."""
        part, _, rest = name.rpartition(".")
        holder = getattr(self._model, part) if part else self._model
        own = getattr(holder, rest)
        setattr(holder, rest, self._warp.array(np.repeat(own.numpy(), size, axis=0), dtype=own.dtype))
        rows: Tensor = self._warp.to_torch(getattr(holder, rest))
        return rows

    def _view(self, name: str) -> Tensor:
        tensor: Tensor = self._warp.to_torch(getattr(self._data, name))
        return tensor


def _aligned() -> Any:
    from nchl.simulators.warp.frames import align  # needs warp

    return align


def _room(model: Any, pairs: Any) -> tuple[int, int]:
    """Contacts and rows of constraints for which a world has room.

    The room for contacts is shared by all worlds: it is as large as can be, so that no world takes another's.
    """
    contacts = rows = own = 0
    for first, second in pairs:
        kinds = sorted((int(model.geom_type[first]), int(model.geom_type[second])))
        number = _CONTACTS.get((kinds[0], kinds[1]), _OTHER_CONTACTS)
        each = max(1, 2 * (max(int(model.geom_condim[first]), int(model.geom_condim[second])) - 1))
        contacts += number
        if model.body_weldid[model.geom_bodyid[first]] == 0 or model.body_weldid[model.geom_bodyid[second]] == 0:
            rows += number * each
        else:
            own += number * each
    rows += min(own, 4 * _OWN_CONTACTS)
    others = 2 * int(model.jnt_limited.sum()) + 2 * int(model.tendon_limited.sum()) + 6 * int(model.neq)
    return contacts, rows + others + int((model.dof_frictionloss > 0).sum())


def _bytes(held: Any, array: type) -> int:
    """Memory of all arrays within a dataclass."""
    if isinstance(held, array):
        return int(held.capacity)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(held):
        return sum(_bytes(getattr(held, field.name), array) for field in dataclasses.fields(held))
    return 0
