"""Numbers of NumPy in a configuration."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nchl.errors import InvalidArgument
from nchl.runs.settings.config import EvolveConfig
from nchl.vision.settings import SoftHebbSettings


def test_numbers_of_numpy_are_taken_and_kept_as_those_of_python() -> None:
    given = {
        "seed": np.int64(3),
        "population": np.int32(4),
        "hidden": [np.int64(4), 5],
        "sigma": np.float32(0.25),
        "lr": np.int64(1),
        "target": np.float64(10),
        "env": {"gain": np.float32(0.5), "parts": [np.int8(2)]},
    }
    config = EvolveConfig.create("CartPole-v1", **given)
    plain = EvolveConfig.create(
        "CartPole-v1", seed=3, population=4, hidden=[4, 5], sigma=0.25, lr=1.0, target=10.0, env={"gain": 0.5, "parts": [2]}
    )
    assert config == plain
    assert json.dumps(config.to_json()) == json.dumps(plain.to_json())
    for name in given:
        assert type(getattr(config, name)) is type(getattr(plain, name)), name
    assert EvolveConfig.create("CartPole-v1", hidden=np.array([4, 5])).hidden == (4, 5)
    assert SoftHebbSettings(data="images", seed=np.int64(3), lr_head=np.float32(0.5)) == SoftHebbSettings(
        data="images", seed=3, lr_head=0.5
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", np.float64(3), "seed must be a whole number"),
        ("seed", True, "seed must be a whole number"),
        ("sigma", np.bool_(True), "sigma must be a finite number"),
        ("sigma", np.float32("inf"), "sigma must be a finite number"),
        ("hidden", [np.float32(4)], "hidden must be a list of whole numbers"),
        ("hidden", np.ones((2, 2), int), "hidden must be a list of whole numbers"),
        ("env", {"gain": np.float32("nan")}, "env: gain must be plain data"),
    ],
)
def test_other_numbers_of_numpy_are_refused(name: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        EvolveConfig.create("CartPole-v1", **{name: value})
