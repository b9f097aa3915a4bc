"""Settings that shrink from generation to generation, and stop shrinking at a floor.

    constant       value = begin
    exponential    value <- value * decay, not below the floor
    cosine:N       value = low + (begin - low) (1 + cos(pi min(g / N, 1))) / 2 after g generations; low the floor

A value that begins below its floor stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nchl.errors import InvalidArgument, UnknownName

LR_FLOOR = 0.001
SIGMA_FLOOR = 0.01
SCHEDULES = ("constant", "exponential", "cosine")


def check_decay(name: str, decay: float) -> float:
    """`decay` as a float, in (0, 1]."""
    if not 0 < decay <= 1:
        raise InvalidArgument(f"{name} is the factor of each generation, above 0 and at most 1 (1: no decay); got {decay}")
    return float(decay)


def decayed(value: float, decay: float, floor: float) -> float:
    """`value * decay`, but not below the floor; a value that began below the floor stays as it is."""
    return max(value * decay, min(value, floor))


def read_schedule(text: str) -> tuple[str, int | None]:
    """Name of a schedule, and for `cosine:N` the generations that it takes (None for the others).

    Raises:
        InvalidArgument: an unknown name, or a cosine without a number of generations.
    """
    name, colon, number = str(text).partition(":")
    if name not in SCHEDULES:
        raise UnknownName("schedule", name, ("constant", "exponential", "cosine:N"))
    if name != "cosine":
        if colon:
            raise InvalidArgument(f"the schedule {name} takes no number, got {text!r}; write {name!r}")
        return name, None
    if not (number.isdecimal() and int(number) > 0):
        raise InvalidArgument(f"the schedule cosine needs the generations over which it falls, as in cosine:300; got {text!r}")
    return name, int(number)


@dataclass(frozen=True)
class Schedule:
    """The decrease of one setting; made by `schedule`.

    Attributes:
        text: `constant`, `exponential` or `cosine:N`.
        begin: value of the first generation.
        decay: factor of a generation, used by `exponential` alone.
        floor: where it stops.
    """

    text: str
    begin: float
    decay: float
    floor: float

    def after(self, value: float, generations: int) -> float:
        """The value after `value`, after so many generations."""
        name, horizon = read_schedule(self.text)
        if name == "exponential":
            return decayed(value, self.decay, self.floor)
        if horizon is None:
            return value
        low = min(self.begin, self.floor)
        return low + (self.begin - low) * (1 + math.cos(math.pi * min(generations / horizon, 1.0))) / 2


def schedule(name: str, text: str, begin: float, decay: float, floor: float) -> Schedule:
    """The checked schedule of the setting `name`.

    Raises:
        InvalidArgument: a schedule or a decay that cannot be used.
    """
    read_schedule(text)
    return Schedule(text, begin, check_decay(f"{name}_decay", decay), floor)
