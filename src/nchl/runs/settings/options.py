"""What the command line must know of one option: its type, default, help, and for which network or strategy it has a meaning."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.strategies.registry import STRATEGIES, Setting, all_settings, settings_of

_Config = TypeVar("_Config")

# In front of the class of a network or strategy that was given as an object; of an `nn.Sequential`.
OBJECT, MODULE = "object:", "module:"
OWN_START = OBJECT + "strategy"  # the initial genome of a strategy that was given as an object, where it is none of the known ones

# Options on which no result depends: where the work is done, who is told of it, and the name under which settings were found.
# Runs that differ in nothing else are the same experiment.
NO_EFFECT_ON_RESULTS = frozenset({"preset", "workers", "cluster", "threads", "wandb", "mlflow"})
# When a run ends: with larger ones a run goes on, with the bits that it would have had with these from the start.
TOTALS = ("generations", "max_steps", "max_minutes")

# Options that records of earlier versions lack; such a run was made with what is now the default.
ADDED = frozenset(
    {"max_episode_steps", "mu", "evolve_biases", "episodes_schedule"}
    | {"sigma_schedule", "lr_schedule", "optimizer", "weight_decay"}
    | {"recurrent", "average", "every", "trace", "modulate"}
    | {"env", "observe", "action_repeat", "wrap"}
    | {"perturb", "perturb_training"}
)

LISTS = ("ints", "texts", "places", "specs")  # kinds whose values are tuples

# Options of earlier versions -> what is said of them.
FORMER = {"diagonal": "--diagonal is a strategy of its own now: write --strategy sep-cma-es (in Python, strategy='sep-cma-es')"}


@dataclass(frozen=True)
class Option:
    """One option of `nchl evolve`.

    Attributes:
        name: field of `EvolveConfig`.
        kind: `str`, `int`, `float`, `bool` (a flag), `ints` (one number or more), `texts`, `places` and `specs` (given once
            for each) or `settings` (named values).
        default: the value that it takes where it has a meaning and is not given; None: no value.
        help: one sentence, with units and source where there are any; ends with the default.
        group: heading under which the help shows it.
        metavar: placeholder of the value, or None.
        choices: the values that are allowed, or None.
        networks: the networks for which it has a meaning; None: all.
        strategies: the strategies for which it has a meaning; None: all.
    """

    name: str
    kind: str
    default: Any
    help: str
    group: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None

    @property
    def flag(self) -> str:
        """What is typed, for example `--initial-weights`."""
        return "--" + self.name.replace("_", "-")

    def _is_others(self, strategy: str) -> bool:
        """Whether it is a setting of other strategies; those of an object are its own."""
        if is_object(strategy):
            return self.name in all_settings()
        return self.strategies is not None and self.name not in {each.name for each in settings_of(strategy)}

    def applies(self, network: str, strategy: str) -> bool:
        """Whether the option has a meaning for this network (a user's own stands as `FILE.py:NAME`) and this strategy."""
        if self._is_others(strategy):
            return False
        own = "FILE.py:NAME" if is_file_network(network) else OBJECT if is_object(network) else network
        return self.networks is None or own in self.networks


def that_matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options on which results depend, with their values."""
    return {name: value for name, value in settings.items() if name not in NO_EFFECT_ON_RESULTS}


def is_file_network(network: str) -> bool:
    """Whether a network takes the options of `FILE.py:NAME`: a user's own by its place, or an `nn.Sequential` as an object."""
    return ":" in network and not is_object(network)


def is_object(name: str) -> bool:
    """Whether a network or strategy was given as an object, whose settings are its own: `object:CLASS`."""
    return name.startswith(OBJECT)


def option(kind: str, default: Any, help: str, group: str, metavar: str | None = None, **more: Any) -> Any:
    """A dataclass field for one option, with `None` for "not given" and everything else in its metadata."""
    if default is not None and "(default" not in help:
        shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
        help += f" (default: {' '.join(map(str, shown)) if isinstance(shown, tuple) else shown})"
    return field(default=None, metadata={"kind": kind, "default": default, "help": help, "group": group, "metavar": metavar, **more})


def with_strategy_settings(group: str, *, behind: str) -> Callable[[type[_Config]], type[_Config]]:
    """A decorator that gives a dataclass-to-be a field for each setting of any strategy in the list.

    Args:
        group: heading of the help.
        behind: the field that these follow, in the help too.
    """

    def decorate(cls: type[_Config]) -> type[_Config]:
        ordered: dict[str, Any] = {}
        for name, kind in inspect.get_annotations(cls).items():
            ordered[name] = kind
            if name == behind:
                ordered |= dict.fromkeys(all_settings(), "Any")
        cls.__annotations__ = ordered
        for name, versions in all_settings().items():
            setattr(cls, name, _strategy_option(versions, group))
        return cls

    return decorate


def _strategy_option(versions: Mapping[str, Setting], group: str) -> Any:
    """One field for a setting that several strategies may take, each with its default; all of them: it is an option for all."""
    first = next(iter(versions.values()))
    defaults = list(dict.fromkeys(each.default for each in versions.values()))
    only = None if len(versions) == len(STRATEGIES) else tuple(versions)
    if len(defaults) == 1:
        more: dict[str, Any] = {"metavar": first.metavar, "choices": first.choices, "strategies": only}
        return option(first.kind, first.default, first.help, group, **more)
    each = "; ".join(f"{version.default} for {strategy}" for strategy, version in versions.items())
    plain = {"kind": first.kind, "default": first.default, "help": f"{first.help} (default: {each})", "group": group}
    return field(default=None, metadata={**plain, "metavar": first.metavar, "choices": first.choices, "strategies": only})


def no_meaning(option: Option, network: str, strategy: str) -> str:
    """The message for an option that was given although it has no meaning."""
    by_strategy = option._is_others(strategy)
    kind, chosen, allowed = ("strategy", strategy, option.strategies) if by_strategy else ("network", network, option.networks)
    if is_object(chosen):
        where = chosen.removeprefix(OBJECT)
        return f"{option.name} has no meaning for a {kind} given as an object: set it where that is made, {where}(...), and leave it out"
    belongs = ", ".join(name for name in allowed or () if name != OBJECT)
    return f"{option.flag} has no meaning for the {kind} {chosen}; it belongs to {belongs}. Leave it out, or choose another {kind}"


def check_keys(data: Any, known: Iterable[Option], file: Path | str) -> None:
    """Refuse settings of a record that are not those of a run.

    What earlier versions did not have may be missing: the options in `ADDED`, and settings of strategies that the run does not use.

    Raises:
        RunError: no object, or an unknown or missing key; names the file and the key.
    """
    if not isinstance(data, dict):
        raise RunError(f"{file}: the settings must be an object of options, got {type(data).__name__}")
    by_name = {each.name: each for each in known}
    why = "the file was altered or written by another version of nchl"
    for key in data:
        if key not in by_name:
            raise RunError(f"{file}: unknown key {key!r} in the settings; {why}")
    for name, about in by_name.items():
        of_others = about.strategies is not None and data.get("strategy") not in about.strategies
        if name not in data and name not in NO_EFFECT_ON_RESULTS | ADDED and not of_others:
            raise RunError(f"{file}: key {name!r} is missing from the settings; {why}")


def check_kind(option: Option, value: Any) -> None:
    """Refuse a value of another type than the option's."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    fits = {
        "str": isinstance(value, str),
        "int": is_int,
        "float": (is_int or isinstance(value, float)) and math.isfinite(value),
        "bool": isinstance(value, bool),
        "ints": isinstance(value, tuple) and all(isinstance(item, int) and not isinstance(item, bool) for item in value),
        "texts": isinstance(value, tuple) and all(isinstance(item, str) and item for item in value),
        "places": isinstance(value, tuple) and all(isinstance(item, str) and ":" in item for item in value),
        "specs": isinstance(value, tuple) and all(isinstance(item, str) and item for item in value),
        "settings": isinstance(value, dict),
    }[option.kind]
    if not fits:
        wanted = {
            "str": "text",
            "int": "a whole number",
            "float": "a finite number",
            "bool": "true or false",
            "ints": "a list of whole numbers",
            "texts": "a list of texts",
            "places": "a list of MODULE:NAME or FILE.py:NAME",
            "specs": "a list of texts",
            "settings": "settings by name",
        }[option.kind]
        # A run is repeated from its record, which can name code and not hold it.
        hint = "; name the place of the function or class instead, as 'FILE.py:NAME'" if callable(value) else ""
        raise InvalidArgument(f"{option.name} must be {wanted}, got {value!r}{hint}")
    if option.choices is not None and value not in option.choices:
        raise UnknownName(option.name.replace("_", " "), str(value), option.choices)


def at_least(name: str, values: Iterable[int], bound: int, what: str, *, allow_empty: bool = False) -> None:
    """Refuse a list with a number below a bound, or an empty one."""
    values = list(values)
    if not values and not allow_empty:
        raise InvalidArgument(f"{name} needs at least one number ({what}), got none")
    for value in values:
        if value < bound:
            raise InvalidArgument(f"{name} must hold {what} of at least {bound}, got {value} in {values}")
