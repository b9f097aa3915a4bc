"""The list of strategies: name, module, settings. The configuration, the command line and its help are made from it.

To add a strategy, add an entry. This module imports nothing heavy, because the command line reads it for its help; the module of a
strategy is imported when it is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.strategies.decay import read_schedule

if TYPE_CHECKING:
    from nchl.strategies.base import Strategy
    from nchl.strategies.population import Population


@dataclass(frozen=True)
class Setting:
    """A setting of a strategy: keyword argument of its class, field of the configuration and option of the command line.

    Strategies that share a setting share the object, or a copy with another default (`dataclasses.replace`).

    Attributes:
        name: of the keyword argument.
        kind: `int`, `float`, `bool` (a flag) or `str`.
        default: as in the signature of the class; None: the class decides, as `otherwise` says.
        help: one sentence.
        metavar: placeholder of the value in the help; None for a flag.
        above: exclusive lower bound.
        least: inclusive lower bound.
        most: inclusive upper bound.
        choices: the allowed texts; None: any.
        read: raises an `InvalidArgument` for an invalid text.
        when: another setting and the value of it that this one needs; None: it always applies.
        otherwise: the default that the class decides on, in words.
    """

    name: str
    kind: str
    default: Any
    help: str
    metavar: str | None = None
    above: float | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] | None = None
    read: Callable[[str], Any] | None = None
    when: tuple[str, str] | None = None
    otherwise: str = ""

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            InvalidArgument: it is out of range, or not one of the choices.
        """
        if self.choices is not None and value not in self.choices:
            raise UnknownName(self.name.replace("_", " "), str(value), self.choices)
        if self.read is not None:
            try:
                self.read(value)
            except InvalidArgument as error:
                raise InvalidArgument(f"{self.name}: {error}") from error
        if self.above is not None and self.most is not None:
            if not self.above < value <= self.most:
                raise InvalidArgument(f"{self.name} must be in ({self.above:g}, {self.most:g}], got {value}")
        elif self.above is not None and not value > self.above:
            raise InvalidArgument(f"{self.name} must be greater than {self.above:g}, got {value}")
        elif self.least is not None and value < self.least:
            raise InvalidArgument(f"{self.name} must be at least {self.least:g}, got {value}")
        elif self.most is not None and value > self.most:
            raise InvalidArgument(f"{self.name} must be at most {self.most:g}, got {value}")


@dataclass(frozen=True)
class Entry:
    """An entry of the list.

    Attributes:
        place: of the class, as `module:Class`.
        settings: the keyword arguments of the class, other than `centre`.
        packages: besides torch and numpy, the packages whose versions may change a result.
    """

    place: str
    settings: tuple[Setting, ...]
    packages: tuple[str, ...] = ()

    def load(self) -> type[Strategy]:
        """The class; imports its module."""
        found: type[Strategy] = _load(self.place)
        return found


_FALLS = "constant, exponential (by {0} each generation), or cosine:N (a half wave over N generations, then the floor)"

SIGMA = Setting("sigma", "float", 0.1, "standard deviation of the first generation around its centre", "S", above=0)
SIGMA_DECAY = Setting(
    *("sigma_decay", "float", 0.999, "factor on sigma after each generation, down to 0.01", "F"),
    above=0,
    most=1,
    when=("sigma_schedule", "exponential"),
)
SIGMA_SCHEDULE = Setting(
    "sigma_schedule", "str", "exponential", f"how sigma falls: {_FALLS.format('--sigma-decay')}", "NAME", read=read_schedule
)
SIGMA_LR = Setting("sigma_lr", "float", 0.1, "learning rate of the sigmas", "LR", above=0)
LR = Setting("lr", "float", 0.2, "learning rate of the centre", "LR", above=0)
LR_DECAY = Setting(
    *("lr_decay", "float", 0.995, "factor on the learning rate after each generation, down to 0.001", "F"),
    above=0,
    most=1,
    when=("lr_schedule", "exponential"),
)
LR_SCHEDULE = Setting(
    "lr_schedule", "str", "exponential", f"how the learning rate falls: {_FALLS.format('--lr-decay')}", "NAME", read=read_schedule
)
OPTIMIZER = Setting(
    "optimizer", "str", "sgd", "optimiser that turns the estimated gradient into a step", "NAME", choices=("sgd", "adam", "clipup")
)
WEIGHT_DECAY = Setting(
    "weight_decay", "float", 0.0, "weight decay: this factor times the centre is subtracted from the gradient", "F", least=0
)
ANTITHETIC = Setting("antithetic", "bool", True, "draw perturbations in mirrored pairs")
MU = Setting(
    "mu",
    "int",
    None,
    "parents: the best individuals of a generation, whose mean is the next centre",
    "N",
    least=1,
    otherwise="10, or the population where that is smaller",
)

# Those of a strategy with an optimizer, from which they follow (`gradient_settings`).
_SIGMA = replace(SIGMA, default=None, otherwise="0.3 with clipup")
_LR = replace(
    LR, default=None, otherwise="0.2 with sgd (20 for pgpe), 0.15 with adam, sigma times the root of the genome's length by 4 with clipup"
)

