from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nchl
from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.build import NetworkSpec, build


@pytest.mark.parametrize(("spec", "expected"), [
    (NetworkSpec(), 5 * (4 + 128 + 64 + 2) - 6),
    (NetworkSpec("nchl", hidden=(10,)), 74),
    (NetworkSpec("hl", hidden=()), 5 * 8),
    (NetworkSpec("wnchl", hidden=(10,), window=3), 74),
    (NetworkSpec("static", hidden=(10,)), 60),
    (NetworkSpec("nchl", hidden=(10,), initial_weights="coevolved", normalise="max"), 74 + 60),
])  # fmt: skip
def test_networks_by_name(spec, expected):
    net = build(spec, (4,), 2, population=3, dtype=torch.float64)
    assert net.nparams == expected
    assert net.population == 3
    assert net.step(torch.zeros(3, 4)).shape == (3, 2)


def test_a_users_rule(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n")
    net = build(NetworkSpec(rule=f"{file}:oja", hidden=(10,)), (4,), 2)
    assert isinstance(net, nchl.PlasticMLP)
    assert net.nparams == 12


def test_a_users_network_that_fails_is_named(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\nlinear = lambda shape, n: nn.Sequential(nn.Linear(shape[0], n))\nimage = lambda s, n: s[3]\n")
    with pytest.raises(InvalidArgument, match=r"mine.py:image failed for observations \(4,\) and 2 outputs \(IndexError"):
        build(NetworkSpec(f"{file}:image"), (4,), 2)
    with pytest.raises(InvalidArgument, match=r"sharing and termwise: .* has no plastic convolution"):
        build(NetworkSpec(f"{file}:linear", sharing="min", termwise=True), (4,), 2)
    assert build(NetworkSpec(f"{file}:linear"), (4,), 2).output_size == 2


@pytest.mark.parametrize(("spec", "message"), [
    (NetworkSpec("wnchl", initial_weights="zeros"), "initial_weights does not apply"),
    (NetworkSpec("wnchl", normalise="none"), "normalise does not apply"),
    (NetworkSpec("wnchl", rule="nchl"), "rule does not apply"),
    (NetworkSpec("static", rule="nchl"), "rule does not apply"),
    (NetworkSpec("nchl", window=3), "window does not apply"),
    (NetworkSpec("nchl", sharing="max"), r"sharing does not apply .*\(it applies to: FILE\.py:NAME, conv-thesis\)"),
    (NetworkSpec("nchl", termwise=False), "termwise does not apply"),
    (NetworkSpec("conv-thesis", hidden=(3,)), "hidden does not apply"),
    (NetworkSpec("conv-hml", sharing="max"), "sharing does not apply"),
    (NetworkSpec("conv-hml", termwise=True), "termwise does not apply"),
    (NetworkSpec("nchl", hidden=(3, 0)), "at least 1"),
    (NetworkSpec("wnchl", window=0), "at least 1"),
])  # fmt: skip
def test_options_without_meaning_are_errors(spec, message):
    with pytest.raises(InvalidArgument, match=message):
        build(spec, (4,), 2)


def test_unknown_networks_and_wrong_observations():
    with pytest.raises(UnknownName, match="did you mean 'nchl'"):
        NetworkSpec("nhcl").check()
    with pytest.raises(InvalidArgument, match="flat observations"):
        build(NetworkSpec(), (3, 8, 8), 2)
    with pytest.raises(InvalidArgument, match="no file"):
        build(NetworkSpec("nowhere.py:make"), (3, 8, 8), 2)
