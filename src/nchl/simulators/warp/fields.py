"""Fields of MuJoCo Warp's model that can differ from world to world.

MuJoCo Warp 4.0.0 holds most numbers of a model with a leading axis: one row that all worlds share, or a row for each world. The rows of a
changed body are found by giving both bodies to MuJoCo Warp and comparing all that it holds, so that nothing that it reads is forgotten.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from nchl.errors import TaskError, require
from nchl.simulators.warp.physics import load

# Read only where bodies at rest fall asleep.
_OF_SLEEP = frozenset(["dof_length"])
# Of a contact's sliding. With 0.01 accelerations differ from MuJoCo's by a hundredth, with 0.002 they are NaN (HalfCheetah, Ant).
_LEAST_FRICTION = 0.01


class Fields:
    """All that MuJoCo Warp holds of a model, to be compared with changed ones.

    Args:
        model: MuJoCo's model of the task's own body.
    """

    def __init__(self, model: Any) -> None:
        sleeps = int(model.opt.enableflags) & int(require("mujoco", "sim").mjtEnableBit.mjENBL_SLEEP)
        self._unread = frozenset() if sleeps else _OF_SLEEP
        self._own = {name: value for name, value, _ in _held(model)}

    def own(self, name: str) -> np.ndarray:
        """The row of a field that the task's own body has, without the leading axis."""
        row: np.ndarray = self._own[name][0]
        return row

    def differing(self, model: Any) -> dict[str, np.ndarray]:
        """The fields in which a changed body differs, each with its row.

        Raises:
            TaskError: it differs in something that MuJoCo Warp has once for all worlds, or in a friction too low for single precision.
        """
        found: dict[str, np.ndarray] = {}
        for name, value, of_worlds in _held(model):
            own = self._own[name]
            if name in self._unread or (np.shape(value) == np.shape(own) and np.array_equal(value, own)):
                continue
            if not of_worlds or value.shape != own.shape:
                raise TaskError(f"MuJoCo Warp has one {name} for all worlds, and this body needs another")
            found[name] = value[0]
            if name == "geom_friction" and (least := float(value[0, :, 0].min())) < _LEAST_FRICTION:
                raise TaskError(
                    f"MuJoCo Warp computes in single precision, and contacts with a friction below {_LEAST_FRICTION} are wrong there; "
                    f"with this change it is {least:g}"
                )
        return found


def _held(model: Any) -> Iterator[tuple[str, Any, bool]]:
    """Every number and array: its name, its value, and whether it may have a row for each world."""
    warp, mjw = load()
    with warp.ScopedDevice("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of friction 0, which MuJoCo Warp raises to the least that MuJoCo has
        yield from _within(mjw.put_model(model), "", warp.array)


def _within(held: Any, lead: str, array: type) -> Iterator[tuple[str, Any, bool]]:
    for field in dataclasses.fields(held):
        value, name = getattr(held, field.name), lead + field.name
        of_worlds = getattr(field.type, "shape", ())[:1] == ("*",)
        for k, each in enumerate(value if isinstance(value, tuple) else (value,)):
            part = f"{name}[{k}]" if isinstance(value, tuple) else name
            if isinstance(each, array):
                yield part, each.numpy(), of_worlds  # type: ignore[attr-defined]
            elif dataclasses.is_dataclass(each):
                yield from _within(each, f"{part}.", array)
            elif isinstance(each, int | float | np.generic):
                yield part, each, False
