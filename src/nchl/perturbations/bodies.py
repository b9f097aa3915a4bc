"""Bodies and grounds that differ from the task's own: a model's XML, changed by MuJoCo's `MjSpec`.

A change in a running environment has all digits and alters nothing that it does not name: `differences` compares two models that MuJoCo
makes of the same XML. A body that is changed from the start is a file for EnvPool, which MuJoCo writes with six digits: masses, inertias
and sizes that are not named differ by at most 1e-5 of their value from those of the task's own file, which the intact twin plays.

A model whose total mass its XML fixes gets the densities that this total stands for, so that a lighter limb makes no other part heavier;
after that MuJoCo computes masses, inertias and all that follows from the shapes.

A slope is gravity that is tilted: on an endless plane the two are the same, and heights are then measured from the ground.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument, TaskError, nearest, require
from nchl.perturbations.objects import Attribute, Perturbation, Push, Scaled, Slope
from nchl.perturbations.plan import Change
from nchl.quiet import quiet_output

# Name of an array of a compiled model -> where it differs from the task's own (True), and the new numbers.
Differences = dict[str, tuple[np.ndarray, np.ndarray]]


def spec_of(path: Path | str) -> Any:
    """The `MjSpec` of an XML file, with the masses that its total stands for.

    Raises:
        MissingExtra: MuJoCo is not installed.
        TaskError: MuJoCo cannot read the file.
    """
    mujoco = require("mujoco", "sim")
    try:
        with quiet_output():  # MuJoCo calls an attribute of Gymnasium's own files deprecated, on standard error
            spec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, RuntimeError, OSError) as error:
        raise TaskError(f"MuJoCo cannot read the body in {path}: {error}") from error
    if spec.compiler.settotalmass > 0:
        wanted = float(spec.compiler.settotalmass)
        spec.compiler.settotalmass = -1
        share = wanted / float(spec.compile().body_mass.sum())
        for geom in spec.geoms:
            geom.density *= share
            if math.isfinite(geom.mass):
                geom.mass *= share
    return spec


def changed(path: Path | str, changes: Sequence[Change]) -> str:
    """The XML of a body with changes.

    Args:
        path: of the task's own XML.
        changes: perturbations with their numbers; pushes and attributes are no part of a body.

    Raises:
        InvalidArgument: a body or joint that is not there, with those that are; or something that is changed twice.
        TaskError: a change that the body cannot have.
    """
    spec, _ = _made(path, changes)
    try:
        xml: str = spec.to_xml()
    except (ValueError, RuntimeError) as error:
        raise TaskError(f"MuJoCo cannot write the body with {', '.join(str(each) for each, _ in changes)}: {error}") from error
    return xml


def differences(path: Path | str, changes: Sequence[Change]) -> Differences:
    """Differences between a compiled model with changes and one without.

    Raises:
        NchlError: as `changed`.
    """
    (_, before), (_, after) = (_made(path, some) for some in ((), changes))
    found: Differences = {}
    for part, (mine, other) in {"": (before, after), "opt.": (before.opt, after.opt)}.items():
        for name in dir(mine):
            old = None if name.startswith("_") else getattr(mine, name)
            if isinstance(old, np.ndarray) and old.dtype.kind in "fiub":
                new = getattr(other, name)
                if old.shape == new.shape and not np.array_equal(old, new, equal_nan=True):
                    found[part + name] = (old != new, new.copy())
    return found


def array(model: Any, name: str) -> np.ndarray:
    """An array of a compiled model, by its name in `Differences`; it can be written to."""
    part, _, rest = name.rpartition(".")
    found: np.ndarray = getattr(getattr(model, part) if part else model, rest)
    return found


def check(path: Path | str, perturbations: Sequence[Perturbation]) -> None:
    """Refuse perturbations that the body cannot have together, with the numbers at either end of their ranges.

    Raises:
        NchlError: as `changed`.
    """
    spec = spec_of(path)
    for each in perturbations:
        if isinstance(each, Push):
            _body(spec, each, each.place)
    lasting = [each for each in perturbations if isinstance(each, Scaled | Slope)]
    for changes in dict.fromkeys(tuple((each, each.number[end]) for each in lasting) for end in (0, 1)):
        _made(path, changes)


def refuse_twice(changed: Iterable[tuple[Perturbation, Hashable]]) -> None:
    """Refuse two perturbations of the same thing under two names.

    Args:
        changed: perturbations, and what each of them changes.

    Raises:
        InvalidArgument: names both.
    """
    seen: dict[Hashable, Perturbation] = {}
    for each, what in changed:
        if what in seen:
            raise InvalidArgument(f"perturbations {str(seen[what])!r} and {str(each)!r} change the same; give one of the two")
        seen[what] = each


def body_index(model: Any, each: Perturbation, place: str) -> int:
    """The index of a body in a compiled model, by its name or that of its joint.

    Raises:
        InvalidArgument: neither is there.
    """
    mujoco = require("mujoco", "sim")
    found = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, place))
    if found >= 0:
        return found
    joint = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, place))
    if joint >= 0:
        return int(model.jnt_bodyid[joint])
    names = [model.body(k).name for k in range(1, model.nbody)], [model.joint(k).name for k in range(model.njnt)]
    raise _missing(each, place, *names)


def _made(path: Path | str, changes: Sequence[Change]) -> tuple[Any, Any]:
    """The `MjSpec` of an XML file with changes, and the model that MuJoCo compiles from it: a spec knows where its meshes lie."""
    spec = spec_of(path)
    scaled = [each for each, _ in changes if isinstance(each, Scaled)]
    refuse_twice((each, (each.quantity, _body(spec, each, each.place) if each.place else None)) for each in scaled)
    for each, value in changes:
        _apply(spec, each, value)
    try:
        return spec, spec.compile()
    except (ValueError, RuntimeError) as error:
        what = ", ".join(str(each) for each, _ in changes) or "no change"
        raise TaskError(f"MuJoCo cannot make the body in {path} with {what}: {error}") from error


def _apply(spec: Any, each: Perturbation, value: float) -> None:
    if isinstance(each, Slope):
        angle, gravity = math.radians(value), np.array(spec.option.gravity)
        cos, sin = math.cos(angle), math.sin(angle)
        spec.option.gravity = [cos * gravity[0] + sin * gravity[2], gravity[1], cos * gravity[2] - sin * gravity[0]]
    elif isinstance(each, Scaled):
        _CHANGES[each.quantity](spec, each, value)
    else:
        assert isinstance(each, Push | Attribute), each


def _friction(spec: Any, each: Scaled, factor: float) -> None:
    # The friction of a pair takes the place of that of its two shapes.
    for touching in (*spec.geoms, *spec.pairs):
        touching.friction = np.array(touching.friction) * factor


def _gravity(spec: Any, each: Scaled, factor: float) -> None:
    spec.option.gravity = np.array(spec.option.gravity) * factor


def _mass(spec: Any, each: Scaled, factor: float) -> None:
    body = _body(spec, each, each.place)
    body.mass = body.mass * factor
    body.inertia = np.array(body.inertia) * factor
    body.fullinertia = np.array(body.fullinertia) * factor
    for geom in body.geoms:
        geom.density *= factor
        if math.isfinite(geom.mass):
            geom.mass *= factor


def _limb(spec: Any, each: Scaled, factor: float) -> None:
    """All that is fixed to the body comes nearer to the joint by which it hangs; capsules and cylinders keep their radius."""
    kinds = require("mujoco", "sim").mjtGeom
    body = _body(spec, each, each.place)
    if body.explicitinertial:
        raise TaskError(f"{str(each)!r}: the mass of {each.place!r} is given as a number in its XML, and follows from no shape")
    hangs = _hangs(spec, body)

    def scaled(place: Any, fixed: Any) -> np.ndarray:
        # Within a frame, which is moved itself, places are relative to it.
        about = hangs if fixed.frame is None else np.zeros(3)
        found: np.ndarray = about + factor * (np.array(place) - about)
        return found

    for geom in body.geoms:
        if geom.type not in (kinds.mjGEOM_CAPSULE, kinds.mjGEOM_CYLINDER, kinds.mjGEOM_BOX, kinds.mjGEOM_SPHERE, kinds.mjGEOM_ELLIPSOID):
            raise TaskError(f"{str(each)!r}: a shape of kind {geom.type} cannot be made shorter; capsules, boxes and the like can")
        if np.isfinite(geom.fromto[0]):
            geom.fromto = np.concatenate([scaled(end, geom) for end in np.split(np.array(geom.fromto), 2)])
            continue
        geom.pos = scaled(geom.pos, geom)
        size = np.array(geom.size)
        if geom.type in (kinds.mjGEOM_CAPSULE, kinds.mjGEOM_CYLINDER):
            size[1] *= factor
        elif geom.type in (kinds.mjGEOM_BOX, kinds.mjGEOM_ELLIPSOID):
            size[int(np.argmax(size))] *= factor
        geom.size = size
    for fixed in (*body.frames, *body.sites, *body.cameras, *body.lights, *body.joints):
        fixed.pos = scaled(fixed.pos, fixed)
    for child in body.bodies:
        joint = _turned(spec, child, _hangs(spec, child))
        child.pos = scaled(child.pos + joint, child) - joint


def _hangs(spec: Any, body: Any) -> np.ndarray:
    """Where a body hangs, in its own frame: its first hinge or ball. Where a slide lies says nothing, and a welded body has its origin."""
    kinds = require("mujoco", "sim").mjtJoint
    joint = next((joint for joint in body.joints if joint.type in (kinds.mjJNT_HINGE, kinds.mjJNT_BALL)), None)
    if joint is None:
        return np.zeros(3)
    place, frame = np.array(joint.pos), joint.frame
    while frame is not None:
        place, frame = frame.pos + _turned(spec, frame, place), frame.frame
    return place


def _turned(spec: Any, fixed: Any, place: np.ndarray) -> np.ndarray:
    """A vector that is relative to a body or frame, in the directions of what that is fixed to."""
    mujoco = require("mujoco", "sim")
    written = fixed.alt.type != mujoco.mjtOrientation.mjORIENTATION_QUAT
    how = {"degree": spec.compiler.degree, "sequence": spec.compiler.eulerseq, "orientation": fixed.alt}
    quat, turned = np.array(spec.resolve_orientation(**how) if written else fixed.quat), np.zeros(3)
    mujoco.mju_rotVecQuat(turned, place, quat / np.linalg.norm(quat))
    return turned


def _body(spec: Any, each: Perturbation, place: str) -> Any:
    """The body of a name, or the one that the joint of that name moves."""
    bodies = [body for body in spec.bodies if body.name != "world"]
    found = next((body for body in bodies if body.name == place), None)
    joint = next((joint for joint in spec.joints if joint.name == place), None)
    if found is not None:
        return found
    if joint is not None:
        return joint.parent
    raise _missing(each, place, [body.name for body in bodies], [joint.name for joint in spec.joints])


def _missing(each: Perturbation, place: str, bodies: Sequence[str], joints: Sequence[str]) -> InvalidArgument:
    """The error for a name that is not there, with all that are: they are what a user must choose from."""
    names = [name for name in dict.fromkeys([*bodies, *joints]) if name]
    near = nearest(place, names)
    hint = "" if near is None else f"did you mean {near!r}? "
    return InvalidArgument(f"{str(each)!r}: there is no body or joint {place!r}: {hint}there are {', '.join(names)}")


_CHANGES: Mapping[str, Any] = {"friction": _friction, "gravity": _gravity, "mass": _mass, "limb": _limb}
