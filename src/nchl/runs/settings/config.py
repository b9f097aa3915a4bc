"""What a run is asked to do: one dataclass that is the command line, its help, and the record `config.json` at once.

`None` in an option means "not given". An option that has a meaning for the chosen network and strategy then takes its
default; one that has none stays `None`, and giving it a value is an error, so that nothing is silently ignored.
The module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.runs.settings import docs_budget, environment_options, network_options
from nchl.runs.settings.dependent_options import renewed, schedules, that_stay, without_meaning
from nchl.runs.settings.options import (
    FORMER,
    LISTS,
    Option,
    check_keys,
    check_kind,
    is_file_network,
    is_object,
    no_meaning,
    option,
    with_strategy_settings,
)
from nchl.runs.settings.options import OBJECT as _OBJECT
from nchl.runs.settings.presets import preset_settings
from nchl.runs.settings.value_checks import check_values
from nchl.simulators import CHOICES
from nchl.strategies.registry import STRATEGIES, settings_of

INITIAL_GENOMES = ("normal", "zeros", "uniform")

# Headings of the help.
_TASK, _NETWORK, _SEARCH, _END, _WORK = "task", network_options.HEADING, "search", "end of the run", "who does the work"
_RECORD = "record"


@dataclass(frozen=True)
@with_strategy_settings(_SEARCH, behind="population")
class EvolveConfig:
    """Everything that repeats a run, apart from the machine. Fields are the options of `nchl evolve`; see `options()`.

    The settings of the strategies are fields too, made from `nchl.strategies.registry`.

    After construction each field that has a meaning holds its value, each that has none holds None. Constructing it
    checks it: `InvalidArgument` says what was expected, what came, and what to do.
    """

    task: str = field(
        metadata={
            "kind": "str",
            "default": None,
            "help": "a Gymnasium id, for example CartPole-v1; `nchl tasks` lists them",
            "group": "task",
        }
    )
    simulator: str | None = option(
        "str",
        "auto",
        "what plays the task; auto: EnvPool where it has the task, else Gymnasium; warp: MuJoCo on the device of --device, for six tasks",
        _TASK,
        choices=CHOICES,
    )
    image_size: tuple[int, ...] | None = option(
        "ints",
        None,
        "height and width of the image that a convolutional network sees",
        _TASK,
        metavar="PIXELS",
        networks=(*network_options.CONVS, _OBJECT),
    )
    normalise_observations: bool | None = option("bool", False, "shift and scale observations by their running mean and deviation", _TASK)
    max_episode_steps: int | None = option(
        "int", None, "an episode ends after so many steps, in place of the task's own limit", _TASK, metavar="N"
    )
    env: dict[str, Any] | None = environment_options.ENV
    observe: tuple[str, ...] | None = environment_options.OBSERVE
    action_repeat: int | None = environment_options.ACTION_REPEAT
    wrap: tuple[str, ...] | None = environment_options.WRAP
    perturb: tuple[str, ...] | None = environment_options.PERTURB
    perturb_training: tuple[str, ...] | None = environment_options.PERTURB_TRAINING

    network: str | None = option(
        "str",
        "nchl",
        f"{', '.join(network_options.NETWORKS)}, or your own as FILE.py:NAME (which runs that file)",
        _NETWORK,
        metavar="NAME",
    )
    rule: str | None = network_options.RULE
    hidden: tuple[int, ...] | None = network_options.HIDDEN
    window: int | None = network_options.WINDOW
    recurrent: bool | None = network_options.RECURRENT
    initial_weights: str | None = network_options.INITIAL_WEIGHTS
    average: str | None = network_options.AVERAGE
    every: int | None = network_options.EVERY
    trace: float | None = network_options.TRACE
    modulate: str | None = network_options.MODULATE
    normalise: str | None = network_options.NORMALISE
    sharing: str | None = network_options.SHARING
    termwise: bool | None = network_options.TERMWISE
    evolve_biases: bool | None = network_options.EVOLVE_BIASES
    backend: str | None = network_options.BACKEND
    device: str | None = option("str", "cpu", "the torch device of the networks", _NETWORK, metavar="DEVICE")

    strategy: str | None = option(
        "str", "openai-es", f"{', '.join(STRATEGIES)}, evosax:NAME, or a class of your own as FILE.py:NAME (which runs that file)", _SEARCH
    )
    population: int | None = option("int", 200, "individuals in a generation", _SEARCH, metavar="P")
    initial_genome: str | None = option(
        "str",
        "normal",
        "where to start: normal N(0, 1), zeros, uniform U(-1, 1), the centre of another run's folder, or zoo:NAME",
        _SEARCH,
        metavar="NAME|RUN",
    )
    episodes: int | None = option("int", 1, "episodes of each individual; its fitness is their mean return", _SEARCH, metavar="N")
    episodes_schedule: str | None = option(
        *("str", None, "in place of --episodes, few early and more later: 1@0,4@50 is 1 at first, and 4 when 50 generations are done"),
        *(_SEARCH, "N@G,..."),
    )
    validation_episodes: int | None = option(
        "int",
        0,
        "episodes on other starts for each generation's best and centre; the best of the run is then chosen by their mean",
        _SEARCH,
        metavar="N",
    )
    seed: int | None = option("int", 0, "all randomness of the run follows from it", _SEARCH, metavar="SEED")

    generations: int | None = option("int", 100, "end after this many generations", _END, metavar="G")
    target: float | None = option(
        "float",
        None,
        "end when the centre or the best individual has a mean return of at least R over 20 validation episodes",
        _END,
        metavar="R",
    )
    max_steps: int | None = option(
        "int", None, "end with the generation in which this many environment steps were reached", _END, metavar="N"
    )
    max_minutes: float | None = option("float", None, "end with the generation in which this much time has passed", _END, metavar="M")
    workers: int | None = option(
        "int", None, "processes on this machine that play the generations; they share its cores, and change no result", _WORK, metavar="N"
    )
    cluster: str | None = option(
        "str",
        None,
        "play on a Ray cluster: its address (HOST:PORT), or auto for the one that runs here, else one that is started here",
        _WORK,
        metavar="ADDRESS|auto",
    )
    wandb: bool | None = option("bool", False, "also record in Weights & Biases; WANDB_MODE=offline keeps it here", _RECORD)
    mlflow: bool | None = option("bool", False, "also record in MLflow, where MLFLOW_TRACKING_URI says, else in a folder mlruns", _RECORD)
    preset: str | None = option(
        "str", None, "settings of a published experiment (`nchl presets` lists them); other options override it", "preset", metavar="NAME"
    )

    if TYPE_CHECKING:

        def __init__(self, task: str, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        self._remember([f.name for f in fields(self) if getattr(self, f.name) is None])
        for name in ("network", "strategy"):  # the others' meaning depends on these two
            if getattr(self, name) is None:
                object.__setattr__(self, name, _BY_NAME[name].default)
        check_kind(_BY_NAME["network"], self.network)
        check_kind(_BY_NAME["strategy"], self.strategy)
        if self.network not in network_options.NETWORKS and ":" not in str(self.network):
            raise UnknownName("network", str(self.network), [*network_options.NETWORKS, network_options.OWN])
        if self.strategy not in STRATEGIES and not is_object(str(self.strategy)) and not settings_of(str(self.strategy)):
            raise UnknownName("strategy", str(self.strategy), [*STRATEGIES, "evosax:NAME", network_options.OWN])
        network, strategy = str(self.network), str(self.strategy)
        defaults = {each.name: _default(each, network, strategy) for each in options()}
        lost = without_meaning(strategy, {name: v for name in defaults if (v := getattr(self, name)) is not None}, defaults)
        for each in (each for each in options() if each.name not in lost):
            self._settle(each)
        vars(self).update(schedules(self))
        check_values(self)

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that were given explicitly, not taken by default or from a preset."""
        return frozenset(vars(self)["_given"])

    def _remember(self, defaults: Iterable[str], given: Iterable[str] | None = None) -> None:
        """Keep which options took their default and which were given (None: all others); the rest is a preset's. No part of the record."""
        object.__setattr__(self, "_defaults", frozenset(defaults))
        object.__setattr__(self, "_given", frozenset(_BY_NAME) - vars(self)["_defaults"] if given is None else frozenset(given))

    def _settle(self, about: Option) -> None:
        """Check the kind of one option, give it its default where it has a meaning, refuse it where it has none."""
        value = getattr(self, about.name)
        if about.kind in LISTS and isinstance(value, list):
            value = tuple(value)
            object.__setattr__(self, about.name, value)
        if about.kind in ("settings", "specs") and value is not None:
            value = environment_options.settled(value) if about.kind == "settings" else environment_options.PERTURBED[about.name](value)
            object.__setattr__(self, about.name, value)
        network, strategy = str(self.network), str(self.strategy)
        if value is not None:
            if not about.applies(network, strategy):
                raise InvalidArgument(no_meaning(about, network, strategy))
            if about.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                object.__setattr__(self, about.name, value)
            check_kind(about, value)
        elif about.applies(network, strategy):
            object.__setattr__(self, about.name, _default(about, network, strategy))

    @classmethod
    def create(cls, task: str | None = None, *, preset: str | None = None, **given: Any) -> EvolveConfig:
        """A configuration from what was given explicitly, over a preset where one is named.

        Args:
            task: a Gymnasium id; None: the preset's.
            preset: name of a preset, or None.
            **given: options by field name; None stands for "not given".

        Raises:
            UnknownName: no such option or preset.
            InvalidArgument: a value that cannot be used, or an option without meaning for the network or strategy.
        """
        return docs_budget.cut(cls._over({} if preset is None else preset_settings(preset), given | {"task": task, "preset": preset}))

    @classmethod
    def _over(cls, settled: Mapping[str, Any], given: Mapping[str, Any]) -> EvolveConfig:
        """What is given, over settled options, which fall away with the network or strategy that gave them a meaning."""
        for name in given:
            if name in FORMER:
                raise InvalidArgument(FORMER[name])
            if name not in _BY_NAME:
                raise UnknownName("option", name, _BY_NAME)
        explicit = {name: value for name, value in given.items() if value is not None}
        chosen = dict(settled) | explicit
        if "task" not in chosen:
            raise InvalidArgument("no task given: name a Gymnasium id, for example CartPole-v1, or a preset that brings one")
        network, strategy = (str(chosen.get(name, _BY_NAME[name].default)) for name in ("network", "strategy"))
        kept = {name: value for name, value in settled.items() if _BY_NAME[name].applies(network, strategy)}
        config = cls(**that_stay(strategy, kept, explicit) | explicit)
        config._remember(vars(config)["_defaults"], explicit)
        return config

    def replace(self, **changes: Any) -> EvolveConfig:
        """A copy with some options changed, checked anew; None takes an option's default.

        What nobody gave (a default, a preset's own) falls away with the network or strategy that gave it a meaning.

        Raises:
            UnknownName: no such option.
            InvalidArgument: as `create`; also an option that was given before and has no meaning any more.
        """
        given = {name: getattr(self, name) for name in self.given} | changes
        # Defaults are taken anew: some depend on the network.
        others = {name: getattr(self, name) for name in _BY_NAME if name not in given and name not in vars(self)["_defaults"]}
        return self._over(others, given)

    def network_settings(self) -> dict[str, Any]:
        """The options that say what the network is (fields of `network_options.NetworkSpec`); None where not given."""
        settings = {name: getattr(self, name) for name in network_options.NETWORK_SETTINGS}
        for name in network_options.OWN_MAY_LACK:
            if is_file_network(str(self.network)) and name in vars(self)["_defaults"]:
                settings[name] = None
        return settings

    def strategy_settings(self) -> dict[str, Any]:
        """The options that only some strategies have, for `strategies.make`; those without meaning are left out."""
        given = {each.name: getattr(self, each.name) for each in settings_of(str(self.strategy))}
        return {name: value for name, value in given.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """The options as plain JSON values, in order; `from_json` is the inverse."""
        return {f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value for f in fields(self)}

    @classmethod
    def from_json(cls, data: Any, *, file: Path | str = "config.json") -> EvolveConfig:
        """The configuration from a record, read strictly.

        Raises:
            RunError: an unknown or missing key, a value of the wrong type or out of range; names the file and the key.
        """
        data = renewed(data)
        check_keys(data, options(), file)
        try:
            config = cls(**data)
        except InvalidArgument as error:
            raise RunError(f"{file}: {error}") from error
        # A record does not tell a default from the same value given.
        network, strategy = str(config.network), str(config.strategy)
        config._remember(each.name for each in options() if getattr(config, each.name) in (None, _default(each, network, strategy)))
        return config


_OPTIONS = tuple(Option(name=f.name, **f.metadata) for f in fields(EvolveConfig))
_BY_NAME = {each.name: each for each in _OPTIONS}


def _default(about: Option, network: str, strategy: str) -> Any:
    """The default of an option that has a meaning; some networks and strategies have others than the rest."""
    if about.name == "hidden" and network == "gru":
        return network_options.GRU_HIDDEN
    if about.name == "image_size":
        return network_options.IMAGE_SIZES.get(network)
    if about.name == "normalise" and (network in network_options.CONVS or is_file_network(network)):
        return "max"
    own = next((each for each in settings_of(strategy) if each.name == about.name), None)
    return about.default if own is None else own.default


def options() -> tuple[Option, ...]:
    """All options of `nchl evolve` in the order of its help; the task comes first."""
    return _OPTIONS
