"""`nchl bench rollout`: the bare simulator does the physics of the full run, with repeated actions and settings of the task too."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("envpool")

from nchl.bench.rollout import _each_step
from nchl.cli import main

WORDS = ["bench", "rollout", "--population", "6", "--hidden", "3", "--steps", "20", "--repetitions", "1", "--json"]


# That the rewards of both runs are equal is an assertion of the command's own.
@pytest.mark.parametrize(
    ("words", "repeat"),
    [
        (["CartPole-v1", "--action-repeat", "3"], 3),
        (["Pendulum-v1", "--action-repeat", "3", "--simulator", "gymnasium", "--env", "g=5.0"], 3),
        (["CheetahRun-v1", "--observe", "velocity"], 1),
    ],
)
def test_it_plays_the_task_as_a_run_would(words: list[str], repeat: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["action_repeat"] == repeat
    assert result["population"] <= result["env_steps_per_run"] <= 6 * 20
    assert result["ratio"] > 0


def test_an_action_is_repeated_until_its_episode_ends() -> None:
    everyone, one = torch.tensor([True, True]), torch.tensor([False, True])
    decisions = [(torch.tensor([0, 1]), everyone), (torch.tensor([2, 3]), one)]
    taken = _each_step(decisions, np.array([2, 4]), 3)
    assert [actions.tolist() for actions, _ in taken] == [[0, 1]] * 3 + [[2, 3]]
    assert [active.tolist() for _, active in taken] == [[True, True], [True, True], [False, True], [False, True]]
