"""Strategies with memory, schedules, records of `cma-es --diagonal`: interrupted and resumed, a run ends with the bits of a whole one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import nchl
from nchl import strategies
from nchl.cli import main
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.checkpoints import read_newest, write_checkpoint
from nchl.runs.store.metrics import read_metrics
from nchl.strategies import STRATEGIES

pytest.importorskip("envpool")
SMALL: dict[str, Any] = {"hidden": [4], "population": 8, "max_episode_steps": 60}


def bits(run: Path) -> tuple[bytes, list[tuple[str, ...]]]:
    rows = read_metrics(run / "metrics.csv")
    kept = ("generation", "env_steps", "mean", "sigma", "lr")
    return (run / "centre.safetensors").read_bytes(), [tuple(str(row[name]) for name in kept) for row in rows]


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adam", "lr": 0.05, "lr_schedule": "cosine:4", "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.2, "lr_schedule": "cosine:6"},  # 0.2 is the default of another optimizer
        {"strategy": "pgpe", "episodes_schedule": "1@0,3@2"},
        {"strategy": "snes", "episodes": 2},
    ],
    ids=["adam", "adam-0.2", "pgpe", "snes"],
)
def test_a_resumed_run_has_the_bits_of_a_whole_one(tmp_path: Path, given: dict[str, Any]) -> None:
    nchl.run("CartPole-v1", **SMALL, **given, generations=4, out=tmp_path / "whole")
    nchl.run("CartPole-v1", **SMALL, **given, generations=2, out=tmp_path / "two")
    from nchl.runs.session.resume import resume

    resume(tmp_path / "two", generations=4)
    assert bits(tmp_path / "two") == bits(tmp_path / "whole")


def test_the_schedule_of_episodes_decides_how_many_are_played(tmp_path: Path) -> None:
    result = nchl.run("Pendulum-v1", **SMALL, episodes_schedule="1@0,3@1", generations=3, out=tmp_path / "run")
    steps = [int(row["env_steps"]) for row in read_metrics(result.folder / "metrics.csv")]
    assert steps == [8 * 60, 8 * 60 * 4, 8 * 60 * 7]  # an episode has 60 steps whatever happens
    settings = json.loads((result.folder / "config.json").read_text())["settings"]
    assert (settings["episodes"], settings["episodes_schedule"]) == (None, "1@0,3@1")


def test_a_cosine_is_recorded_with_its_length_and_ends_at_the_floor() -> None:
    config = EvolveConfig.create("CartPole-v1", lr_schedule="cosine", generations=10)
    assert (config.lr_schedule, config.lr_decay, config.sigma_decay) == ("cosine:10", None, 0.999)
    assert config.replace(generations=20).lr_schedule == "cosine:10"
    assert EvolveConfig.from_json(config.to_json()).to_json() == config.to_json()
    strategy = nchl.strategies.make("openai-es", 2, 2, 0, lr=0.2, lr_schedule="cosine:10", sigma_schedule="constant")
    seen = []
    for _ in range(12):
        seen.append(strategy.lr)
        strategy.ask()
        strategy.tell([0.0, 1.0])
    assert seen[0] == 0.2
    assert seen[5] == pytest.approx(0.1005)
    assert seen[10] == seen[11] == 0.001
    assert all(later < earlier for earlier, later in itertools.pairwise(seen[:11]))
    assert strategy.sigma == 0.1


def test_a_preset_gives_way_to_another_schedule() -> None:
    preset = EvolveConfig.create(preset="paper-ant-bullet", lr_schedule="constant", episodes_schedule="1@0,2@5")
    assert (preset.lr_decay, preset.episodes) == (None, None)


def test_a_record_of_the_diagonal_cma_es_is_read_and_continued(tmp_path: Path) -> None:
    nchl.run("CartPole-v1", **SMALL, strategy="sep-cma-es", generations=4, out=tmp_path / "whole")
    old = nchl.run("CartPole-v1", **SMALL, strategy="sep-cma-es", generations=2, out=tmp_path / "old").folder
    record = json.loads((old / "config.json").read_text())
    for name in ("sigma_schedule", "lr_schedule", "optimizer", "weight_decay", "episodes_schedule", "sigma_lr"):
        del record["settings"][name]
    record["settings"] |= {"strategy": "cma-es", "diagonal": True}
    (old / "config.json").write_text(json.dumps(record))
    newest, _ = read_newest(old / "checkpoints")
    assert newest is not None
    write_checkpoint(old / "checkpoints", 2, newest.tensors, newest.about | {"strategy": "cma-es"})
    from nchl.runs.session.resume import resume

    assert len(nchl.load(old)) == 2
    resume(old, generations=4)
    assert bits(old) == bits(tmp_path / "whole")
    assert json.loads((old / "config.json").read_text())["settings"]["strategy"] == "sep-cma-es"


def test_the_former_option_names_its_replacement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evolve", "CartPole-v1", "--strategy", "cma-es", "--diagonal"]) == 2
    assert "--strategy sep-cma-es" in capsys.readouterr().err
    with pytest.raises(nchl.errors.InvalidArgument, match="use sep-cma-es"):
        nchl.strategies.make("cma-es", 5, 8, 0, diagonal=True)


def test_optimizer_sigma_and_learning_rate_follow_from_each_other() -> None:
    for given, three, command in [
        ({}, ("sgd", 0.1, 0.2), ""),
        ({"sigma": 0.3, "lr": 0.05}, ("sgd", 0.3, 0.05), " --sigma 0.3 --lr 0.05"),
        ({"optimizer": "adam"}, ("adam", 0.1, 0.15), " --optimizer adam"),
        ({"optimizer": "clipup"}, ("clipup", 0.3, None), " --optimizer clipup"),
        ({"optimizer": "clipup", "lr": 0.5}, ("clipup", 0.3, 0.5), " --lr 0.5 --optimizer clipup"),
        ({"strategy": "pgpe", "sigma": 0.1}, ("clipup", 0.1, None), " --strategy pgpe --sigma 0.1"),
        ({"strategy": "pgpe", "optimizer": "sgd"}, ("sgd", 0.1, 20.0), " --strategy pgpe --optimizer sgd"),
        ({"strategy": "snes"}, (None, 0.1, None), " --strategy snes"),
    ]:
        config = EvolveConfig.create("CartPole-v1", **given)
        assert (config.optimizer, config.sigma, config.lr) == three
        assert evolve_command(config) == f"nchl evolve CartPole-v1{command}"
        assert EvolveConfig.from_json(config.to_json()) == config
        assert EvolveConfig.create("CartPole-v1", **given).replace(strategy="snes", lr=None, optimizer=None).lr is None
    assert EvolveConfig.from_json(EvolveConfig.create("CartPole-v1").to_json()).given == {"task"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_record_and_its_changes_keep_a_given_sigma_and_learning_rate(strategy: str) -> None:
    known = strategies.settings(strategy)
    rates: tuple[float | None, ...] = (None, 0.01, 0.15, 0.2, 3.0) if "lr" in known else (None,)
    for optimizer in ("sgd", "adam", "clipup") if "optimizer" in known else (None,):
        for sigma, lr in itertools.product((None, 0.1, 0.3, 0.5), rates):
            config = EvolveConfig.create("CartPole-v1", strategy=strategy, optimizer=optimizer, sigma=sigma, lr=lr)
            assert config.sigma == sigma or sigma is None
            assert config.lr == lr or lr is None
            recorded = EvolveConfig.from_json(json.loads(json.dumps(config.to_json())))
            for same in (recorded, recorded.replace(), recorded.replace(generations=7).replace(generations=100)):
                assert same == config, (optimizer, sigma, lr)
            assert evolve_command(recorded.replace()) == evolve_command(config)
