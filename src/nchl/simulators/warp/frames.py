"""Directions of friction between a plane and a capsule as MuJoCo in C has them; importing this needs `warp`.

A pyramid of friction is no circle: it matters where its edges point. MuJoCo lays them along the capsule's axis. MuJoCo Warp 4.0.0 does so
only for capsules that lie flat; under steeper ones, such as the legs of Ant, it lays them along the axes of the world, which changes
accelerations in contact by up to a quarter.
"""

from typing import Any

import warp as wp

_PLANE, _CAPSULE = wp.constant(0), wp.constant(3)


@wp.kernel(enable_backward=False)
def _align(
    geom_type: wp.array(dtype=int),
    geom_xmat: wp.array2d(dtype=wp.mat33),
    contact_geom: wp.array(dtype=wp.vec2i),
    contact_worldid: wp.array(dtype=int),
    contacts: wp.array(dtype=int),
    contact_frame: wp.array(dtype=wp.mat33),
):
    contact = wp.tid()
    if contact >= contacts[0]:
        return
    pair = contact_geom[contact]
    if pair[0] < 0 or pair[1] < 0:
        return
    if geom_type[pair[0]] != _PLANE or geom_type[pair[1]] != _CAPSULE:
        return
    frame = contact_frame[contact]
    normal = wp.vec3(frame[0, 0], frame[0, 1], frame[0, 2])
    turned = geom_xmat[contact_worldid[contact], pair[1]]
    axis = wp.vec3(turned[0, 2], turned[1, 2], turned[2, 2])
    along = axis - normal * wp.dot(normal, axis)
    length = wp.length(along)
    along = wp.vec3(1.0, 0.0, 0.0) if length < 1.0e-15 else along / length
    across = wp.cross(normal, along)
    contact_frame[contact] = wp.mat33(
        normal[0], normal[1], normal[2], along[0], along[1], along[2], across[0], across[1], across[2]
    )  # fmt: skip


def align(model: Any, data: Any) -> None:
    """Turn the frames of all contacts between planes and capsules; a `contactfilter` of MuJoCo Warp."""
    wp.launch(
        _align,
        dim=data.naconmax,
        inputs=[model.geom_type, data.geom_xmat, data.contact.geom, data.contact.worldid, data.nacon],
        outputs=[data.contact.frame],
    )
