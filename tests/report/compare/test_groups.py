"""Groups of runs that were written by hand: what belongs together, and the names."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from nchl.report.compare import compare
from nchl.report.compare.groups import group_runs
from nchl.report.compare.runs import digest, find_runs, read_run
from nchl.runs.settings.places import own_files
from nchl.runs.store.folder import RunFolder
from reference.comparison import write_run


def names(folder: Path) -> list[str]:
    return sorted(group.name for group in group_runs([read_run(path) for path in find_runs([folder])[0]])[0])


def test_what_changes_no_result_makes_no_group(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], seed=0)
    write_run(tmp_path / "b", [1.0], seed=1)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["settings"]["preset"] = "cartpole"
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    assert names(tmp_path) == ["all runs"]


def test_a_name_says_no_more_than_is_needed(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], network="nchl")
    write_run(tmp_path / "b", [1.0], network="wnchl")  # has a window, and no initial weights
    assert names(tmp_path) == ["network=nchl", "network=wnchl"]
    write_run(tmp_path / "c", [1.0], network="wnchl", window=5)
    assert names(tmp_path) == ["network=nchl", "network=wnchl window=20", "network=wnchl window=5"]


def test_a_name_has_every_setting_that_differs(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    write_run(tmp_path / "a", [1.0] * 12)
    write_run(tmp_path / "b", [1.0] * 2, rule=f"{file}:mine")
    assert names(tmp_path) == ["rule=mine generations=2", "rule=nchl generations=12"]
    write_run(tmp_path / "c", [1.0] * 12, network="hl")  # has no such option
    assert names(tmp_path)[0] == "rule=hl generations=12"
    write_run(tmp_path / "d", [1.0] * 12, network="static")  # has no rule
    assert names(tmp_path)[0] == "network=hl rule=hl generations=12"
    assert "network=static generations=12" in names(tmp_path)


def test_a_rule_of_the_network_and_the_same_by_name_are_one(tmp_path: Path) -> None:
    written = [("nchl", None), ("hl", None), ("nchl", "nchl"), ("nchl", "hl")]
    for seed, (network, rule) in enumerate(written):
        write_run(tmp_path / "flat" / str(seed), [1.0], seed=seed, network=network, rule=rule)
    assert names(tmp_path / "flat") == ["network=hl", "network=nchl"]
    found = compare([tmp_path / "flat"])
    assert [[run.seed for run in scored.group.runs] for scored in found.groups] == [[0, 2], [1, 3]]
    assert [(each.group.settings["network"], each.group.settings["rule"]) for each in found.groups] == [("nchl", "nchl"), ("hl", "hl")]
    for seed, (network, rule) in enumerate([("conv-hml", None), ("conv-hml", "hl"), ("conv-thesis", None), ("conv-thesis", "nchl")]):
        write_run(tmp_path / "conv" / str(seed), [1.0], seed=seed, network=network, rule=rule, hidden=None)
    assert [len(scored.scores) for scored in compare([tmp_path / "conv"]).groups] == [2, 2]
    write_run(tmp_path / "conv" / "other", [1.0], network="conv-thesis", rule="hl", hidden=None)
    assert any(name.endswith("network=conv-thesis rule=hl") for name in names(tmp_path / "conv"))
    write_run(tmp_path / "static", [1.0], network="static")
    assert compare([tmp_path / "static"]).groups[0].group.settings["rule"] is None


def test_a_setting_that_differs_from_the_default_is_in_the_name(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], recurrent=True)
    write_run(tmp_path / "b", [1.0, 2.0], trace=0.9)
    assert names(tmp_path) == ["recurrent=off trace=0.9 generations=2", "recurrent=on trace=none generations=1"]
    write_run(tmp_path / "c", [1.0], network="wnchl", window=5)
    assert "network=wnchl window=5 generations=1" in names(tmp_path)


def test_none_is_not_said_of_what_is_decided_by_other_things(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], strategy="pgpe")
    write_run(tmp_path / "b", [1.0], strategy="pgpe", lr=0.4)
    assert names(tmp_path) == ["lr=0.4", "lr=auto"]


def test_what_a_schedule_replaces_is_not_in_the_name(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], episodes=5)
    write_run(tmp_path / "b", [1.0], episodes_schedule="1@0,4@50")
    assert names(tmp_path) == ["episodes=5 episodes_schedule=none", "episodes_schedule=1@0,4@50"]


def test_an_extension_that_was_interrupted_splits_no_group(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"nchl-{seed}", [1.0] * (4 if seed == 2 else 5), seed=seed)
        write_run(tmp_path / f"hl-{seed}", [2.0] * 4, seed=seed, network="hl")
    found = compare([tmp_path])
    assert [(each.group.name, len(each.scores)) for each in found.groups] == [("network=hl", 3), ("network=nchl", 3)]
    assert [each.group.settings["generations"] for each in found.groups] == [4, "4 to 5"]
    (said,) = [line for line in found.warnings if "totals" in line]
    folders = [tmp_path / f"nchl-{seed}" for seed in range(3)]
    assert f"(generations 5: {folders[0]}, {folders[1]}; generations 4: {folders[2]})" in said
    assert any("unequal budgets; evaluations of a run: network=hl 40, network=nchl 50" in line for line in found.warnings)
    assert compare(folders).shared["generations"] == "4 to 5"


def test_two_totals_of_one_seed_are_compared(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"short-{seed}", [1.0], seed=seed)
        write_run(tmp_path / f"long-{seed}", [1.0, 2.0], seed=seed)
    assert names(tmp_path) == ["generations=1", "generations=2"]
    assert not any("totals" in line for line in compare([tmp_path]).warnings)
    for seed in range(3):
        write_run(tmp_path / "static" / str(seed), [1.0], seed=seed, network="static")
    order = [tmp_path / "long-0", tmp_path / "static" / "0", tmp_path / "short-0"]
    assert [scored.group.runs[0].folder for scored in compare(order).groups] == order
    shutil.rmtree(tmp_path / "static")
    write_run(tmp_path / "another", [1.0] * 9, seed=9)
    assert names(tmp_path) == ["generations=1", "generations=2", "generations=9"]


def test_a_total_that_some_runs_of_a_group_lack_is_told(tmp_path: Path) -> None:
    for seed, limits in enumerate([{}, {"max_steps": 500}, {"max_steps": 90, "max_minutes": 2.0}]):
        write_run(tmp_path / f"nchl-{seed}", [1.0], seed=seed, **limits)
    found = compare([tmp_path])
    (scored,) = found.groups
    assert [scored.group.settings[name] for name in ("generations", "max_steps", "max_minutes")] == [1, "90 to none", "2.0 to none"]
    assert f"max_steps none max_minutes none: {tmp_path / 'nchl-0'}" in found.warnings[0]


def test_sizes_and_flags_are_readable_in_names(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], hidden=(128, 64), normalise_observations=True)
    write_run(tmp_path / "b", [1.0], hidden=())
    assert names(tmp_path) == ["normalise_observations=off hidden=none", "normalise_observations=on hidden=128x64"]


def test_a_rule_is_named_with_the_digest_of_its_file(tmp_path: Path) -> None:
    for folder, text in (("a", "return A_synapse * pre"), ("b", "return A_synapse * post"), ("c", "return A_synapse * pre")):
        file = tmp_path / folder / "own.py"
        file.parent.mkdir()
        file.write_text(f"def oja(pre, post, A_synapse):\n    {text}\n")
        run = RunFolder(write_run(tmp_path / folder / "run", [1.0], seed=ord(folder), rule=f"{file}:oja"))
        run.write_record(replace(run.read_record(), files=own_files(run.read_record().settings)))
    first, second = (digest(tmp_path / folder / "own.py")[:6] for folder in "ab")
    assert names(tmp_path) == sorted([f"rule=oja ({first})", f"rule=oja ({second})"])  # c is as a, in another place
    found = compare([tmp_path])
    assert {scored.group.name: len(scored.scores) for scored in found.groups}[f"rule=oja ({first})"] == 2
    write_run(tmp_path / "d", [1.0])
    assert names(tmp_path) == sorted(["rule=nchl", f"rule=oja ({first})", f"rule=oja ({second})"])
    shutil.rmtree(tmp_path / "b")
    assert names(tmp_path) == ["rule=nchl", "rule=oja"]  # told apart without
    assert compare([tmp_path / "a"]).shared["rule"] == f"oja ({first})"
    assert "files" not in found.groups[0].group.settings


def test_an_own_rule_with_the_name_of_a_built_in_one_keeps_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def hl(pre, post, A_synapse):\n    return A_synapse * pre\n")
    run = RunFolder(write_run(tmp_path / "a", [1.0], rule=f"{file}:hl"))
    run.write_record(replace(run.read_record(), files=own_files(run.read_record().settings)))
    write_run(tmp_path / "b", [1.0])
    assert names(tmp_path) == [f"rule=hl ({digest(file)[:6]})", "rule=nchl"]
