"""Approval of the code that a run folder names: a rule, network or strategy with its files in `code/`, a task `module:Id`, a Ray cluster.

A user who gives such a name to `nchl evolve` or `nchl.run` approves that code: the SHA-256 of each of its files is noted in the folder of
`rules.kernels.cache`. A folder from elsewhere approves nothing: its code must have been noted, or the user allows it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nchl.errors import RunError
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import MODULE, OBJECT
from nchl.runs.store.code_copy import digest
from nchl.user_code import gather, is_place

VARIABLE = "NCHL_TRUST"
_NAME = "known-code"


def chosen(config: EvolveConfig) -> tuple[str | None, ...]:
    """The options that can name code; a cluster too, as Ray runs code that its other nodes send."""
    strategy = config.strategy if is_place(config.strategy) else None
    return *chosen_network(config), strategy, config.task, config.cluster, *(config.wrap or ())


def chosen_network(config: EvolveConfig) -> tuple[str | None, ...]:
    """The options that can name code of the network alone, without its task."""
    network = str(config.network)
    is_object = network.startswith((OBJECT, MODULE)) and not is_place(network)
    return None if is_object else network, config.rule


def remember(places: Iterable[str | None], files: Mapping[str, bytes] | None = None) -> None:
    """Note that the user has approved this code; see `check`."""
    keys = [key for _, key in _keys(places, files)]
    known = _known() if keys else set()
    new = [key for key in dict.fromkeys(keys) if key not in known]
    if new:
        from nchl.rules.kernels import cache  # imports torch, which readers of a run do without

        with contextlib.suppress(OSError):  # then the user is asked again
            descriptor = os.open(cache.folder() / _NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(f"{key}\n" for key in new))


def check(run: Path, places: Iterable[str | None], files: Mapping[str, bytes] | None = None) -> None:
    """Refuse a run that names code which the user has not approved.

    Args:
        run: the run folder, for the message.
        places: values of options in its record; those that name no code are skipped.
        files: the content of the user's files by path; None: the present files that `places` name.

    Raises:
        RunError: names the code and how to allow it.
    """
    wanted = list(_keys(places, files))
    if not wanted:
        return
    if os.environ.get(VARIABLE) == "1":
        remember(places, files)
        return
    known = _known()
    for shown, key in wanted:
        if key not in known:
            raise RunError(
                f"{run} runs the code of {shown!r}, which you have not chosen here before, or which has changed since. "
                f"Look at it first; then allow it with {VARIABLE}=1 in the environment, once"
            )


def _keys(places: Iterable[str | None], files: Mapping[str, bytes] | None) -> Iterator[tuple[str, str]]:
    """The name for the user and the key of each piece of code; missing files are skipped."""
    for place in places:
        name, colon, _ = (place or "").rpartition(":")
        if is_place(place) or name.endswith(".py"):
            if files is None:
                with contextlib.suppress(OSError, ValueError):
                    yield from ((path, f"sha256 {digest(text)}") for path, text in gather(Path(name)).items())
        elif colon:
            yield str(place), f"module {name!r}"
    for path, text in (files or {}).items():
        yield path, f"sha256 {digest(text)}"


def _known() -> set[str]:
    from nchl.rules.kernels import cache

    path = cache.folder() / _NAME
    if not path.exists() or cache.objection(path):
        return set()
    try:
        return set(path.read_text(errors="replace").splitlines())
    except OSError:
        return set()
