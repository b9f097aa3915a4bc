"""The initial centre of a search: N(0, 1) in every coordinate by default.

Zeros would be a poor start for a Hebbian genome: the gradients of the products `C_i C_j` and `D_i D_j` vanish there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl import seeds
from nchl.errors import InvalidArgument, ShapeError, UnknownName

CENTRES = ("normal", "zeros", "uniform")


def initial_centre(kind: str | ArrayLike, size: int, run_seed: int) -> Float[np.ndarray, " size"]:
    """The initial centre (size,), float64.

    Args:
        kind: `"normal"` (N(0, 1)), `"zeros"`, `"uniform"` (between -1 and 1), or the vector itself, which is copied.
        size: numbers in the genome.
        run_seed: seed of the run; the drawn kinds depend on it and on nothing else.

    Raises:
        UnknownName: `kind` is another string.
        ShapeError: the given vector does not have `size` numbers.
        InvalidArgument: the given vector holds a number that is not finite.
    """
    if isinstance(kind, str):
        generator = seeds.generator(run_seed, seeds.Purpose.INITIAL_CENTRE)
        if kind == "normal":
            return generator.standard_normal(size)
        if kind == "uniform":
            return generator.uniform(-1.0, 1.0, size)
        if kind == "zeros":
            return np.zeros(size)
        raise UnknownName("initial centre", kind, CENTRES)
    centre = np.array(kind, dtype=np.float64)
    if centre.shape != (size,):
        raise ShapeError(f"the initial centre must have shape ({size},), one number per element of the genome; got {centre.shape}")
    if not np.isfinite(centre).all():
        raise InvalidArgument(f"the initial centre must be finite; its element {int(np.flatnonzero(~np.isfinite(centre))[0])} is not")
    return centre
