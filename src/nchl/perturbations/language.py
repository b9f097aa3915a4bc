"""The language of perturbations: `WHAT=HOW@WHEN`, as text, in YAML and as objects.

    motor:3=0@500            the action's component 3 times 0, from step 500 on; motor:* all, motor:0-2, motor:0,5; motor:3=stuck:0.4
    sensor:0-7=0             components of the observation, likewise
    action-noise=0.1         normal noise on each component of an action, by its standard deviation in the action's units
    sensor-noise=0.1@300     the same on what the network observes, in the observation's units (before any normalisation)
    sensor-delay=2           the network sees what was observed so many steps before (at first: the first observation)
    lesion:weights=0.3@500   a share of the weights set to 0, at that step; a rule may let them grow again
    lesion:neurons=0.2@500   a share of the hidden neurons silenced, from that step on
    shuffle:weights@500      the weights drawn anew, as at the beginning of an episode
    friction=x0.25           friction of everything, times
    gravity=x1.5             gravity, times
    mass:torso=x2            mass and inertia of one body, times
    limb:ankle_4=x0.25       length of the body of that name, or of the body that the joint of that name moves; MuJoCo computes its mass
    slope=5deg               the ground rises towards +x by so many degrees
    push:torso=300N@400+10   a force along +x on a body (negative: along -x), from step 400 on for 10 steps
    attribute:length=x2      an attribute of a Gymnasium environment, times or set (attribute:masscart=3)

Steps are the environment's, counted from 0: what comes at step 500 is in force when the 501st action is chosen and taken. Without a
moment a perturbation is there from the start. A moment may be a range, `@450..549`, and so may a factor, `friction=x0.4..0.95`: both
are drawn for each episode from its seed, so that they are the same for all individuals that play it; equal ranges give equal moments.
`A & B` are two at once, `none` is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.perturbations.objects import (
    START,
    ActionNoise,
    Attribute,
    Channels,
    Lesion,
    Motor,
    Noise,
    Perturbation,
    Push,
    Range,
    Scaled,
    Sensor,
    SensorDelay,
    SensorNoise,
    Shuffle,
    Slope,
)

NONE = "none"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LARGEST_STEP = 2**31 - 1


def parse(text: str) -> Perturbation:
    """The perturbation that a text names.

    Raises:
        InvalidArgument: it names none; says what was expected, and offers the nearest.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"perturb: expected a text such as 'motor:3=0@500', got {text!r}")
    body, at, when = text.strip().partition("@")
    what, equals, how = body.partition("=")
    what, how = what.strip(), how.strip()
    name, colon, place = what.partition(":")
    reader = _READERS.get(f"{name}:{place}") or _READERS.get(f"{name}:" if colon else name)
    if reader is None or (colon and not place):
        raise _unknown(text, name, colon, place)
    if equals and name == "shuffle":
        raise InvalidArgument(f"perturbation {text!r}: weights are drawn as at the beginning; write shuffle:weights{at}{when}")
    if not equals and name != "shuffle":
        raise InvalidArgument(f"perturbation {text!r} says not how: write {_example(name)}")
    if at and not when.strip():
        raise InvalidArgument(f"perturbation {text!r}: expected a step behind the @, for example {_example(name)}")
    when, plus, lasting = when.partition("+")
    if plus and name != "push":
        raise InvalidArgument(f"perturbation {text!r}: only a push ends; write {body}@{when}, which lasts to the end of the episode")
    moment = _moment(text, when) if at else START
    if name == "push":
        if not (at and re.fullmatch(r"\d+", lasting.strip()) and 0 < int(lasting) < _LARGEST_STEP):
            raise InvalidArgument(f"perturbation {text!r}: a push comes at a step and lasts some; write {what}={how}@400+10")
        return replace(_push(text, place, how), moment=moment, steps=int(lasting))
    made: Perturbation = replace(reader(text, place, how), moment=moment)
    return made


