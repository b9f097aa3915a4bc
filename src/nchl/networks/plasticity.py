"""Settings of plasticity in time: averages, trace, modulation, interval and normalisation.

    a_g(t)   the activation that rules use: x_g(t), or the mean or exponential mean of a group's last activations   (average)
    E_e(t) = gamma E_e(t-1) + D_e(t)                                                                            (trace)
    m(t)   = 1, r(t), or r(t) - b(t-1) with b(t) = b(t-1) + beta (r(t) - b(t-1))                                (modulate)
    W(t+1) = normalise(W(t) + m(t) E(t))   where t mod every = 0, else W(t)                                     (every, normalise)

All are independent of the rule. By default none is used: every step changes the weights by the rule's D. The module does not import
torch, because the command line checks these settings before it loads heavy packages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nchl.errors import InvalidArgument, UnknownName, whole_number

NORMALISATIONS = ("none", "max", "row", "zscore", "clip:C")


@dataclass(frozen=True)
class Plasticity:
    """Checked settings.

    Attributes:
        average: None, `"mean"` or `"ema"`.
        window: number of activations in the mean, M.
        alpha: weight of the newest activation in the exponential mean.
        every: steps from one change of the weights to the next.
        trace: gamma, or None for no trace.
        modulate: None, `"reward"` or `"advantage"`.
        beta: rate of the advantage's baseline.
        normalise: None, `"max"`, `"row"`, `"zscore"` or `"clip"`.
        limit: the largest absolute weight that `"clip"` leaves.
    """

    average: str | None = None
    window: int = 0
    alpha: float = 0.0
    every: int = 1
    trace: float | None = None
    modulate: str | None = None
    beta: float = 0.0
    normalise: str | None = None
    limit: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        average: str | None = None,
        every: int = 1,
        trace: float | None = None,
        modulate: str | None = None,
        normalise: str | None = None,
    ) -> Plasticity:
        """The settings from the texts and numbers that users write.

        Args:
            average: None or `"none"`, `"mean:M"` (M steps), `"ema:ALPHA"` (0 < ALPHA <= 1).
            every: at least 1.
            trace: None, or gamma in [0, 1].
            modulate: None or `"none"`, `"reward"`, `"advantage:BETA"` (0 < BETA <= 1).
            normalise: None or `"none"`, `"max"`, `"row"`, `"zscore"`, `"clip:C"` (C > 0).

        Raises:
            InvalidArgument: another value; the message lists the possible ones.
        """
        kind, number = _word("average", average, ("none", "mean:M", "ema:ALPHA"))
        found: dict[str, Any] = {"average": kind, "every": whole_number(every, "every", 1, "steps")}
        if kind == "mean":
            if number != int(number) or number < 1:
                raise InvalidArgument(f"average: expected a whole number of steps in mean:M, at least 1, got {average!r}")
            found["window"] = int(number)
        elif kind == "ema":
            found["alpha"] = _within("average", average, number)
        found["modulate"], number = _word("modulate", modulate, ("none", "reward", "advantage:BETA"))
        if found["modulate"] == "advantage":
            found["beta"] = _within("modulate", modulate, number)
        found["normalise"], number = _word("normalise", normalise, NORMALISATIONS)
        if found["normalise"] == "clip":
            if not number > 0:
                raise InvalidArgument(f"normalise: expected a positive limit in clip:C, got {normalise!r}")
            found["limit"] = number
        if trace is not None:
            if isinstance(trace, bool) or not isinstance(trace, (int, float)) or not 0 <= trace <= 1:
                raise InvalidArgument(f"trace: expected a decay between 0 and 1, or None for no trace, got {trace!r}")
            found["trace"] = float(trace)
        return cls(**found)

    @property
    def plain(self) -> bool:
        """Whether there is neither a trace nor modulation."""
        return self.trace is None and self.modulate is None

    def applies(self, t: int) -> bool:
        """Whether step t (from 0) changes the weights."""
        return t % self.every == 0

    def words(self) -> dict[str, Any]:
        """The settings that differ from their defaults, in the form that `of` takes."""
        number = {"mean": self.window, "ema": self.alpha, "advantage": self.beta, "clip": self.limit}
        named = {name: getattr(self, name) for name in ("average", "modulate", "normalise")}
        said: dict[str, Any] = {n: f"{kind}:{number[kind]}" if kind in number else kind for n, kind in named.items() if kind is not None}
        if self.every != 1:
            said["every"] = self.every
        if self.trace is not None:
            said["trace"] = self.trace
        return said


def _word(name: str, given: str | None, known: tuple[str, ...]) -> tuple[str | None, float]:
    """The kind and the number behind its colon (NaN without a colon)."""
    if given is None or given == "none":
        return None, math.nan
    kind, colon, rest = given.partition(":") if isinstance(given, str) else (given, "", "")
    by_kind = {each.partition(":")[0]: each for each in known if each != "none"}
    if kind not in by_kind:
        if isinstance(given, str):
            raise UnknownName(name, given, known)
        raise InvalidArgument(f"{name}: expected None or one of {', '.join(known)}, got {given!r}")
    if bool(colon) != (":" in by_kind[kind]):
        raise InvalidArgument(f"{name}: expected {by_kind[kind]}, got {given!r}")
    if not colon:
        return kind, math.nan
    try:
        number = float(rest)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"{name}: expected a number behind the colon of {by_kind[kind]}, got {given!r}")
    return kind, number


def _within(name: str, given: str | None, number: float) -> float:
    if not 0 < number <= 1:
        raise InvalidArgument(f"{name}: expected a number above 0 and at most 1, got {given!r}")
    return number
