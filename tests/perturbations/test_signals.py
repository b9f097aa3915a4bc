"""Motors and sensors of a batch: what is changed, when, for which rows, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from nchl.errors import InvalidArgument, TaskError
from nchl.perturbations import parse_all, plan
from nchl.perturbations.signals import Signals, check

SPACE = Box(-1.0, 1.0, (3,), np.float32)


def signals(spec: str | list[str], seeds: list[int] | None = None, training: list[str] | None = None) -> Signals:
    return Signals(plan(spec, training), seeds or [0, 1], SPACE, "cpu")


def test_gains_and_stuck_motors() -> None:
    made = signals("motor:0=0@2 & motor:1-2=stuck:0.5@3")
    actions = torch.full((2, 3), 0.8)
    assert torch.equal(made.act(actions, 1), actions)
    assert made.act(actions, 2).tolist() == [[0.0, pytest.approx(0.8), pytest.approx(0.8)]] * 2
    assert made.act(actions, 9).tolist() == [[0.0, 0.5, 0.5]] * 2
    assert torch.equal(actions, torch.full((2, 3), 0.8)), "what is given stays"


def test_actions_stay_within_their_bounds() -> None:
    assert signals("motor:*=3").act(torch.full((2, 3), -0.8), 0).tolist() == [[-1.0] * 3] * 2
    assert signals("action-noise=100").act(torch.zeros(2, 3), 0).abs().max() == 1


def test_a_broken_motor_is_broken_for_noise_too() -> None:
    acted = signals(["motor:0=0", "action-noise=0.1"]).act(torch.zeros(2, 3), 0)
    assert not acted[:, 0].any()
    assert acted[:, 1:].all()


def test_rows_have_moments_of_their_own() -> None:
    seeds = list(range(40))
    three = plan("sensor:*=0@2..5")
    moments = three.moments(three.all[0], seeds)
    made = Signals(three, seeds, SPACE, "cpu")
    for step in range(7):
        seen = made.observe(torch.ones(40, 4), step)[:, 0]
        assert seen.tolist() == [0.0 if moment <= step else 1.0 for moment in moments]


def test_noise_follows_from_the_episode_and_the_step() -> None:
    both = [signals("sensor-noise=0.5@3", [5, 6, 5]) for _ in range(2)]
    first, again = ([made.observe(torch.zeros(3, 2), step) for step in range(80)] for made in both)
    assert all(map(torch.equal, first, again))
    assert not torch.stack(first[:3]).any()
    noise = torch.stack(first[3:])
    assert torch.equal(noise[:, 0], noise[:, 2])
    assert not torch.equal(noise[:, 0], noise[:, 1])
    assert noise[:, :2].std() == pytest.approx(0.5, rel=0.15)
    alone = signals("sensor-noise=0.5@3", [6])
    assert torch.equal(alone.observe(torch.zeros(1, 2), 50), first[50][1:2]), "whatever else is in the batch"


def test_a_late_sensor_shows_what_was() -> None:
    made = signals("sensor-delay=2@3")
    seen = [float(made.observe(torch.full((2, 1), float(step)), step)[0, 0]) for step in range(6)]
    assert seen == [0, 1, 2, 1, 2, 3]
    early = signals("sensor-delay=2")
    assert [float(early.observe(torch.full((2, 1), float(step)), step)[0, 0]) for step in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_perturbed_as_numbers(dtype: torch.dtype) -> None:
    raw = torch.tensor([[3, 1, 200], [0, 1, 2]]).to(dtype)
    before = raw.clone()
    exact = raw.to(torch.float64)
    assert torch.equal(signals("sensor:*=0.5").observe(raw, 0), exact / 2)
    assert torch.equal(signals("sensor:0=stuck:300").observe(raw, 0)[:, 1:], exact[:, 1:])
    assert signals("sensor:0=stuck:300").observe(raw, 0)[:, 0].tolist() == [300, 300]
    noise = signals("sensor-noise=0.4").observe(raw, 0) - exact
    torch.testing.assert_close(noise, signals("sensor-noise=0.4").observe(torch.zeros(2, 3, dtype=torch.float64), 0))
    assert torch.equal(signals("sensor:*=0.5@4").observe(raw, 3), exact)
    assert torch.equal(raw, before)
    assert signals("motor:0=0").observe(raw, 0) is raw, "without a sensor's perturbation nothing is converted"


def test_one_of_several_sets_for_each_episode() -> None:
    chosen = plan(None, ["none", "motor:*=0"])
    seeds = list(range(30))
    acted = Signals(chosen, seeds, SPACE, "cpu").act(torch.ones(30, 3), 0)
    assert acted[:, 0].tolist() == [1.0 - chosen.place_of(seed) for seed in seeds]
    assert 0 < acted[:, 0].sum() < 30


@pytest.mark.parametrize(
    ("spec", "space", "error", "said"),
    [
        ("motor:3=0", SPACE, InvalidArgument, "there is no motor 3; Some-v0's action has 3 components: motor:0 to motor:2"),
        ("motor:0=stuck:1.5", SPACE, InvalidArgument, "takes -1 to 1"),
        ("sensor:2-9=0", SPACE, InvalidArgument, "there is no sensor 4.*sensor:0 to sensor:3"),
        ("motor:0=0", Discrete(2), TaskError, "takes choices.*lesion:weights"),
        ("action-noise=1", Discrete(2), TaskError, "takes choices"),
    ],
)
def test_what_is_not_there_is_refused(spec: str, space: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        check(parse_all(spec), "Some-v0", (4,), space)