def parse_all(texts: str | Iterable[str | Perturbation] | None) -> tuple[Perturbation, ...]:
    """Perturbations that come together, from texts or objects; `A & B` in one text are two, `none` is none.

    Raises:
        InvalidArgument: a text that names none, or something that is changed twice.
    """
    if texts is None:
        return ()
    found: list[Perturbation] = []
    for each in [texts] if isinstance(texts, str | Perturbation) else texts:
        if isinstance(each, Perturbation):
            found.append(parse(str(each)))
            continue
        if not isinstance(each, str):
            raise InvalidArgument(f"perturb: expected a text such as 'motor:3=0@500', got {each!r}")
        found += [parse(part) for part in each.split("&") if part.strip() != NONE]
    seen: dict[str, Perturbation] = {}
    for each in found:
        for what in _touched(each):
            name, _, index = what.partition(":")
            rivals = [key for key in seen if key in (what, f"{name}:*") or (index == "*" and key.startswith(f"{name}:"))]
            twin = next(iter(rivals), None)
            if twin is not None:
                raise InvalidArgument(f"perturbations {str(seen[twin])!r} and {str(each)!r} change the same; give one of the two")
            seen[what] = each
    return tuple(found)


def together(perturbations: Iterable[Perturbation]) -> str:
    """The text of perturbations that come together; the inverse of `parse_all`."""
    return " & ".join(map(str, perturbations)) or NONE


def check_moments(perturbations: Iterable[Perturbation], limit: int, repeat: int = 1) -> None:
    """Refuse a moment behind the end of an episode, or behind the last action, with which all but a change of a body comes.

    Args:
        perturbations: all of them.
        limit: steps of the longest episode.
        repeat: steps of each action.

    Raises:
        InvalidArgument: names both.
    """
    last = (limit - 1) // repeat * repeat
    for each in perturbations:
        if each.moment.high >= limit:
            raise InvalidArgument(
                f"perturbation {str(each)!r} comes at step {int(each.moment.high)}, but an episode has {limit} steps at most (0 to "
                f"{limit - 1}); choose an earlier one (of a suite: in a suite file of your own), or evolve with longer episodes "
                "(--max-episode-steps N)"
            )
        if each.kind != "body" and each.moment.high > last:
            raise InvalidArgument(
                f"perturbation {str(each)!r} comes with the first action from step {int(each.moment.high)} on, but with actions of "
                f"{repeat} steps (--action-repeat {repeat}) the last one of {limit} steps begins at step {last}; choose step {last} or an "
                "earlier one"
            )


def _touched(each: Perturbation) -> list[str]:
    if isinstance(each, Channels):
        return [f"{each.kind}:{index}" for index in each.which] or [f"{each.kind}:*"]
    return [each.what]


def _channels(kind: type[Channels]) -> Callable[[str, str, str], Channels]:
    def read(text: str, place: str, how: str) -> Channels:
        which = _indices(text, kind.kind, place)
        if how.startswith("stuck:"):
            return kind(which=which, stuck=_number(text, how.removeprefix("stuck:"), "the value that it is stuck at"))
        return kind(which=which, gain=_range(text, how, "a gain"))

    return read


def _indices(text: str, name: str, place: str) -> tuple[int, ...]:
    if place == "*":
        return ()
    found: list[int] = []
    for part in place.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise InvalidArgument(f"perturbation {text!r}: expected {name}:3, {name}:0-7, {name}:0,5 or {name}:*, got {place!r}")
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low or high - low > 10**6:
            raise InvalidArgument(f"perturbation {text!r}: indices rise, got {part.strip()}")
        found += range(low, high + 1)
    if len(set(found)) < len(found):
        raise InvalidArgument(f"perturbation {text!r}: an index is given twice; keep one")
    return tuple(sorted(found))


def _deviation(kind: type[Noise]) -> Callable[[str, str, str], Noise]:
    def read(text: str, place: str, how: str) -> Noise:
        return kind(deviation=_range(text, how, "a standard deviation", least=0))

    return read


def _delay(text: str, place: str, how: str) -> SensorDelay:
    if not re.fullmatch(r"\d{1,6}", how) or not 1 <= int(how) <= 100_000:
        raise InvalidArgument(f"perturbation {text!r}: expected a whole number of steps, at least 1, got {how!r}")
    return SensorDelay(steps=int(how))


def _lesion(text: str, place: str, how: str) -> Lesion:
    share = _number(text, how, "a share")
    if not 0 < share <= 1:
        raise InvalidArgument(f"perturbation {text!r}: expected a share above 0 and at most 1 (1 is all), got {how}")
    return Lesion(part=place, share=share)


def _shuffle(text: str, place: str, how: str) -> Shuffle:
    return Shuffle()


