"""Options that apply or not by the value of another option, and records of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument
from nchl.strategies.gradient_settings import gradient_settings
from nchl.strategies.registry import STRATEGIES, idle, refusal_of, settings_of

if TYPE_CHECKING:
    from nchl.runs.settings.config import EvolveConfig

_EITHER = {"episodes": "episodes_schedule", "episodes_schedule": "episodes"}  # one replaces the other
# A value of these was chosen for one strategy and optimizer, and means something else for another.
_OF_SEARCH = ("sigma", "sigma_decay", "sigma_schedule", "lr", "lr_decay", "lr_schedule")


def inapplicable(strategy: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> frozenset[str]:
    """Options that do not apply because of the value of another option.

    Args:
        strategy: the search.
        given: options that are not None.
        defaults: of all options, for this network and strategy.

    Raises:
        InvalidArgument: one of them was given.
    """
    values = {**defaults, **given}
    lost = set(idle(strategy, values))
    for name in lost & set(given):
        raise InvalidArgument(refusal_of(strategy, name, values))
    if "episodes_schedule" in given:
        if "episodes" in given:
            raise InvalidArgument("--episodes does not apply beside --episodes-schedule, which replaces it; leave one of the two out")
        lost.add("episodes")
    return frozenset(lost)


def search_of(strategy: str, settings: Mapping[str, Any]) -> tuple[str, str | None]:
    """The strategy and its optimizer, by settings that may lack it; None if the strategy has no optimizer."""
    own = {each.name: each.default for each in settings_of(strategy)}
    return strategy, settings.get("optimizer", own["optimizer"]) if "optimizer" in own else None


def still_applicable(strategy: str, earlier: Mapping[str, Any], given: Mapping[str, Any], before: tuple[str, str | None]) -> dict[str, Any]:
    """The earlier options, of a preset for example, that given ones neither replace nor make inapplicable.

    The optimizer falls away with the strategy for which it was chosen; sigma, the learning rate, their decays and schedules with either.

    Args:
        strategy: the search.
        earlier: earlier options.
        given: options that were given now.
        before: strategy and optimizer of the earlier options, see `search_of`.
    """
    kept = {name: value for name, value in earlier.items() if name not in given and (name != "optimizer" or strategy == before[0])}
    if search_of(strategy, {**kept, **given}) != before:
        kept = {name: value for name, value in kept.items() if name not in _OF_SEARCH}
    known = {each.name: each.default for each in settings_of(strategy)}
    lost = set(idle(strategy, {**known, **kept, **given})) | {other for name, other in _EITHER.items() if name in given}
    return {name: value for name, value in kept.items() if name not in lost}


def by_optimizer(strategy: str, optimizer: str | None) -> dict[str, Any]:
    """Defaults of sigma and the learning rate that follow from the optimizer (None: the strategy's default).

    Empty for a strategy without one; the learning rate is None where the genome's length decides.
    """
    own = {each.name: each.default for each in STRATEGIES[strategy].settings} if strategy in STRATEGIES else {}
    if "optimizer" not in own:
        return {}
    follow = gradient_settings(strategy, own["optimizer"] if optimizer is None else optimizer)
    return {"sigma": follow.sigma, "lr": follow.lr}


def schedules(config: EvolveConfig) -> dict[str, str]:
    """The schedules `cosine`, with the number of generations planned now, so that a larger total later changes no bit."""
    named = {name: getattr(config, name) for name in ("sigma_schedule", "lr_schedule")}
    return {name: f"cosine:{config.generations}" for name, value in named.items() if value == "cosine"}


def converted(data: Any) -> Any:
    """A record in the form of this version: `cma-es` with `diagonal` is `sep-cma-es` now, `conv-hml` has no sharing."""
    if not isinstance(data, dict):
        return data
    if data.get("network") == "conv-hml":
        data = data | {"sharing": None, "termwise": None}
    if "diagonal" not in data:
        return data
    others = {name: value for name, value in data.items() if name != "diagonal"}
    return others | {"strategy": "sep-cma-es"} if data["diagonal"] is True and data.get("strategy") == "cma-es" else others
