"""Perturbations as objects: kind, moment and size. `str()` of each is its text, see `perturbations.language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Range(NamedTuple):
    """A number, or the ends of a range that one is drawn from for each episode, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return plain(self.low) if self.low == self.high else f"{plain(self.low)}..{plain(self.high)}"


START = Range(0, 0)
_ONCE = Range(1, 1)


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One thing that goes wrong; `str()` gives its text.

    Attributes:
        moment: the step at which it comes, or the first and last of those that it is drawn from.
        kind: part that it changes: "motor", "sensor", "network" or "body".
        pattern: its text, with its attributes in braces.
        drawn: the attribute with its number, which may be a range; empty where it has none.
    """

    moment: Range = START
    kind: ClassVar[str]
    pattern: ClassVar[str]
    drawn: ClassVar[str] = ""

    @property
    def what(self) -> str:
        """Text in front of the `=`: two perturbations with the same one cannot be given together."""
        return self._written(self.pattern.partition("=")[0])

    @property
    def how(self) -> str:
        """Text behind the `=`."""
        return self._written(self.pattern.partition("=")[2])

    @property
    def number(self) -> Range:
        """The number that says how much, or its range; only where `drawn` names it."""
        found: Range = getattr(self, self.drawn)
        return found

    def __str__(self) -> str:
        when = "" if self.moment == START else f"@{self.moment}"
        return f"{self.what}={self.how}{when}" if self.how else f"{self.what}{when}"

    def _written(self, pattern: str) -> str:
        return pattern.format_map({name: plain(value) if isinstance(value, float) else value for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Channels(Perturbation):
    """Components of an action or an observation.

    Attributes:
        which: their indices; empty: all.
        gain: they are multiplied by it; drawn from a range for each episode.
        stuck: they have this value instead, in their own units; None: they do not.
    """

    which: tuple[int, ...] = ()
    gain: Range = _ONCE
    stuck: float | None = None
    drawn: ClassVar[str] = "gain"

    @property
    def what(self) -> str:
        """See `Perturbation`."""
        return f"{self.kind}:{_runs(self.which) or '*'}"

    @property
    def how(self) -> str:
        """See `Perturbation`."""
        return str(self.gain) if self.stuck is None else f"stuck:{plain(self.stuck)}"


@dataclass(frozen=True, kw_only=True)
class Motor(Channels):
    """Components of an action have another gain, or are stuck at a value."""

    kind: ClassVar[str] = "motor"


@dataclass(frozen=True, kw_only=True)
class Sensor(Channels):
    """Components of an observation have another gain, or are stuck at a value."""

    kind: ClassVar[str] = "sensor"


@dataclass(frozen=True, kw_only=True)
class Noise(Perturbation):
    """Normal noise on actions or observations; `deviation` is its standard deviation in their units."""

    deviation: Range
    drawn: ClassVar[str] = "deviation"


@dataclass(frozen=True, kw_only=True)
class SensorNoise(Noise):
    """Noise on what the network observes."""

    kind: ClassVar[str] = "sensor"
    pattern: ClassVar[str] = "sensor-noise={deviation}"


@dataclass(frozen=True, kw_only=True)
class ActionNoise(Noise):
    """Noise on actions."""

    kind: ClassVar[str] = "motor"
    pattern: ClassVar[str] = "action-noise={deviation}"


@dataclass(frozen=True, kw_only=True)
class SensorDelay(Perturbation):
    """The network sees what was observed `steps` of its own steps before."""

    steps: int
    kind: ClassVar[str] = "sensor"
    pattern: ClassVar[str] = "sensor-delay={steps}"


@dataclass(frozen=True, kw_only=True)
class Lesion(Perturbation):
    """A share of the weights is set to 0, or of the hidden neurons silenced for good; `part` is "weights" or "neurons"."""

    part: str
    share: float
    kind: ClassVar[str] = "network"
    pattern: ClassVar[str] = "lesion:{part}={share}"


@dataclass(frozen=True, kw_only=True)
class Shuffle(Perturbation):
    """The weights are drawn anew, as at the beginning of an episode."""

    kind: ClassVar[str] = "network"
    pattern: ClassVar[str] = "shuffle:weights"


@dataclass(frozen=True, kw_only=True)
class Scaled(Perturbation):
    """Something of the body or the ground times a factor.

    Attributes:
        quantity: "friction", "gravity", "mass" or "limb".
        factor: what it is multiplied by.
        place: of a mass or a limb: the name of a body or joint; else empty.
    """

    quantity: str
    factor: Range
    place: str = ""
    kind: ClassVar[str] = "body"
    pattern: ClassVar[str] = "{quantity}:{place}=x{factor}"
    drawn: ClassVar[str] = "factor"

    @property
    def what(self) -> str:
        """See `Perturbation`."""
        return super().what if self.place else self.quantity


@dataclass(frozen=True, kw_only=True)
class Slope(Perturbation):
    """The ground rises towards +x by so many degrees."""

    degrees: Range
    kind: ClassVar[str] = "body"
    pattern: ClassVar[str] = "slope={degrees}deg"
    drawn: ClassVar[str] = "degrees"


@dataclass(frozen=True, kw_only=True)
class Push(Perturbation):
    """A force along +x on a body, in newtons, for some steps."""

    place: str
    newtons: Range
    steps: int
    kind: ClassVar[str] = "body"
    pattern: ClassVar[str] = "push:{place}={newtons}N"
    drawn: ClassVar[str] = "newtons"

    def __str__(self) -> str:
        return f"{self.what}={self.how}@{self.moment}+{self.steps}"


@dataclass(frozen=True, kw_only=True)
class Attribute(Perturbation):
    """An attribute of a Gymnasium environment times a factor, or set to a value."""

    place: str
    value: Range
    times: bool
    kind: ClassVar[str] = "body"
    pattern: ClassVar[str] = "attribute:{place}={value}"
    drawn: ClassVar[str] = "value"

    @property
    def how(self) -> str:
        """See `Perturbation`."""
        return f"{'x' if self.times else ''}{super().how}"


def plain(number: float) -> str:
    """A number as it is written: 3 for 3.0, and as many digits as tell it apart."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(float(number))


def _runs(indices: tuple[int, ...]) -> str:
    """Indices as they are written: 0-2,5."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
