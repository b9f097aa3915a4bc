"""The configuration of a run: what it refuses, what it fills in, and that its record is read strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nchl.errors import InvalidArgument, RunError
from nchl.runs.config import EvolveConfig, options
from nchl.runs.files import read_json
from nchl.runs.presets import PRESETS


def test_what_has_a_meaning_takes_its_default_and_the_rest_stays_empty() -> None:
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
        ({"strategy": "openai-es", "diagonal": True}, ["--diagonal", "openai-es"]),
        ({"network": "static", "backend": "eager"}, ["--backend", "static"]),
        ({"network": "nchll"}, ["did you mean 'nchl'"]),
        ({"strategy": "cmaes"}, ["did you mean 'cma-es'"]),
        ({"simulator": "envpol"}, ["did you mean 'envpool'"]),
        ({"preset": "cart-pole"}, ["did you mean 'cartpole'"]),
        ({"populaton": 20}, ["did you mean 'population'"]),
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
def test_what_cannot_be_used_is_refused_with_its_name(given: dict[str, Any], words: list[str]) -> None:
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


def test_a_presets_options_fall_away_with_the_network_that_gave_them_a_meaning() -> None:
    config = EvolveConfig.create(preset="paper-ant-bullet", network="static", strategy="elite")
    assert config.initial_weights is None
    assert config.lr is None
    with pytest.raises(InvalidArgument, match="--lr"):
        EvolveConfig.create(preset="paper-ant-bullet", strategy="elite", lr=0.1)


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
def test_what_is_not_one_json_object_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"here\.json"):
        read_json(text, file="here.json")


def test_every_option_explains_itself() -> None:
    for option in options():
        assert option.help
        assert option.group
        assert option.default is None or "default" in option.help, option.name
