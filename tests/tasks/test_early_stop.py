"""The published rule that ends hopeless episodes."""

from __future__ import annotations

import torch

from nchl.tasks import EarlyStop


def stop_step(rule: EarlyStop, rewards: list[float]) -> int | None:
    """The published loop, one episode."""
    negative = torch.zeros(1, dtype=torch.int64)
    for steps, reward in enumerate(rewards, start=1):
        negative = rule.count(negative, torch.tensor([reward]))
        if rule.stops(negative, steps)[0]:
            return steps
    return None


def test_more_than_the_limit_in_a_row_ends_it() -> None:
    assert stop_step(EarlyStop(20), [-0.1] * 30) == 21
    assert stop_step(EarlyStop(20), [-0.1] * 20 + [0.0] + [-0.1] * 20) is None
    assert stop_step(EarlyStop(20), [-0.1] * 20 + [3.0] + [-0.1] * 25) == 42


def test_nothing_ends_before_its_time_but_the_row_is_counted_from_the_start() -> None:
    assert stop_step(EarlyStop(30, after=200), [-1.0] * 300) == 201
    assert stop_step(EarlyStop(30, after=200), [1.0] * 190 + [-1.0] * 100) == 221
