"""Names of films: a word for each option with which a film shows something else than `film.mp4`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from nchl.runs.settings.perturbation_options import always

SEED = 10000  # the first episode of this evaluation is in `film.mp4`
_LONGEST = 60  # characters of perturbations


def words_of(
    which: str,
    perturb: Sequence[str] | str | None,
    controls: bool,
    simulator: str | None,
    seed: int,
    episodes: int,
    seconds: float | None,
) -> list[str]:
    """A word for each option with which a film shows something else than `film.mp4`, which the report embeds."""
    words = {
        which: which != "best",
        in_a_name(always(perturb or ())): perturb is not None,
        "controls": controls,
        str(simulator): simulator is not None,
        f"seed-{seed}": seed != SEED,
        f"episodes-{episodes}": episodes != 1,
        f"seconds-{seconds or 0:g}": seconds is not None,
    }
    return [word for word, differs in words.items() if differs]


def in_a_name(perturbations: Sequence[str] | None) -> str:
    """Perturbations as a part of a file's name, such as `motor-3=0@500`; of long ones the beginning, and a digest of all."""
    if not perturbations:
        return "unperturbed"
    exact = "_".join(perturbations)
    plain = exact.replace(":", "-").replace("*", "all")  # colons and stars are not for every file system
    name = re.sub(r"[^A-Za-z0-9.,=@+_-]", "", plain)[:_LONGEST]
    return name if name == plain else f"{name}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"