def _scaled(quantity: str) -> Callable[[str, str, str], Scaled]:
    def read(text: str, place: str, how: str) -> Scaled:
        if not how.startswith("x"):
            raise InvalidArgument(f"perturbation {text!r}: expected a factor, for example {_example(quantity)}, got {how!r}")
        least = 0.0 if quantity in ("friction", "gravity") else math.ulp(0.0)
        return Scaled(quantity=quantity, place=place, factor=_range(text, how[1:], "a factor", least=least))

    return read


def _slope(text: str, place: str, how: str) -> Slope:
    degrees = _range(text, how.removesuffix("deg"), "degrees, for example slope=5deg,")
    if not how.endswith("deg") or not -60 <= degrees.low <= degrees.high <= 60:
        raise InvalidArgument(f"perturbation {text!r}: expected degrees from -60 to 60, for example slope=5deg, got {how!r}")
    return Slope(degrees=degrees)


def _push(text: str, place: str, how: str) -> Push:
    if not how.endswith("N"):
        raise InvalidArgument(f"perturbation {text!r}: expected a force in newtons, for example push:{place}=300N@400+10, got {how!r}")
    return Push(place=place, newtons=_range(text, how[:-1], "a force"), steps=1)


def _attribute(text: str, place: str, how: str) -> Attribute:
    return Attribute(place=place, value=_range(text, how.removeprefix("x"), "a number or a factor"), times=how.startswith("x"))


# The part in front of the `=`, with a colon where a name or indices follow -> its reader.
_READERS: dict[str, Callable[[str, str, str], Any]] = {
    "motor:": _channels(Motor),
    "sensor:": _channels(Sensor),
    "sensor-noise": _deviation(SensorNoise),
    "sensor-delay": _delay,
    "action-noise": _deviation(ActionNoise),
    "lesion:weights": _lesion,
    "lesion:neurons": _lesion,
    "shuffle:weights": _shuffle,
    "friction": _scaled("friction"),
    "gravity": _scaled("gravity"),
    "mass:": _scaled("mass"),
    "limb:": _scaled("limb"),
    "slope": _slope,
    "push:": _push,
    "attribute:": _attribute,
}
EXAMPLES = (
    *("motor:3=0@500", "sensor:0-7=0", "sensor-noise=0.1@300", "sensor-delay=2", "action-noise=0.1"),
    *("lesion:weights=0.3@500", "lesion:neurons=0.2@500", "shuffle:weights@500"),
    *("friction=x0.25", "gravity=x1.5", "mass:torso=x2", "limb:ankle_4=x0.25", "slope=5deg"),
    *("push:torso=300N@400+10", "attribute:length=x2"),
)


def _example(name: str) -> str:
    return next((each for each in EXAMPLES if re.split("[:=@]", each)[0] == name), EXAMPLES[0])


def _unknown(text: str, name: str, colon: str, place: str) -> InvalidArgument:
    names = list(dict.fromkeys(key.partition(":")[0] for key in _READERS))
    if name not in names:
        return UnknownName("perturbation", name, names)
    parts = [key for key in _READERS if key.partition(":")[0] == name]
    if parts == [f"{name}:"] or (colon and not place):
        return InvalidArgument(f"perturbation {text!r} names none; write {_example(name)}")
    if parts == [name]:
        return InvalidArgument(f"perturbation {text!r}: {name} is of everything, and takes no name; write {_example(name)}")
    return UnknownName(f"part of {name}", place, [key.partition(":")[2] for key in parts])


def _moment(text: str, when: str) -> Range:
    match = re.fullmatch(r"\s*(\d{1,10})\s*(?:\.\.\s*(\d{1,10})\s*)?", when)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if high < low or high > _LARGEST_STEP:
        raise InvalidArgument(f"perturbation {text!r}: expected a step, @500, or a range of steps, @450..549, got @{when}")
    return Range(low, high)


def _range(text: str, written: str, what: str, least: float = -math.inf) -> Range:
    low, dots, high = written.partition("..")
    found = Range(_number(text, low, what), _number(text, high if dots else low, what))
    if found.high < found.low:
        raise InvalidArgument(f"perturbation {text!r}: a range rises, got {written}")
    if found.low < least:
        raise InvalidArgument(f"perturbation {text!r}: expected {what} {'of at least' if least == 0 else 'above'} 0, got {written}")
    return found


def _number(text: str, written: str, what: str) -> float:
    number = float(written) if re.fullmatch(_NUMBER, written.strip()) else math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"perturbation {text!r}: expected {what.rstrip(',')} as a finite number, got {written.strip()!r}")
    return number + 0.0
