"""`nchl describe`, `tasks` and `presets` print what the parts themselves say."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from nchl.cli import main
from nchl.cli.parser import Parser, given
from nchl.cli.verbs import evolve
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.presets import PRESETS


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_describe_the_papers_network(capsys: pytest.CaptureFixture[str]) -> None:
    said = result(capsys, "describe", "nchl", "28", "128", "64", "8")
    assert said["nparams"] == 5 * (28 + 128 + 64 + 8) - 28 - 8
    assert said["weights"] == 28 * 128 + 128 * 64 + 64 * 8
    assert [block["name"] for block in said["blocks"]] == ["input", "hidden0", "hidden1", "output"]
    assert said["blocks"][-1]["stop"] == said["nparams"]
    assert main(["describe", "nchl", "28", "128", "64", "8"]) == 0
    assert "1,104 numbers" in capsys.readouterr().out


def test_describe_follows_a_users_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rule.py").write_text("def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n")
    said = result(capsys, "describe", "nchl", "4", "3", "2", "--rule", f"{tmp_path / 'rule.py'}:oja")
    assert said["nparams"] == 3 + 2


@pytest.mark.parametrize("words", [["--input-shape", "1", "8", "8", "--outputs", "2"], ["1", "8", "8", "2"]])
def test_describe_a_network_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def pictures(shape, outputs):\n"
        "    channels, height, width = shape\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, outputs, bias=False))\n"
        "def vectors(shape, outputs):\n"
        "    return nn.Sequential(nn.Linear(*shape, 3, bias=False), nn.Tanh(), nn.Linear(3, outputs, bias=False))\n"
    )
    said = result(capsys, "describe", f"{tmp_path / 'mine.py'}:pictures", *words)
    assert (said["input_shape"], said["outputs"], said["weights"]) == ([1, 8, 8], 2, 128)
    said = result(capsys, "describe", f"{tmp_path / 'mine.py'}:vectors", "--input-shape", "4", "--outputs", "2")
    assert (said["input_shape"], said["weights"]) == ([4], 18)


def test_only_what_must_be_given_is_said_to_be_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe"]) == 2
    assert "required: NETWORK|PRESET|RUN (see" in capsys.readouterr().err


def test_describe_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    assert result(capsys, "describe", "cartpole")["nparams"] == 74


def test_describe_a_run_whose_observations_have_parts(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("envpool")
    said = result(capsys, "describe", "zoo:fingerspin-nchl")
    assert [(each["part"], each["start"], each["stop"]) for each in said["input_parts"]] == [
        ("position", 0, 4),
        ("velocity", 4, 7),
        ("touch", 7, 9),
        ("target_position", 9, 11),
        ("dist_to_target", 11, 12),
    ]
    assert main(["describe", "zoo:fingerspin-nchl"]) == 0
    assert (
        "its input, part by part: position 0..3, velocity 4..6, touch 7..8, target_position 9..10, dist_to_target 11\n"
        in capsys.readouterr().out
    )


def test_describe_says_whether_a_network_learns_from_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["describe", "nchl", "4", "3", "2"]
    assert not result(capsys, *words)["needs_reward"]
    assert result(capsys, *words, "--modulate", "reward")["needs_reward"]
    assert main([*words, "--modulate", "reward"]) == 0
    shown = capsys.readouterr().out
    assert "it learns from rewards" in shown
    assert "18 connections\n" in shown, "each has a weight of its own"


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert "CartPole-v1" in {row["id"] for row in result(capsys, "tasks")["tasks"]}
    found = {row["id"] for row in result(capsys, "tasks", "cartpole")["tasks"]}
    assert {"CartPole-v1", "CartpoleSwingup-v1"} <= found
    assert all("cartpole" in id.lower() for id in found)


def test_each_preset_has_its_source_and_a_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = result(capsys, "presets")
    assert set(said) == set(PRESETS)
    for name, preset in PRESETS.items():
        assert said[name]["source"] == preset.source
        words = shlex.split(said[name]["command"])
        assert words[:2] == ["nchl", "evolve"]
        parser = Parser("nchl evolve", "")
        evolve.add_arguments(parser)
        assert EvolveConfig.create(**given(parser.parse_words(words[2:]), options())) == EvolveConfig.create(**preset.settings)


def test_the_command_of_a_configuration_quotes_and_negates() -> None:
    config = EvolveConfig.create("CartPole-v1", antithetic=False, hidden=(10,), initial_genome="my runs/one")
    assert evolve_command(config, "--out", "x") == (
        "nchl evolve CartPole-v1 --hidden 10 --no-antithetic --initial-genome 'my runs/one' --out x"
    )
