"""The configuration of a run: refusals, defaults, and the strict reading of its record."""

from __future__ import annotations

import copy
import json
import pickle
import shlex
from pathlib import Path
from typing import Any

import pytest

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.networks.build import NetworkSpec, build
from nchl.runs.files.reading import read_json
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.presets import PRESETS


def test_options_that_apply_take_their_default_and_others_stay_empty() -> None:
    config = EvolveConfig.create("CartPole-v1")
    assert (config.network, config.hidden, config.population, config.lr, config.antithetic) == ("nchl", (128, 64), 200, 0.2, True)
    assert config.window is None
    assert config.sharing is None
    assert EvolveConfig.create("CartPole-v1", network="wnchl").initial_weights is None
    assert EvolveConfig.create("CarRacing-v3", network="conv-thesis").image_size == (64, 64)
    assert EvolveConfig.create("CarRacing-v3", network="conv-hml").normalise == "max"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hidden": [0]}, ["hidden", "0"]),
        ({"hidden": [8, -3]}, ["hidden", "-3"]),
        ({"population": 1}, ["population", "2", "1"]),
        ({"population": 21}, ["even", "21", "--no-antithetic"]),
        ({"window": 3}, ["--window", "nchl", "wnchl"]),
        ({"network": "static", "initial_weights": "zeros"}, ["--initial-weights", "static"]),
        ({"network": "wnchl", "normalise": "max"}, ["--normalise", "wnchl"]),
        ({"network": "hl", "rule": "rules.py:mine"}, ["--rule", "hl"]),
        ({"strategy": "cma-es", "lr": 0.1}, ["--lr", "cma-es", "openai-es"]),
        ({"strategy": "lm-ma-es", "antithetic": False}, ["--antithetic", "lm-ma-es"]),
        ({"strategy": "cma-es", "diagonal": True}, ["--strategy sep-cma-es"]),
        ({"optimizer": "adamm"}, ["optimizer", "did you mean 'adam'"]),
        ({"strategy": "snes", "optimizer": "adam"}, ["--optimizer", "snes", "openai-es, pgpe"]),
        ({"lr": 0}, ["lr", "greater than 0"]),
        ({"lr": -0.1}, ["lr", "greater than 0"]),
        ({"lr": float("inf")}, ["lr", "finite"]),
        ({"strategy": "pgpe", "sigma_lr": 0.0}, ["sigma_lr", "greater than 0"]),
        ({"weight_decay": -1.0}, ["weight_decay", "at least 0"]),
        ({"lr_schedule": "linear"}, ["lr_schedule", "linear", "cosine:N"]),
        ({"lr_schedule": "cosine:0"}, ["lr_schedule", "cosine:300"]),
        ({"lr_schedule": "constant", "lr_decay": 0.9}, ["--lr-decay", "--lr-schedule constant", "exponential"]),
        ({"episodes_schedule": "1@5"}, ["@0"]),
        ({"episodes_schedule": "1@0,4@9,2@9"}, ["rise"]),
        ({"episodes_schedule": "1,4@50"}, ["1@0,4@50", "'1'"]),
        ({"episodes_schedule": "1@0", "episodes": 2}, ["--episodes", "--episodes-schedule"]),
        ({"network": "static", "backend": "eager"}, ["--backend", "static"]),
        ({"network": "nchll"}, ["did you mean 'nchl'"]),
        ({"strategy": "cmaes"}, ["did you mean 'cma-es'"]),
        ({"simulator": "envpol"}, ["did you mean 'envpool'"]),
        ({"preset": "cart-pole"}, ["did you mean 'cartpole'"]),
        ({"populaton": 20}, ["did you mean 'population'"]),
        ({"popsize": 20}, ["unknown option 'popsize'", "see: nchl evolve --help", "it is 'population' here"]),
        ({"zzyzx": 20}, ["are known (see: nchl evolve --help)"]),
        ({"network": "nets/mine.py"}, ["network 'nets/mine.py' is a file: name the network too, for example nets/mine.py:mine"]),
        ({"strategy": "mine.py"}, ["name the class too, for example mine.py:mine"]),
        ({"sigma": 0}, ["sigma", "greater than 0"]),
        ({"sigma": float("nan")}, ["sigma", "finite"]),
        ({"lr_decay": 1.5}, ["lr_decay", "1.5"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": True}, ["seed", "whole number"]),
        ({"generations": 2.5}, ["generations", "whole number"]),
        ({"generations": 0}, ["generations"]),
        ({"hidden": "128"}, ["hidden", "list"]),
        ({"network": "conv-thesis", "image_size": [64]}, ["image_size", "two"]),
        ({"task": ""}, ["task"]),
    ],
)
def test_an_unusable_option_is_refused_with_its_name(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        EvolveConfig.create(**{"task": "CartPole-v1", **given})
    for word in words:
        assert word in str(caught.value)


def test_no_task_is_an_error_unless_a_preset_brings_one() -> None:
    with pytest.raises(InvalidArgument, match="no task"):
        EvolveConfig.create()
    assert EvolveConfig.create(preset="cartpole").task == "CartPole-v1"


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_can_be_used_and_names_its_source(name: str) -> None:
    config = EvolveConfig.create(preset=name)
    assert config.preset == name
    assert PRESETS[name].source
    assert EvolveConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_explicit_options_override_a_preset() -> None:
    config = EvolveConfig.create("Acrobot-v1", preset="cartpole", population=30, seed=4)
    assert (config.task, config.population, config.seed, config.strategy) == ("Acrobot-v1", 30, 4, "cma-es")


def test_a_presets_options_fall_away_with_the_network_to_which_they_apply() -> None:
    config = EvolveConfig.create(preset="paper-ant-bullet", network="static", strategy="elite")
    assert config.initial_weights is None
    assert config.lr is None
    with pytest.raises(InvalidArgument, match="--lr"):
        EvolveConfig.create(preset="paper-ant-bullet", strategy="elite", lr=0.1)


@pytest.mark.parametrize("change", [{"network": "wnchl"}, {"network": "static"}, {"network": "conv-hml"}, {"strategy": "cma-es"}])
def test_defaults_and_a_presets_options_fall_away_when_another_network_or_strategy_is_chosen(change: dict[str, Any]) -> None:
    assert EvolveConfig.create("CartPole-v1").replace(**change) == EvolveConfig.create("CartPole-v1", **change)
    preset = "paper-ant-bullet"
    assert EvolveConfig.create(preset=preset).replace(**change) == EvolveConfig.create(preset=preset, **change)


@pytest.mark.parametrize(
    ("preset", "change"),
    [
        ("halfcheetah", {"optimizer": "sgd"}),
        ("halfcheetah", {"strategy": "openai-es"}),
        ("paper-ant-bullet", {"optimizer": "clipup"}),
        ("paper-ant-bullet", {"optimizer": "adam"}),
        ("paper-ant-bullet", {"strategy": "pgpe"}),
        ("han-b", {"strategy": "pgpe"}),
        ("han-b", {"optimizer": "sgd"}),
        ("han-b", {"optimizer": "clipup", "lr_schedule": "constant"}),
        ("cartpole", {"strategy": "openai-es"}),
    ],
)
def test_sigma_and_learning_rate_of_a_preset_fall_away_with_its_strategy_and_optimizer(preset: str, change: dict[str, Any]) -> None:
    names = ("sigma", "sigma_decay", "sigma_schedule", "lr", "lr_decay", "lr_schedule")
    changed = EvolveConfig.create(preset=preset, **change)
    own = EvolveConfig.create("CartPole-v1", **{"strategy": changed.strategy, "optimizer": changed.optimizer, **change})
    for config in (changed, EvolveConfig.create(preset=preset).replace(**change), changed.replace(seed=4)):
        assert [getattr(config, name) for name in names] == [getattr(own, name) for name in names]
    assert changed.replace(seed=4) == EvolveConfig.create(preset=preset, **change, seed=4)
    assert changed.population == PRESETS[preset].settings["population"]
    assert EvolveConfig.create(preset=preset, **change, sigma=0.7).sigma == 0.7


def test_the_optimizer_of_a_preset_falls_away_with_its_strategy() -> None:
    for config in (EvolveConfig.create(preset="han-b", strategy="pgpe"), EvolveConfig.create(preset="han-b").replace(strategy="pgpe")):
        assert (config.optimizer, config.sigma, config.lr) == ("clipup", 0.3, None)
    assert EvolveConfig.create(preset="han-b", strategy="pgpe", optimizer="adam").optimizer == "adam"
    assert EvolveConfig.create(preset="han-b", strategy="snes").optimizer is None


@pytest.mark.parametrize("given", [{"strategy": "openai-es"}, {"optimizer": "adam"}, {"strategy": "openai-es", "optimizer": "adam"}])
def test_sigma_and_learning_rate_of_a_preset_stay_where_its_strategy_and_optimizer_are_given(given: dict[str, Any]) -> None:
    plain = EvolveConfig.create(preset="han-b")
    for config in (EvolveConfig.create(preset="han-b", **given), EvolveConfig.create(preset="han-b", **given).replace(seed=0)):
        assert (config.sigma, config.lr, config.lr_decay) == (0.2, 0.1, 0.999999)
        assert config.replace(optimizer="adam") == config == plain


def test_replacing_takes_defaults_anew_and_keeps_given_options() -> None:
    config = EvolveConfig.create("CarRacing-v3", network="conv-thesis", generations=7, population=10)
    other = config.replace(network="conv-hml").replace(seed=3)
    assert (other.image_size, other.generations, other.population, other.seed) == ((84, 84), 7, 10, 3)
    assert config.replace(image_size=(32, 32)).replace(network="conv-hml").image_size == (32, 32)
    assert config.replace(generations=None).generations == 100
    with pytest.raises(UnknownName, match="did you mean 'network'"):
        config.replace(netwrk="nchl")


@pytest.mark.parametrize(
    ("given", "change", "flag"),
    [
        ({"initial_weights": "uniform"}, {"network": "wnchl"}, "--initial-weights"),
        ({"lr": 0.2}, {"strategy": "cma-es"}, "--lr"),
        ({}, {"window": 3}, "--window"),
        ({"seed": 3}, {"network": "wnchl", "normalise": "max"}, "--normalise"),
    ],
)
def test_given_options_that_no_longer_apply_are_refused_after_replacing(given: dict[str, Any], change: dict[str, Any], flag: str) -> None:
    for config in (EvolveConfig.create("CartPole-v1", **given), EvolveConfig("CartPole-v1", **given)):
        for same in (config, config.replace(generations=3), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
            with pytest.raises(InvalidArgument, match=flag):
                same.replace(**change)


def test_a_recorded_run_goes_on_with_its_own_values() -> None:
    config = EvolveConfig.create(preset="cartpole", population=30, seed=4)
    recorded = EvolveConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert recorded.replace(generations=9) == config.replace(generations=9)
    plain = EvolveConfig.from_json(EvolveConfig.create("CartPole-v1", hidden=[4]).to_json())
    assert plain.given == {"task", "hidden"}
    assert plain.replace(network="wnchl") == EvolveConfig.create("CartPole-v1", hidden=[4], network="wnchl")


OWN = """
from torch import nn

def small(i, o):
    return nn.Sequential(nn.Linear(i[0], 5), nn.Tanh(), nn.Linear(5, o))

def image(i, o):
    return nn.Sequential(nn.Conv2d(i[0], 2, 3), nn.Flatten(), nn.Linear(2 * (i[1] - 2) * (i[2] - 2), o))
"""


def test_a_network_of_ones_own_needs_no_convolution(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)

    def made(name: str, shape: tuple[int, ...], **given: Any) -> Any:
        config = EvolveConfig.create("CartPole-v1", network=f"{tmp_path / 'own.py'}:{name}", **given)
        recorded = EvolveConfig.from_json(json.loads(json.dumps(config.to_json())))
        networks = [build(NetworkSpec(**each.network_settings()), shape, 2) for each in (recorded, config)]
        assert str(networks[0]) == str(networks[1])
        return networks[1]

    assert made("small", (4,)).nparams == 5 * 11 - 4 - 2
    for given, flag in (({"sharing": "min"}, "sharing"), ({"termwise": True}, "termwise")):
        with pytest.raises(InvalidArgument, match=f"{flag}: .* has no plastic convolution"):
            made("small", (4,), **given)
    config = EvolveConfig.create("CartPole-v1", network=f"{tmp_path / 'own.py'}:small", sharing="max")  # the default, but given
    with pytest.raises(InvalidArgument, match=r"sharing: .* has no plastic convolution"):
        build(NetworkSpec(**config.network_settings()), (4,), 2)
    assert (made("image", (1, 5, 5)).sharing, made("image", (1, 5, 5), sharing="min", termwise=True).sharing) == ("max", "min")


def test_the_papers_learning_rate_is_the_one_its_code_takes() -> None:
    assert PRESETS["paper-ant-bullet"].settings["lr"] == 0.02


def test_the_record_is_read_back_as_it_was() -> None:
    config = EvolveConfig.create("HalfCheetah-v5", network="wnchl", window=7, strategy="cma-es", target=1000, max_minutes=3)
    record = json.loads(json.dumps(config.to_json()))
    assert EvolveConfig.from_json(record) == config
    assert list(record) == [option.name for option in options()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record.update(colour="red"), ["here.json", "colour", "unknown"]),
        (lambda record: record.pop("sigma"), ["here.json", "sigma", "missing"]),
        (lambda record: record.update(sigma="much"), ["here.json", "sigma"]),
        (lambda record: record.update(population=1), ["here.json", "population"]),
        (lambda record: record.update(network=["nchl"]), ["here.json", "network"]),
        (lambda record: record.update(hidden=[10, None]), ["here.json", "hidden"]),
    ],
)
def test_an_altered_record_is_refused_with_file_and_key(change: Any, words: list[str]) -> None:
    record = EvolveConfig.create("CartPole-v1").to_json()
    change(record)
    with pytest.raises(RunError) as caught:
        EvolveConfig.from_json(record, file="here.json")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000])
def test_a_text_that_is_not_one_json_object_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"here\.json"):
        read_json(text, file="here.json")


def test_the_command_of_a_configuration_repeats_it_where_strategies_have_other_defaults() -> None:
    for given in ({"strategy": "pgpe", "lr": 0.2}, {"strategy": "pgpe", "optimizer": "sgd"}, {"network": "gru", "hidden": (128,)}, {}):
        config = EvolveConfig.create("CartPole-v1", **given)
        words = shlex.split(evolve_command(config))
        for name, value in given.items():
            flag = words.index(f"--{name}")
            assert words[flag + 1] == str(value[0] if isinstance(value, tuple) else value)
    assert words == ["nchl", "evolve", "CartPole-v1"]


def test_every_option_explains_itself() -> None:
    for option in options():
        assert option.help
        assert option.group
        assert option.default is None or "default" in option.help, option.name


def test_a_function_in_place_of_its_place_is_told_where_to_stand() -> None:
    with pytest.raises(InvalidArgument, match=r"rule must be text, got <function.*as 'FILE\.py:NAME'; or .* rule=RULE\)$"):
        EvolveConfig.create("CartPole-v1", rule=lambda pre, post: pre * post)  # type: ignore[arg-type]
