"""Formats results for readers: reasons, settings, numbers, times and sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

_REASONS = {
    "generations": "all generations are done",
    "target": "the target was reached on validation starts",
    "max_steps": "the limit of environment steps was reached",
    "max_minutes": "the time limit was reached",
    "diverged": "no score was finite any more",
}


def reason(name: object) -> str:
    """Description of the reason in a run's summary."""
    return _REASONS.get(str(name), "see summary.json")


def setting(value: Any, between: str = " ") -> str:
    """The value of an option; `between` separates the numbers of a list, ` | ` its texts."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return between.join(hashable(value)) or "none"
    if not isinstance(value, tuple):
        return str(value)
    return (" | " if any(isinstance(each, str) for each in value) else between).join(map(str, value)) or "none"


def hashable(value: Any) -> Any:
    """The value of an option in a hashable form: a list as a tuple, a mapping as a tuple of `name=value`."""
    if isinstance(value, Mapping):
        return tuple(f"{name}={json.dumps(value[name])}" for name in sorted(value))
    return tuple(value) if isinstance(value, list) else value


def figure(value: float | None) -> str:
    """A score in few digits: 12,345, 512.3, 0.0123; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 10_000 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as 48 s, 12 min or 3 h 20 min; a dash if not finite."""
    if not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(mebibytes: float) -> str:
    """Mebibytes as 870 B, 34 kB or 12.0 MB."""
    count = round(mebibytes * (1 << 20))
    return f"{count} B" if count < 1000 else f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def listed(names: Sequence[object], most: int = 5) -> str:
    """The first names with commas between them, and the number of the others."""
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
