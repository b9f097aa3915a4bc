"""A run folder can name code to run: `FILE.py:NAME` as its rule or network, `module:Id` as its task, a Ray cluster's address.

Whose code that is, is asked here.

Whoever gives such a name to `nchl evolve` (or `nchl.run`) has chosen that code; its SHA-256 is noted in the folder of
`rules.kernels.cache`. A folder that somebody else made cannot choose: what it names must have been noted, or the user allows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from nchl.errors import RunError
from nchl.runs.config import EvolveConfig

VARIABLE = "NCHL_TRUST"
_NAME = "known-code"


def chosen(config: EvolveConfig) -> tuple[str | None, ...]:
    """The options that can name code: also a cluster, for Ray runs what its other nodes send."""
    return config.network, config.rule, config.task, config.cluster


def chosen_network(config: EvolveConfig) -> tuple[str | None, ...]:
    """Those of them that a network alone needs, without its task."""
    return config.network, config.rule


def remember(places: Iterable[str | None]) -> None:
    """Note that the user has chosen this code.

    Args:
        places: values of options; those that name no code are passed over.
    """
    keys = [key for place in places if (key := _key(place)) is not None]
    known = _known() if keys else set()
    new = [key for key in dict.fromkeys(keys) if key not in known]
    if new:
        from nchl.rules.kernels import cache  # brings torch, which readers of a run do without

        with contextlib.suppress(OSError):  # then it is asked about again
            descriptor = os.open(cache.folder() / _NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(f"{key}\n" for key in new))


def check(run: Path, places: Iterable[str | None]) -> None:
    """Refuse a run that names code which the user has never chosen.

    Args:
        run: the run folder, for the message.
        places: values of options in its record.

    Raises:
        RunError: names the code and how to allow it.
    """
    places = list(places)
    known: set[str] | None = None
    for place in places:
        key = _key(place)
        if key is None:
            continue
        if os.environ.get(VARIABLE) == "1":
            remember(places)
            return
        known = _known() if known is None else known
        if key not in known:
            raise RunError(
                f"{run} runs the code of {place!r}, which you have not chosen here before, or which has changed since. "
                f"Look at it first; then allow it with {VARIABLE}=1 in the environment, once"
            )


def _key(place: str | None) -> str | None:
    """What is noted of a piece of code; None where a value names none, or a file that is not there."""
    name, colon, _ = (place or "").rpartition(":")
    if not colon:
        return None
    if not name.endswith(".py"):
        return f"module {name!r}"
    try:
        return f"sha256 {hashlib.sha256(Path(name).read_bytes()).hexdigest()}"
    except (OSError, ValueError):
        return None


def _known() -> set[str]:
    from nchl.rules.kernels import cache

    path = cache.folder() / _NAME
    if not path.exists() or cache.objection(path):
        return set()
    try:
        return set(path.read_text(errors="replace").splitlines())
    except OSError:
        return set()