STRATEGIES: dict[str, Entry] = {
    "openai-es": Entry(
        "nchl.strategies.openai_es:OpenAIES",
        (*(_SIGMA, SIGMA_DECAY, SIGMA_SCHEDULE, _LR, LR_DECAY, LR_SCHEDULE), OPTIMIZER, WEIGHT_DECAY, ANTITHETIC),
    ),
    "pgpe": Entry(
        "nchl.strategies.pgpe:PGPE",
        (_SIGMA, SIGMA_LR, _LR, LR_DECAY, LR_SCHEDULE, replace(OPTIMIZER, default="clipup"), WEIGHT_DECAY),
    ),
    "snes": Entry("nchl.strategies.snes:SNES", (SIGMA,)),
    "cma-es": Entry("nchl.strategies.cma_es:CMAES", (SIGMA,), packages=("cma",)),
    "sep-cma-es": Entry("nchl.strategies.sep_cma_es:SepCMAES", (SIGMA,), packages=("cma",)),
    "lm-ma-es": Entry("nchl.strategies.lm_ma_es:LMMAES", (SIGMA,)),
    "elite": Entry("nchl.strategies.elite:Elite", (SIGMA, SIGMA_DECAY, SIGMA_SCHEDULE, MU)),
}

# The strategies of evosax; their names are looked up in evosax itself.
EVOSAX = "evosax:"
_OF_EVOSAX = tuple(replace(each, default=None) for each in (SIGMA, LR, OPTIMIZER))
_PACKAGES_OF_EVOSAX = ("evosax", "jax", "jaxlib")

# Kind of population -> its class, for `population_from`.
_POPULATIONS = {
    "gaussian": "nchl.strategies.population:GaussianPopulation",
    "adapted": "nchl.strategies.lm_ma_es:AdaptedPopulation",
    "matrix": "nchl.strategies.population:MatrixPopulation",
}


def settings(name: str) -> dict[str, Any]:
    """The settings of a strategy, with their defaults.

    Raises:
        UnknownName: there is no such strategy.
    """
    return {each.name: each.default for each in (_OF_EVOSAX if name.startswith(EVOSAX) else _find(name).settings)}


def settings_of(name: str) -> tuple[Setting, ...]:
    """The settings that a strategy may take. Without an entry they have no defaults, and the strategy refuses those it does not take."""
    if name in STRATEGIES:
        return STRATEGIES[name].settings
    if name.startswith(EVOSAX):
        return _OF_EVOSAX
    if ".py:" in name:
        return tuple(replace(next(iter(versions.values())), default=None, when=None) for versions in all_settings().values())
    return ()


def packages(name: str) -> tuple[str, ...]:
    """Besides torch and numpy, the packages whose versions may change a result of a strategy."""
    return _PACKAGES_OF_EVOSAX if name.startswith(EVOSAX) else STRATEGIES[name].packages if name in STRATEGIES else ()


def population_kinds() -> tuple[str, ...]:
    """The kinds of population that can be made again in another process."""
    return tuple(_POPULATIONS)


def all_settings() -> dict[str, dict[str, Setting]]:
    """Name of a setting -> strategies that take it -> their version of it, in the order of the list."""
    found: dict[str, dict[str, Setting]] = {}
    for name, entry in STRATEGIES.items():
        for each in entry.settings:
            found.setdefault(each.name, {})[name] = each
    return found


def make(name: str, size: int, population: int, seed: int, *, centre: Any = "normal", **given: Any) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `STRATEGIES`, or `evosax:NAME` for one of evosax's.
        size: numbers in a vector.
        population: individuals per generation.
        seed: seed of the run.
        centre: initial centre: `"normal"`, `"zeros"`, `"uniform"`, or a vector (size,).
        given: settings of that strategy, see `settings(name)`.

    Raises:
        UnknownName: there is no such strategy.
        InvalidArgument: an unknown setting, or an invalid value.
    """
    known = settings(name)
    unknown = [setting for setting in given if setting not in known]
    if unknown:
        others = sorted(other for other in STRATEGIES if all(setting in settings(other) for setting in unknown))
        hint = f"; it applies to {' and '.join(others)}" if others else ""
        hint = "; use sep-cma-es, which learns the variances only" if "diagonal" in unknown else hint
        raise InvalidArgument(f"{name} has no setting {', '.join(map(repr, unknown))}{hint}; its settings are {', '.join(known)}")
    if name.startswith(EVOSAX):
        found: Strategy = _load("nchl.strategies.evosax_strategy:EvosaxStrategy")(
            size, population, seed, algorithm=name.removeprefix(EVOSAX), centre=centre, **given
        )
        return found
    for setting in idle(name, known | given):
        if setting in given and given[setting] != known[setting]:
            raise InvalidArgument(refusal_of(name, setting, known | given))
    return _find(name).load()(size, population, seed, centre=centre, **given)


def idle(name: str, values: Mapping[str, Any]) -> list[str]:
    """The settings of a strategy that do not apply under the values of its others."""
    known = STRATEGIES[name].settings if name in STRATEGIES else ()
    return [each.name for each in known if each.when is not None and values.get(each.when[0]) != each.when[1]]


def refusal_of(name: str, setting: str, values: Mapping[str, Any]) -> str:
    """The message for a setting that does not apply because of another one."""
    about = next(each for each in _find(name).settings if each.name == setting)
    assert about.when is not None
    other, wanted = about.when
    flag, other_flag = (f"--{each.replace('_', '-')}" for each in (setting, other))
    return f"{flag} does not apply to {other_flag} {values.get(other)}, only to {wanted}; leave one of the two out"


def population_from(description: Mapping[str, Any]) -> Population:
    """The population of a description by `Population.describe`, for example in another process.

    Raises:
        UnknownName: an unknown kind of population.
    """
    kind = str(description.get("kind"))
    if kind not in _POPULATIONS:
        raise UnknownName("kind of population", kind, _POPULATIONS)
    found: type[Population] = _load(_POPULATIONS[kind])
    return found.from_description(description)


def _find(name: str) -> Entry:
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
