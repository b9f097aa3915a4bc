"""Small budgets for the commands of the documentation, so that a test can run every one of them.

`NCHL_DOCS_BUDGET=small` in the environment cuts what takes long (generations, individuals, episodes, seconds of film) to `MOST`.
Nothing else is touched, and nothing is cut in silence: the command line says so on stderr each time, Python code gets a
`BudgetCut` warning, and a run's record holds the budgets that it really had. The variable is read here alone.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import TYPE_CHECKING, TypeVar

from nchl.errors import InvalidArgument

if TYPE_CHECKING:
    from nchl.runs.settings.config import EvolveConfig

VARIABLE = "NCHL_DOCS_BUDGET"

# What -> the most that a command of the documentation gets of it.
MOST = {
    "generations": 2,
    "generations of a resumed run": 3,
    "population": 8,
    "steps of an episode": 120,
    "episodes": 2,
    "validation_episodes": 2,
    "workers": 2,
    "seeds of a sweep": 2,
    "unseen episodes": 4,
    "seconds of film": 1,
}
# Option of a run -> its limit.
_OF_A_RUN = {name: MOST[name] for name in ("generations", "population", "episodes", "validation_episodes", "workers")}
_STEPS = "max_episode_steps"  # not given, it is the task's own, which may be thousands

Number = TypeVar("Number", int, float)


class BudgetCut(UserWarning):
    """Budgets are cut by the variable of the environment."""


def in_force() -> bool:
    """Whether budgets are cut.

    Raises:
        InvalidArgument: the variable holds another word than `small`.
    """
    word = os.environ.get(VARIABLE, "")
    if word not in ("", "small"):
        raise InvalidArgument(f"expected {VARIABLE}=small, or no such variable, got {word!r}; for real runs: unset {VARIABLE}")
    return word == "small"


def limits() -> str:
    """The limits in words."""
    return ", ".join(f"{most} {name.replace('_', ' ')}" for name, most in MOST.items())


def notice() -> str | None:
    """The line that says so; None where nothing is cut."""
    if not in_force():
        return None
    return f"{VARIABLE}=small: budgets are cut to at most {limits()}; this is no real run. For those: unset {VARIABLE}"


def at_most(what: str, value: Number) -> Number:
    """The value, or the most that the budget allows.

    Args:
        what: a key of `MOST`.
        value: what was asked for.
    """
    if not in_force() or value <= MOST[what]:
        return value
    _warn()
    return type(value)(MOST[what])


def cut(config: EvolveConfig) -> EvolveConfig:
    """The configuration with the budgets of its run cut; the same object where there is nothing to cut."""
    if not in_force():
        return config
    changes = {name: most for name, most in _OF_A_RUN.items() if (getattr(config, name) or 0) > most}
    if (getattr(config, _STEPS) or math.inf) > MOST["steps of an episode"]:
        changes[_STEPS] = MOST["steps of an episode"]
    if not changes:
        return config
    _warn()
    return config.replace(**changes)


def _warn() -> None:
    warnings.warn(str(notice()), BudgetCut, stacklevel=3)
