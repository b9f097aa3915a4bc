"""Settings that shrink from generation to generation, and stop shrinking at a floor."""

from __future__ import annotations

from nchl.errors import InvalidArgument

LR_FLOOR = 0.001
SIGMA_FLOOR = 0.01


def check_decay(name: str, decay: float) -> float:
    """`decay` as a float; a factor above 1 would grow, one of 0 would end the search."""
    if not 0 < decay <= 1:
        raise InvalidArgument(f"{name} is the factor of each generation, above 0 and at most 1 (1: no decay); got {decay}")
    return float(decay)


def decayed(value: float, decay: float, floor: float) -> float:
    """`value * decay`, but not below the floor; a value that began below the floor stays as it is."""
    return max(value * decay, min(value, floor))
