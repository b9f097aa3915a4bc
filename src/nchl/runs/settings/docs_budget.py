"""Small budgets for the commands of the documentation, so that a test can run every one of them.

`NCHL_DOCS_BUDGET=small` in the environment limits generations, individuals, episodes and seconds of film to `MOST`. Nothing is cut
silently: the command line says so on stderr each time, Python code gets a `BudgetCut` warning, and a run's record has the budgets that it
really had. No other module reads the variable.
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

# Budget -> its limit.
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
_OPTIONS = ("generations", "population", "episodes", "validation_episodes", "workers")
_STEPS = "max_episode_steps"  # if it is not given, the task has its own limit, of thousands of steps perhaps

Number = TypeVar("Number", int, float)


class BudgetCut(UserWarning):
    """Budgets are limited by the environment variable."""


def in_force() -> bool:
    """Whether budgets are limited.

    Raises:
        InvalidArgument: the variable is neither empty nor `small`.
    """
    word = os.environ.get(VARIABLE, "")
    if word not in ("", "small"):
        raise InvalidArgument(f"expected {VARIABLE}=small, or no such variable, got {word!r}; for real runs: unset {VARIABLE}")
    return word == "small"


def limits() -> str:
    """The limits in words."""
    return ", ".join(f"{most} {name.replace('_', ' ')}" for name, most in MOST.items())


def notice() -> str | None:
    """The line for the user; None if budgets are not limited."""
    if not in_force():
        return None
    return f"{VARIABLE}=small: budgets are cut to at most {limits()}; this is no real run. For those: unset {VARIABLE}"


def at_most(budget: str, value: Number) -> Number:
    """The value, or the limit of this budget (a key of `MOST`) if it is smaller."""
    if not in_force() or value <= MOST[budget]:
        return value
    _warn()
    return type(value)(MOST[budget])


def cut(config: EvolveConfig) -> EvolveConfig:
    """The configuration with limited budgets; the same object if they are within the limits."""
    if not in_force():
        return config
    changes = {name: MOST[name] for name in _OPTIONS if (getattr(config, name) or 0) > MOST[name]}
    if (getattr(config, _STEPS) or math.inf) > MOST["steps of an episode"]:
        changes[_STEPS] = MOST["steps of an episode"]
    if not changes:
        return config
    _warn()
    return config.replace(**changes)


def _warn() -> None:
    warnings.warn(str(notice()), BudgetCut, stacklevel=3)
