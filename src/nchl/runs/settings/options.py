"""The description of one option of `nchl evolve`: type, default, bounds, help, and the networks and strategies to which it applies."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.strategies.registry import STRATEGIES, Setting, all_settings, settings_of

_Config = TypeVar("_Config")

# Prefix of the class of a network or strategy given as an object; of an `nn.Sequential`.
OBJECT, MODULE = "object:", "module:"
OWN_GENOME = OBJECT + "genome"  # initial genome given as an array, also in a strategy; the run keeps its numbers in a file

# Options on which no result depends. Runs that differ in these alone are the same experiment.
NO_EFFECT_ON_RESULTS = frozenset({"preset", "workers", "cluster", "wandb", "mlflow"})
# Limits of a run: a run continued under larger ones has the bits of a run that had these from the start.
TOTALS = ("generations", "max_steps", "max_minutes")

# Options that records of earlier versions lack; such a run used the present default.
ADDED = frozenset(
    {"max_episode_steps", "mu", "evolve_biases", "episodes_schedule"}
    | {"sigma_schedule", "lr_schedule", "optimizer", "weight_decay"}
    | {"recurrent", "average", "every", "trace", "modulate"}
    | {"env", "observe", "action_repeat", "wrap"}
    | {"perturb", "perturb_training"}
)
# Options of earlier versions -> the error message.
FORMER = {"diagonal": "--diagonal is a strategy of its own now: write --strategy sep-cma-es (in Python, strategy='sep-cma-es')"}
# Options of other libraries whose names are not near -> the end of the error message.
ELSEWHERE = {
    theirs: f"it is {ours!r} here"
    for theirs, ours in {"popsize": "population", "pop_size": "population", "learning_rate": "lr", "stdev": "sigma"}.items()
}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


def _plain_int(value: Any) -> Any:
    return value if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def _plain_float(value: Any) -> Any:
    return value if isinstance(value, bool) or not isinstance(value, Real) else float(value)


def _tuple_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(fits, value))


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("text", lambda value: isinstance(value, str)),
    "int": ("a whole number", _is_int),
    "float": ("a finite number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "ints": ("a list of whole numbers", _tuple_of(_is_int)),
    "texts": ("a list of texts", _tuple_of(lambda item: isinstance(item, str) and item != "")),
    "places": ("a list of MODULE:NAME or FILE.py:NAME", _tuple_of(lambda item: isinstance(item, str) and ":" in item)),
    "specs": ("a list of texts", _tuple_of(lambda item: isinstance(item, str) and item != "")),
    "settings": ("settings by name", lambda value: isinstance(value, dict)),
}
_PLAIN: dict[str, Callable[[Any], Any]] = {"int": _plain_int, "ints": _plain_int, "float": _plain_float}
LISTS = ("ints", "texts", "places", "specs")  # kinds whose values are tuples


@dataclass(frozen=True)
class Option:
    """One option of `nchl evolve`.

    Attributes:
        name: field of `EvolveConfig`.
        kind: `str`, `int`, `float`, `bool` (a flag), `ints` (one number or more), `texts`, `places` and `specs` (repeatable), or
            `settings` (values by name).
        default: the value if the option applies and is not given; None: no value.
        help: one sentence, with units and source; ends with the default.
        group: heading in the help.
        metavar: placeholder of the value, or None.
        choices: the allowed values, or None.
        least: the smallest allowed number, or None.
        networks: the networks to which it applies; None: all.
        strategies: the strategies to which it applies; None: all.
    """

    name: str
    kind: str
    default: Any
    help: str
    group: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    least: int | None = None
    networks: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None

    @property
    def flag(self) -> str:
        """The flag of the command line, for example `--initial-weights`."""
        return "--" + self.name.replace("_", "-")

    def applies(self, network: str, strategy: str) -> bool:
        """Whether the option applies to this network (a user's own is `FILE.py:NAME`) and this strategy."""
        return not self._is_of_another_strategy(strategy) and (self.networks is None or _kind_of(network) in self.networks)

    def plain(self, value: Any) -> Any:
        """The value as a record holds it: a tuple for a list, Python's numbers for NumPy's. A value of another kind stays as it is."""
        plain = _PLAIN.get(self.kind, lambda given: given)
        if self.kind not in LISTS:
            return plain(value)
        if getattr(value, "ndim", 0) == 1:  # an array
            value = value.tolist()
        return tuple(map(plain, value)) if isinstance(value, list | tuple) else value

    def check(self, value: Any) -> None:
        """Refuse a value of another type than the option's, or out of its range.

        Raises:
            InvalidArgument: names the option, the expected type or range, and the value.
        """
        wanted, fits = _KINDS[self.kind]
        if not fits(value):
            # A record names code by its place and cannot hold the code itself.
            hint = "; name the place of the function or class instead, as 'FILE.py:NAME'" if callable(value) else ""
            if hint and self.name == "rule":
                name = getattr(value, "__name__", "")
                hint += f"; or give the network: network=nchl.PlasticMLP([4, 10, 2], rule={name if name.isidentifier() else 'RULE'})"
            raise InvalidArgument(f"{self.name} must be {wanted}, got {value!r}{hint}")
        if self.choices is not None and value not in self.choices:
            raise UnknownName(self.name.replace("_", " "), str(value), self.choices)
        if self.least is not None:
            hold, inside = ("hold numbers of", f" in {list(value)}") if isinstance(value, tuple) else ("be", "")
            for number in value if isinstance(value, tuple) else (value,):
                if number < self.least:
                    raise InvalidArgument(f"{self.name} must {hold} at least {self.least}, got {number}{inside}")

    def refusal(self, network: str, strategy: str) -> str:
        """The error message if the option is given although it does not apply."""
        of_strategy = self._is_of_another_strategy(strategy)
        kind, chosen, allowed = ("strategy", strategy, self.strategies) if of_strategy else ("network", network, self.networks)
        if is_object(chosen):
            name = chosen.removeprefix(OBJECT)
            return f"{self.name} does not apply to a {kind} given as an object: set it where that is made, {name}(...), and leave it out"
        names = ", ".join(name for name in allowed or () if name != OBJECT)
        return f"{self.flag} does not apply to the {kind} {chosen}; it only applies to {names}. Leave it out, or choose another {kind}"

    def _is_of_another_strategy(self, strategy: str) -> bool:
        """Whether it is a setting of other strategies. All settings of a strategy given as an object are in the object."""
        if is_object(strategy):
            return self.name in all_settings()
        return self.strategies is not None and self.name not in {each.name for each in settings_of(strategy)}


def that_matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options on which results depend, with their values."""
    return {name: value for name, value in settings.items() if name not in NO_EFFECT_ON_RESULTS}


def is_object(name: str) -> bool:
    """Whether a network or strategy was given as an object, `object:CLASS`, which has its own settings."""
    return name.startswith(OBJECT)


def is_file_network(network: str) -> bool:
    """Whether a network takes the options of `FILE.py:NAME`: one from a file, or an `nn.Sequential` given as an object."""
    return ":" in network and not is_object(network)


def _kind_of(network: str) -> str:
    return "FILE.py:NAME" if is_file_network(network) else OBJECT if is_object(network) else network


def option(kind: str, default: Any, help: str, group: str, metavar: str | None = None, **more: Any) -> Any:
    """A dataclass field for one option: `None` for "not given", everything else in its metadata."""
    if default is not None and "(default" not in help:
        shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
        help += f" (default: {' '.join(map(str, shown)) if isinstance(shown, tuple) else shown})"
    return field(default=None, metadata={"kind": kind, "default": default, "help": help, "group": group, "metavar": metavar, **more})


def with_strategy_settings(group: str, *, behind: str) -> Callable[[type[_Config]], type[_Config]]:
    """A decorator that adds fields for the settings of all registered strategies after a field; to be applied before `dataclass`."""

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
    """The field of a setting, given the strategies that have it and their versions of it, which may differ in the default."""
    first = next(iter(versions.values()))
    told = {strategy: version.otherwise or str(version.default) for strategy, version in versions.items()}
    usual, *others = sorted(dict.fromkeys(told.values()), key=lambda default: -list(told.values()).count(default))
    if len(others) == 0:
        shown = usual if first.otherwise else None
    elif list(told.values()).count(usual) > 1:
        shown = "; ".join([usual, *(f"for {_named(told, default)} {default}" for default in others)])
    else:
        shown = "; ".join(f"for {_named(told, default)} {default}" for default in (usual, *others))
    more: dict[str, Any] = {"metavar": first.metavar, "choices": first.choices}
    more["strategies"] = None if len(versions) == len(STRATEGIES) else tuple(versions)
    help = first.help if shown is None else f"{first.help} (default: {shown})"
    return option(first.kind, first.default, help, group, **more)


def _named(told: Mapping[str, str], default: str) -> str:
    return " and ".join(strategy for strategy, each in told.items() if each == default)


def check_keys(data: Any, known: Iterable[Option], file: Path | str) -> None:
    """Refuse settings of a record that are not those of a run.

    Keys that earlier versions lacked may be missing: the options in `ADDED`, and settings of other strategies than the run's.

    Raises:
        RunError: not an object, or an unknown or missing key; names the file and the key.
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
