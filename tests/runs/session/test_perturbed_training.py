"""Runs that are evolved under perturbations: recorded, resumed, and the same on any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nchl.errors import InvalidArgument, NchlError
from nchl.perturbations import parse
from nchl.runs.results.evaluate import evaluate
from nchl.runs.results.load import load
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.store.folder import RunFolder
from nchl.seeds import Purpose, environment_seed
from nchl.simulators.base import Seeds
from nchl.tasks import make
from nchl.tasks.perturbed import Variants
from reference.runs import results

SMALL = {"hidden": [4], "population": 8, "generations": 2, "seed": 3, "max_episode_steps": 40}
TRAINING = ["none", "sensor:*=0.5@3..9 & lesion:weights=0.5@5", "shuffle:weights@4"]


def test_the_record_has_the_given_perturbations(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("perturbations: {a: 'sensor:0=0'}\n")
    config = EvolveConfig.create(
        "CartPole-v1",
        perturb=["sensor-delay=2 & sensor:0=0", parse("lesion:weights=1@3")],
        perturb_training=["pole-length", str(tmp_path / "own.yaml")],
    )
    assert config.perturb == ("sensor-delay=2", "sensor:0=0", "lesion:weights=1@3")
    assert config.perturb_training == ("none", "attribute:length=x0.5@100", "attribute:length=x2@100", "none", "sensor:0=0")
    assert EvolveConfig.from_json(config.to_json()).perturb == config.perturb
    before = {name: value for name, value in config.to_json().items() if not name.startswith("perturb")}
    assert EvolveConfig.from_json(before).perturb is None, "records of earlier versions have none"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"perturb": ["motr:0=0"]}, "did you mean 'motor'"),
        ({"perturb": "sensor:0=0 & sensor:*=1"}, "change the same"),
        ({"perturb": 3}, "list of texts"),
        ({"perturb_training": ["pole-lenght"]}, "unknown perturbation or suite 'pole-lenght': did you mean 'pole-length'"),
        ({"perturb_training": ["lesoins"]}, "did you mean 'lesions'"),
        ({"perturb_training": ["frictoin"]}, "did you mean 'friction'"),
        ({"perturb_training": ["friction"]}, "write friction=x0.25"),
        (
            {"perturb_training": ["cheetah-motor"]},
            r"'cheetah-motor' is for HalfCheetah-\*, not for CartPole-v1; for that there are: lesions",
        ),
        ({"perturb_training": ["none.yaml"]}, "none.yaml"),
    ],
)
def test_bad_options(given: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        EvolveConfig.create("CartPole-v1", **given)


@pytest.mark.slow
def test_the_same_bits_with_workers_and_after_a_resume(tmp_path: Path) -> None:
    run("CartPole-v1", tmp_path / "one", perturb_training=TRAINING, perturb=["sensor-noise=0.05@1"], **SMALL)
    run("CartPole-v1", tmp_path / "two", perturb_training=TRAINING, perturb=["sensor-noise=0.05@1"], workers=2, **SMALL)
    assert results(tmp_path / "one") == results(tmp_path / "two")
    run("CartPole-v1", tmp_path / "half", perturb_training=TRAINING, perturb=["sensor-noise=0.05@1"], **{**SMALL, "generations": 1})
    resume(tmp_path / "half", generations=2)
    assert results(tmp_path / "half") == results(tmp_path / "one")
    run("CartPole-v1", tmp_path / "intact", **SMALL)
    assert results(tmp_path / "intact") != results(tmp_path / "one")


def test_a_result_plays_as_it_was_trained_unless_told_otherwise(tmp_path: Path) -> None:
    run("CartPole-v1", tmp_path / "run", perturb=["lesion:weights=1@2"], **SMALL)
    trained = evaluate(tmp_path / "run", episodes=4)
    assert trained["perturbations"] == ["lesion:weights=1@2"]
    assert any("as in training" in note for note in trained["notes"])
    intact = evaluate(tmp_path / "run", episodes=4, perturb="none")
    assert intact["perturbations"] == []
    assert intact["returns"] != trained["returns"]
    task = load(tmp_path / "run")[1]
    assert task.plan.texts == ["lesion:weights=1@2"]
    assert RunFolder.open(tmp_path / "run").read_record().settings.perturb == ("lesion:weights=1@2",)


def test_a_changed_body_plays_on_envpool_and_a_changing_one_on_gymnasium() -> None:
    written = make("HalfCheetah-v5", perturb=["friction=x0.25", "limb:bshin=x0.5"])
    changing = make("HalfCheetah-v5", perturb=["friction=x0.25@5"])
    assert (written.simulator.name, changing.simulator.name) == ("envpool", "gymnasium")
    assert any("Gymnasium" in note for note in changing.notes)
    for task in (written, changing):
        task.reset(Seeds.of([1, 2]))
        task.close()
    with pytest.raises(NchlError, match=r"EnvPool cannot play.*only from the start on"):
        make("HalfCheetah-v5", "envpool", perturb=["friction=x0.25@5"])
    with pytest.raises(NchlError, match=r"there is no body or joint 'shin'.*bshin"):
        make("HalfCheetah-v5", perturb=["limb:shin=x0.5"])
    with pytest.raises(NchlError, match="no bodies"):
        make("CheetahRun-v1", perturb=["friction=x0.25"])


def test_each_episode_has_a_body_of_its_own() -> None:
    training = ["none", "gravity=x2", "gravity=x0.5"]
    task = make("HalfCheetah-v5", perturb_training=training)
    assert isinstance(task.simulator, Variants)
    alone = [make("HalfCheetah-v5", perturb=[text]) for text in training]
    seeds = [environment_seed(0, Purpose.EVALUATION, 0, episode) for episode in range(6)]
    places = [task.plan.place_of(seed) for seed in seeds]
    assert len(set(places)) > 1
    mixed = task.reset(Seeds.of(seeds))
    active, actions = torch.ones(6, dtype=torch.bool), torch.full((6, 6), 0.3, dtype=torch.float64)
    seen = task.step(actions, active)
    for row, place in enumerate(places):
        own = alone[place].reset(Seeds.of([seeds[row]]))
        np.testing.assert_array_equal(mixed[row], own[0])
        step = alone[place].step(actions[:1], active[:1])
        np.testing.assert_array_equal(seen.observations[row], step.observations[0])
        assert seen.rewards[row] == step.rewards[0]
    for each in (task, *alone):
        each.close()
