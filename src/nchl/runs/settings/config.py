"""The settings of a run: one dataclass for the command line, its help, and the record `config.json`.

`None` in an option means "not given". An option that applies to the chosen network and strategy then takes its default; one that does not
stays `None`, and a value for it is an error, so that nothing is silently ignored.
This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.evolve.limits import TARGET_EPISODES
from nchl.runs.settings import docs_budget, network_options
from nchl.runs.settings.dependent_options import by_optimizer, converted, inapplicable, schedules, search_of, still_applicable
from nchl.runs.settings.network_options import NetworkOptions
from nchl.runs.settings.options import ELSEWHERE, FORMER, Option, check_keys, is_file_network, option
from nchl.runs.settings.perturbation_options import PERTURBED
from nchl.runs.settings.presets import preset_settings
from nchl.runs.settings.search_options import SearchOptions
from nchl.runs.settings.task_options import TaskOptions, plain_settings
from nchl.runs.settings.value_checks import check_names, check_values, refuse_no_seed
from nchl.strategies.registry import settings_of

_end, _parallelism, _record = (partial(option, group=group) for group in ("end of the run", "parallelism", "record"))


@dataclass(frozen=True)
class EvolveConfig(SearchOptions, NetworkOptions, TaskOptions):
    """Everything that repeats a run, apart from the machine. Fields are the options of `nchl evolve`; see `options()`.

    After construction each option that applies has its value, each other one is None.

    Raises:
        InvalidArgument: an option that does not apply, or a value that cannot be used.
    """

    generations: int | None = _end("int", 100, "end after this many generations", metavar="G", least=1)
    target: float | None = _end(
        "float",
        None,
        f"end when the centre or the best individual has a mean return of at least R over {TARGET_EPISODES} validation episodes",
        metavar="R",
    )
    max_steps: int | None = _end("int", None, "end with the generation that reaches this many environment steps", metavar="N", least=1)
    max_minutes: float | None = _end("float", None, "end with the generation that reaches this time", metavar="M")
    workers: int | None = _parallelism(
        "int", None, "worker processes on this machine; they share its cores, and change no result", metavar="N", least=1
    )
    cluster: str | None = _parallelism(
        "str",
        None,
        "evaluate on a Ray cluster: its address (HOST:PORT), or auto for one that runs here, else one that is started here",
        metavar="ADDRESS|auto",
    )
    wandb: bool | None = _record("bool", False, "also record in Weights & Biases; WANDB_MODE=offline keeps it here")
    mlflow: bool | None = _record("bool", False, "also record in MLflow, at MLFLOW_TRACKING_URI, else in a folder mlruns")
    preset: str | None = option(
        "str",
        None,
        "settings of an experiment, most of them published (`nchl presets` lists them); other options override it; another --strategy "
        "takes its own optimizer, sigma and learning rate, another --optimizer its own sigma and learning rate",
        "preset",
        metavar="NAME",
    )

    if TYPE_CHECKING:

        def __init__(self, task: str, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        self._remember([f.name for f in fields(self) if getattr(self, f.name) is None])
        for name in ("network", "strategy"):  # the defaults of others depend on these two
            if getattr(self, name) is None:
                self._set(name, _BY_NAME[name].default)
            _BY_NAME[name].check(getattr(self, name))
        network, strategy = str(self.network), str(self.strategy)
        check_names(network, strategy)
        defaults = defaults_of(network, strategy, vars(self)["optimizer"])
        lost = inapplicable(strategy, {name: v for name in defaults if (v := getattr(self, name)) is not None}, defaults)
        for each in (each for each in options() if each.name not in lost):
            self._complete(each, defaults[each.name])
        vars(self).update(schedules(self))
        check_values(self)

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that were given explicitly, not by default or by a preset."""
        return frozenset(vars(self)["_given"])

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _remember(self, defaults: Iterable[str], given: Iterable[str] | None = None) -> None:
        """Keep the names of options that took their default and of those given (None: all others); the rest is a preset's."""
        self._set("_defaults", frozenset(defaults))
        self._set("_given", frozenset(_BY_NAME) - vars(self)["_defaults"] if given is None else frozenset(given))

    def _complete(self, about: Option, default: Any) -> None:
        """Bring one option into its final form and check it; if it was not given and applies, set its default."""
        value = getattr(self, about.name)
        if value is not None:
            value = about.plain(value)
            if about.kind == "settings":
                value = plain_settings(value)
            elif about.kind == "specs":
                value = PERTURBED[about.name](value, self.task)
        network, strategy = str(self.network), str(self.strategy)
        if value is None:
            self._set(about.name, default if about.applies(network, strategy) else None)
            return
        if not about.applies(network, strategy):
            raise InvalidArgument(about.refusal(network, strategy))
        about.check(value)
        self._set(about.name, value)

    @classmethod
    def create(cls, task: str | None = None, *, preset: str | None = None, **given: Any) -> EvolveConfig:
        """A configuration from explicitly given options, over those of a preset.

        Args:
            task: a Gymnasium id; None: the preset's.
            preset: name of a preset, or None.
            **given: options by field name; None stands for "not given", except for the seed.

        Raises:
            UnknownName: no such option or preset.
            InvalidArgument: a value that cannot be used, the seed None, or an option that does not apply to the network or strategy.
        """
        earlier = {} if preset is None else preset_settings(preset)
        before = search_of(str(earlier.get("strategy", _BY_NAME["strategy"].default)), earlier)
        return docs_budget.cut(cls._over(earlier, before, given | {"task": task, "preset": preset}))

    @classmethod
    def _over(cls, earlier: Mapping[str, Any], before: tuple[str, str | None], given: Mapping[str, Any]) -> EvolveConfig:
        """The given options over earlier ones, of which those are dropped that do not apply to the given network, strategy or optimizer.

        `before`: strategy and optimizer for which the earlier options were chosen.
        """
        for name in given:
            if name in FORMER:
                raise InvalidArgument(FORMER[name])
            if name not in _BY_NAME:
                raise UnknownName("option", name, _BY_NAME, "nchl evolve --help", ELSEWHERE.get(name, ""))
        refuse_no_seed(given)
        explicit = {name: value for name, value in given.items() if value is not None}
        chosen = dict(earlier) | explicit
        if "task" not in chosen:
            raise InvalidArgument("no task given: name a Gymnasium id, for example CartPole-v1, or a preset that has one")
        network, strategy = (str(chosen.get(name, _BY_NAME[name].default)) for name in ("network", "strategy"))
        kept = {name: value for name, value in earlier.items() if _BY_NAME[name].applies(network, strategy)}
        config = cls(**still_applicable(strategy, kept, explicit, before) | explicit)
        config._remember(vars(config)["_defaults"], explicit)
        return config

    def replace(self, **changes: Any) -> EvolveConfig:
        """A copy with some options changed, checked anew; None takes an option's default, except for the seed.

        Values that were not given (defaults, a preset's) are dropped if they do not apply to another network, strategy or optimizer.

        Raises:
            UnknownName: no such option.
            InvalidArgument: as `create`; also an option that was given before and no longer applies.
        """
        given = {name: getattr(self, name) for name in self.given} | changes
        # Defaults are taken anew: some depend on the network.
        others = {name: getattr(self, name) for name in _BY_NAME if name not in given and name not in vars(self)["_defaults"]}
        return self._over(others, (str(self.strategy), vars(self)["optimizer"]), given)

    def network_settings(self) -> dict[str, Any]:
        """The options that determine the network, as fields of `networks.NetworkSpec`; None where not given."""
        settings = {name: getattr(self, name) for name in network_options.NETWORK_SETTINGS}
        if is_file_network(str(self.network)):
            settings |= {name: None for name in network_options.OWN_MAY_LACK if name in vars(self)["_defaults"]}
        return settings

    def strategy_settings(self) -> dict[str, Any]:
        """The settings of the strategy, for `strategies.make`."""
        given = {each.name: getattr(self, each.name) for each in settings_of(str(self.strategy))}
        return {name: value for name, value in given.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """The options as plain JSON values, in order; `from_json` is the inverse."""
        return {f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value for f in fields(self)}

    @classmethod
    def from_json(cls, data: Any, *, file: Path | str = "config.json") -> EvolveConfig:
        """The configuration of a record, read strictly.

        Raises:
            RunError: an unknown or missing key, a value of the wrong type or out of range; names the file and the key.
        """
        data = converted(data)
        check_keys(data, options(), file)
        try:
            config = cls(**data)
        except InvalidArgument as error:
            raise RunError(f"{file}: {error}") from error
        # A record does not tell a default from an equal given value.
        defaults = defaults_of(str(config.network), str(config.strategy), vars(config)["optimizer"])
        config._remember(name for name, default in defaults.items() if getattr(config, name) in (None, default))
        return config


_OPTIONS = tuple(Option(name=f.name, **f.metadata) for f in fields(EvolveConfig))
_BY_NAME = {each.name: each for each in _OPTIONS}


def defaults_of(network: str, strategy: str, optimizer: str | None) -> dict[str, Any]:
    """The defaults of all options by name, for a network, a strategy and the strategy's optimizer (None: the strategy's default)."""
    defaults = {each.name: each.default for each in options()} | {each.name: each.default for each in settings_of(strategy)}
    special = {name: value for name in defaults if (value := network_options.default_of(name, network)) is not None}
    return defaults | by_optimizer(strategy, optimizer) | special


def options() -> tuple[Option, ...]:
    """All options of `nchl evolve` in the order of its help; the task comes first."""
    return _OPTIONS
